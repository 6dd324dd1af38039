//! Sends a container's log: what is there, then, if asked, what follows until it has ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_proto::wire::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use super::Answers;
use crate::exec::logs::{Next, Range, Reader, Record, Stream};
use crate::exec::runtime::Container;

/// Answers read ahead of a slow reader.
const AHEAD: usize = 2;
/// Records of one answer: below gRPC's bound of 4 MiB even where every line is the longest, 48 KiB.
const RECORDS: usize = 64;

/// Logs read at once, each by a thread of its own: a follower may stay for days, and must not keep the daemon's
/// own work from its threads.
const READERS: usize = 512;

type Sender = mpsc::Sender<Result<v1::ContainerLogs, Status>>;

/// Who may read a log now.
#[derive(Clone, Debug)]
pub(super) struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READERS)))
    }
}

impl Readers {
    fn one(&self) -> Result<OwnedSemaphorePermit, Status> {
        let one = self.0.clone().try_acquire_owned();
        one.map_err(|_| {
            Status::resource_exhausted(format!(
                "{READERS} logs are being read on this node already; end a follower first"
            ))
        })
    }
}

/// Sends what a range says.
pub(super) fn send(
    readers: &Readers,
    container: &Container,
    range: &v1::LogRange,
) -> Result<Answers<v1::ContainerLogs>, Status> {
    if let Some(reason) = container.keeps_no_log() {
        return Err(Status::failed_precondition(reason));
    }
    let at = |nanos: Option<u64>| nanos.map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos));
    let follow = range.follow;
    let range = Range {
        tail: range.tail,
        since: at(range.since_ns),
        until: at(range.until_ns),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (container, one) = (container.clone(), readers.one()?);
    let thread = std::thread::Builder::new().name("log reader".into());
    let begun = thread.spawn(move || {
        let _one = one;
        if let Err(error) = read(&container, range, follow, &sender) {
            let reason = format!("cannot read the log of {}: {error}", container.id());
            // The reader may be gone; then nobody needs to know.
            let _ = sender.blocking_send(Err(Status::internal(reason)));
        }
    });
    begun.map_err(|error| Status::unavailable(format!("cannot begin a thread: {error}")))?;
    Ok(Answers::new(receiver))
}

fn read(container: &Container, range: Range, follow: bool, sender: &Sender) -> std::io::Result<()> {
    let mut reader = Reader::open(container.log_path(), range)?;
    let mut caught_up = false;
    loop {
        // Asked before the log is read to its end: what it wrote before it ended is there then.
        let ended = container.ended().is_some();
        match reader.read_on()? {
            Next::Records(records) => {
                for part in records.chunks(RECORDS) {
                    let answer = v1::ContainerLogs {
                        records: part.iter().map(record).collect(),
                        caught_up: false,
                    };
                    if sender.blocking_send(Ok(answer)).is_err() {
                        return Ok(());
                    }
                }
                continue;
            }
            Next::Over => return Ok(()),
            Next::Drained if !follow || ended => return Ok(()),
            Next::Drained => {}
        }
        if !caught_up {
            caught_up = true;
            let answer = v1::ContainerLogs {
                records: Vec::new(),
                caught_up,
            };
            if sender.blocking_send(Ok(answer)).is_err() {
                return Ok(());
            }
        }
        if sender.is_closed() {
            return Ok(());
        }
        reader.wait()?;
    }
}

fn record(record: &Record) -> v1::LogRecord {
    let stream = match record.stream {
        Stream::Output => v1::OutputStream::Stdout,
        Stream::Errors => v1::OutputStream::Stderr,
    };
    v1::LogRecord {
        source: 0,
        at_ns: nanos(record.at),
        stream: stream.into(),
        line: record.line.clone(),
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
