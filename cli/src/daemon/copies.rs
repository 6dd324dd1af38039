//! Backups on their way between a manager and a file.

use std::io::{self, Read, Write};

use bytes::Bytes;
use skep_manager::revival::Backup;
use skep_proto::wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Chunks that wait for their reader.
const WAITING: usize = 4;

/// A backup in chunks; one that cannot be sent to its end ends with an error, or with its reader.
pub fn chunks(backup: Backup) -> ReceiverStream<Result<v1::BackupChunk, Status>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(CHUNK, Chunks(sender.clone()));
        if let Err(error) = backup.write(&mut out) {
            // Nobody listens any more where this fails too.
            let _ = sender.blocking_send(Err(Status::internal(error.to_string())));
        }
    });
    ReceiverStream::new(receiver)
}

struct Chunks(mpsc::Sender<Result<v1::BackupChunk, Status>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = bytes.get(..bytes.len().min(CHUNK)).unwrap_or_default();
        let chunk = v1::BackupChunk {
            bytes: bytes.to_vec(),
        };
        let sent = self.0.blocking_send(Ok(chunk));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a backup that comes in chunks, all of it, before anything is done with it.
pub async fn read(first: Bytes, mut chunks: Streaming<v1::RestoreChunk>) -> Result<Backup, Status> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || {
        Backup::read(&mut Arriving {
            receiver,
            rest: first,
        })
    });
    while let Some(chunk) = chunks.message().await? {
        if sender.send(chunk.bytes.into()).await.is_err() {
            // The reader has said what is wrong.
            break;
        }
    }
    drop(sender);
    let read = reading.await;
    let read = read.map_err(|error| Status::internal(error.to_string()))?;
    read.map_err(|error| Status::invalid_argument(error.to_string()))
}

struct Arriving {
    receiver: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let taken = self.rest.split_to(out.len().min(self.rest.len()));
        if let Some(out) = out.get_mut(..taken.len()) {
            out.copy_from_slice(&taken);
        }
        Ok(taken.len())
    }
}
