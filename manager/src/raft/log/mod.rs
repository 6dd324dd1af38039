//! The durable log: votes, entries, and how far they are committed and purged.
//!
//! All entries that are not purged are also in memory, where Raft reads them; the disk is only written,
//! by one thread, and read once at start. Nothing here interprets what an entry holds. A disk that
//! is full is seen in `has_room` before Raft is asked to write; a disk that fails ends the log.

mod frame;
mod pool;
mod queue;
mod record;
mod recover;
mod store;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::disk::Disk;
use super::seal::Key;
use frame::{BLOCK, UnknownVersion};
use pool::Pool;
use queue::Queue;
use store::Memory;
use writer::Writer;

pub(crate) use recover::is_fresh;

/// Length of a segment: 20 ms to pre-write on a plain disk, and eight of the largest entries.
pub(crate) const SEGMENT_LEN: u64 = 8 << 20;
const SEGMENT_LEAST: u64 = 16 << 10;
const LOCK_FILE: &str = "lock";
/// Kept free for what is written without asking: votes, membership, purges.
const RESERVE_PARTS: u64 = 8;

/// A cause that is for reading, not for matching.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another daemon runs on this data root.
    #[error("the raft log is in use: another skep daemon runs on this data root; stop it first")]
    InUse,
    /// The disk refused.
    #[error("cannot {act}: {source}")]
    Io {
        /// What was being done.
        act: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something acknowledged is damaged on disk.
    #[error(
        "raft log segment {segment} is damaged at byte {at} although newer records follow; \
         refusing to start with an older state: restore this manager's data root from a copy, or \
         remove it and join the cluster again as a new manager"
    )]
    Corrupt {
        /// The segment's file.
        segment: String,
        /// Where in it.
        at: u64,
    },
    /// Records are intact but do not make a log.
    #[error("raft log segment {segment}, byte {at}: {source}")]
    Damaged {
        /// The segment's file.
        segment: String,
        /// Where in it.
        at: u64,
        /// What does not fit.
        source: Cause,
    },
    /// It cannot be decrypted.
    #[error("cannot read raft log segment {segment}: {source}")]
    Sealed {
        /// The segment's file.
        segment: String,
        /// Why.
        source: Cause,
    },
    /// It was written by a newer skep.
    #[error(transparent)]
    Version(Cause),
    /// Too small for the largest entry.
    #[error("log segments of {0} bytes are too small")]
    SegmentTooSmall(u64),
}

impl From<UnknownVersion> for LogError {
    fn from(version: UnknownVersion) -> Self {
        Self::Version(version.into())
    }
}

impl LogError {
    fn io(act: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { act, source }
    }
}

/// Why nothing more can be written for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The disk under the log is full.
    #[error("the disk under the raft log gives no more room ({0}); free some and try again")]
    DiskFull(String),
    /// More is being written than the disk takes.
    #[error("the disk under the raft log does not keep up; try again")]
    Busy,
}

/// The log. Clones are the same log; it is closed when the last one is dropped.
#[derive(Clone)]
pub(crate) struct LogStore {
    memory: Arc<Mutex<Memory>>,
    queue: Arc<Queue>,
    pool: Arc<Pool>,
    owner: Arc<Owner>,
    segment_len: u64,
}

/// Ends the writer, then releases the directory.
struct Owner {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Lock>>,
}

/// A directory taken for this daemon, until dropped.
pub(crate) type Lock = Box<dyn std::any::Any + Send + Sync>;

impl Owner {
    fn end(&self) {
        self.queue.close();
        let writer = lock_mutex(&self.writer).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        *lock_mutex(&self.lock) = None;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock_mutex<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the directory for this daemon. Done before anything in it is read or made.
pub(crate) fn lock(disk: &dyn Disk) -> Result<Lock, LogError> {
    disk.lock(LOCK_FILE).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => LogError::InUse,
        _ => LogError::Io {
            act: "lock the raft log",
            source: error,
        },
    })
}

impl LogStore {
    /// Opens the log on `disk`, with segments of `segment_len` bytes from now on.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        lock: Lock,
        key: Option<Key>,
        segment_len: u64,
    ) -> Result<Self, LogError> {
        if segment_len < SEGMENT_LEAST || !segment_len.is_multiple_of(BLOCK) {
            return Err(LogError::SegmentTooSmall(segment_len));
        }
        let found = recover::recover(&*disk, key.as_ref())?;
        let tip = found.replay.tip;
        let memory = Arc::new(Mutex::new(Memory::new(tip, found.replay.entries)));
        let pool = Pool::start(disk.clone(), segment_len, found.free, found.next_name)
            .map_err(LogError::io("start the log's spare maker"))?;
        let (queue, pool) = (Arc::new(Queue::new()), Arc::new(pool));
        let writer = Writer::new(key, queue.clone(), pool.clone(), found.live, found.end, tip)
            .map_err(LogError::io("begin a run of the raft log"))?;
        let thread = std::thread::Builder::new()
            .name("skep-log".to_owned())
            .spawn(move || writer.run(disk))
            .map_err(LogError::io("start the log's writer"))?;
        let writer = Mutex::new(Some(thread));
        let lock = Mutex::new(Some(lock));
        let owner = Arc::new(Owner {
            queue: queue.clone(),
            writer,
            lock,
        });
        Ok(Self {
            memory,
            queue,
            pool,
            owner,
            segment_len,
        })
    }

    /// Whether `bytes` more can be written. False as soon as no spare segment can be made, while
    /// what was accepted before still fits.
    pub(crate) fn has_room(&self, bytes: usize) -> Result<(), NoRoom> {
        let stock = self.pool.stock();
        if let Some(why) = stock.blocked
            && stock.spares == 0
        {
            return Err(NoRoom::DiskFull(why));
        }
        let free = self.queue.free() + stock.spares * (self.segment_len - BLOCK);
        let wanted = self.queue.pending() + frame::frame_len(bytes + record::RECORD_MARGIN);
        if wanted + self.segment_len / RESERVE_PARTS > free {
            return Err(NoRoom::Busy);
        }
        Ok(())
    }

    /// Writes what is queued, ends the writer and releases the directory. Waits for the disk.
    pub(crate) fn close(&self) {
        self.owner.end();
    }

    /// The largest command an entry can carry.
    pub(crate) fn command_most(&self) -> usize {
        writer::record_most(self.segment_len) - record::RECORD_HEAD - record::RECORD_MARGIN
    }

    /// Becomes `Some` with the reason once the log cannot be written any more.
    pub(crate) fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.queue.failed()
    }
}
