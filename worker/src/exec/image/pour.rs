//! A layer under way: what comes is kept in `partial`, hashed and unpacked at once, on a thread of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use skep_proto::image::Digest;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::blob;
use super::error::{Doing, ImageError};
use super::files;
use super::layer::LayerWriter;
use super::manifest::LayerPart;
use super::store::Store;

/// Chunks between network and disk.
const AHEAD: usize = 8;

/// The network's end of it. Dropped before `finish`, what came is kept for the next time.
#[derive(Debug)]
pub(super) struct Pour {
    chunks: mpsc::Sender<Chunk>,
    thread: JoinHandle<Result<(), ImageError>>,
    offset: u64,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Bytes),
    End,
}

impl Pour {
    /// Starts, or goes on where the last one was given up.
    ///
    /// The lock stays with the thread: given up, it may be writing for a moment still.
    pub(super) async fn start(
        store: Store,
        layer: LayerPart,
        alone: OwnedMutexGuard<()>,
    ) -> Result<Self, ImageError> {
        let (chunks, receiver) = mpsc::channel(AHEAD);
        let (tell, told) = oneshot::channel();
        let thread = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            let sink = Sink::open(&store, layer);
            let sink = sink.and_then(|mut sink| sink.resume().map(|()| sink));
            match sink {
                Ok(sink) => {
                    // Nobody listens when the fetch was dropped: then no chunk comes either.
                    let _ = tell.send(sink.size);
                    sink.drain(&store, receiver)
                }
                Err(error) => Err(error),
            }
        });
        match told.await {
            Ok(offset) => Ok(Self {
                chunks,
                thread,
                offset,
            }),
            Err(_) => Err(ended(thread).await),
        }
    }

    /// Bytes that are there.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds bytes; fails when the thread has ended, and `finish` says why.
    pub(super) async fn add(&mut self, bytes: Bytes) -> Result<(), ()> {
        let length = u64::try_from(bytes.len()).map_err(|_| ())?;
        self.chunks
            .send(Chunk::Bytes(bytes))
            .await
            .map_err(|_| ())?;
        self.offset = self.offset.saturating_add(length);
        Ok(())
    }

    /// All has come: checks it and gives blob and layer their names.
    pub(super) async fn finish(self) -> Result<(), ImageError> {
        // The thread has ended already when nobody takes it.
        let _ = self.chunks.send(Chunk::End).await;
        self.thread
            .await
            .unwrap_or(Err(ImageError::Ending { act: "fetch" }))
    }
}

async fn ended(thread: JoinHandle<Result<(), ImageError>>) -> ImageError {
    match thread.await {
        Ok(Err(error)) => error,
        _ => ImageError::Ending { act: "fetch" },
    }
}

/// The disk's end of it.
struct Sink {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
    layer: LayerPart,
    /// None when its layer is here already.
    unpack: Option<LayerWriter>,
}

impl Sink {
    fn open(store: &Store, layer: LayerPart) -> Result<Self, ImageError> {
        let path = store.partial_path(&layer.blob.digest);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .doing("open", &path)?;
        let unpack = match store.has_layer(&layer.diff_id) {
            true => None,
            false => Some(LayerWriter::new(store)?),
        };
        Ok(Self {
            path,
            file,
            hasher: Sha256::new(),
            size: 0,
            layer,
            unpack,
        })
    }

    /// Takes in what an earlier fetch left.
    fn resume(&mut self) -> Result<(), ImageError> {
        let length = self.file.metadata().doing("look at", &self.path)?.len();
        if length > self.layer.blob.size {
            self.file.set_len(0).doing("empty", &self.path)?;
            return Ok(());
        }
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = self.file.read(&mut buffer).doing("read", &self.path)?;
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
                return Ok(());
            };
            self.take_in(part)?;
        }
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(bytes);
        self.size = self
            .size
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match &mut self.unpack {
            Some(layer) => layer.input().write_all(bytes).doing("unpack", &self.path),
            None => Ok(()),
        }
    }

    fn drain(mut self, store: &Store, mut chunks: mpsc::Receiver<Chunk>) -> Result<(), ImageError> {
        while let Some(chunk) = chunks.blocking_recv() {
            match chunk {
                Chunk::End => return self.commit(store),
                Chunk::Bytes(bytes) => self.add(&bytes)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.file.write_all(bytes).doing("write", &self.path)?;
        self.take_in(bytes)?;
        if self.size > self.layer.blob.size {
            self.forget()?;
            return Err(self.wrong_size());
        }
        Ok(())
    }

    fn wrong_size(&self) -> ImageError {
        ImageError::WrongSize {
            what: format!("the fetched layer {}", self.layer.blob.digest),
            expected: self.layer.blob.size,
            found: self.size,
        }
    }

    /// What came is worth nothing.
    fn forget(&self) -> Result<(), ImageError> {
        match files::change_name(&self.path, fs::remove_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.doing("remove", &self.path),
        }
    }

    fn commit(mut self, store: &Store) -> Result<(), ImageError> {
        if self.size != self.layer.blob.size {
            return Err(self.wrong_size());
        }
        let expected = self.layer.blob.digest;
        let what = format!("layer {expected}");
        let found = Digest(self.hasher.finalize_reset().into());
        if let Err(error) = blob::expect(&what, expected, found) {
            self.forget()?;
            return Err(error);
        }
        self.file.sync_all().doing("make durable", &self.path)?;
        blob::name_blob(store, &self.path, &expected)?;
        match self.unpack.take() {
            Some(layer) => layer
                .commit(store, &what, Some(self.layer.diff_id))
                .map(|_| ()),
            None => Ok(()),
        }
    }
}
