//! Consensus: what was acknowledged is on the disks of a majority.
//!
//! `Consensus` is the door. One may propose, read what was committed, and change who takes part. Nothing
//! outside this room names openraft. Raft's timers, its network and its state machine run on threads of their own,
//! the log's writer on another: a busy daemon must not look like a dead leader.

mod cluster;
mod codec;
mod disk;
mod grpc;
mod inbound;
mod keeper;
mod log;
mod machine;
mod members;
mod message;
mod network;
mod open;
mod propose;
mod read;
mod seal;
mod seed;
#[cfg(test)]
mod sim_disk;
mod snapshot;
#[cfg(test)]
mod tests;
mod transport;
mod types;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

pub use grpc::{Connect, GrpcTransport, RaftService};
pub use log::{LogError, NoRoom};
pub use machine::{CodecFailure, Published, Replicated};
pub use members::{MembershipError, Voting};
pub use open::{Config, OpenError};
pub use propose::{ENTRY_MOST, ProposeError, Proposed};
pub use read::ReadError;
pub use seal::Key;
pub use transport::{Call, Inbound, Lane, Pieces, Target, Transport, TransportError};

use inbound::Local;
use log::LogStore;
use machine::Machine;
use types::Types;

/// Threads for Raft alone.
const THREADS: usize = 2;

/// Who leads, as this manager knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term; it only climbs.
    pub term: u64,
    /// The leader of that term, if it is known.
    pub leader: Option<Target>,
    /// Whether that is this manager.
    pub own: bool,
}

/// One manager's part in the consensus. Clones are the same part.
pub struct Consensus<S: Replicated>(Arc<Parts<S>>);

impl<S: Replicated> Clone for Consensus<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Parts<S: Replicated> {
    id: u64,
    raft: Raft<Types, Machine<S>>,
    log: LogStore,
    snapshots: Arc<snapshot::SnapshotStore>,
    transport: Arc<dyn Transport>,
    published: watch::Receiver<Published<S>>,
    leadership: watch::Receiver<Leadership>,
    fatal: watch::Receiver<Option<Arc<str>>>,
    closed: AtomicBool,
    threads: Threads,
}

/// Raft's own threads. Dropping them waits for nothing, so that it may happen on any thread.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<Self> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("skep-raft")
            .enable_all()
            .build()?;
        Ok(Self(Some(threads)))
    }

    fn spawner(&self) -> Handle {
        self.0
            .as_ref()
            .map_or_else(Handle::current, |threads| threads.handle().clone())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

impl<S: Replicated> Consensus<S> {
    /// This manager's Raft id: random, kept in its data root, never used again after it.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The committed state as this manager knows it; possibly stale, never torn. A clone costs O(1).
    pub fn state(&self) -> watch::Receiver<Published<S>> {
        self.0.published.clone()
    }

    /// Who leads.
    pub fn leader(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    /// Becomes `Some` with the reason when this manager can take no further part, for example since
    /// its disk failed. The daemon must then end; containers stay.
    pub fn fatal(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.fatal.clone()
    }

    /// What other managers' messages are given to.
    pub fn inbound(&self) -> Arc<dyn Inbound> {
        let parts = &self.0;
        let threads = parts.threads.spawner();
        let (raft, log, store) = (
            parts.raft.clone(),
            parts.log.clone(),
            parts.snapshots.clone(),
        );
        Arc::new(Local::new(parts.id, raft, log, store, threads))
    }

    /// Whether `bytes` more can be written to this manager's log.
    pub fn has_room(&self, bytes: usize) -> Result<(), NoRoom> {
        self.0.log.has_room(bytes)
    }

    /// Whether this manager belongs to a cluster: it began one, or was let into one.
    pub fn is_initialized(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.last_log_index.is_some() || metrics.last_applied.is_some()
    }

    /// Ends this manager's part and releases its data root. What was acknowledged is on disk.
    pub async fn shutdown(&self) {
        if self.0.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.0.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let log = self.0.log.clone();
        // Joining the writer waits for the disk.
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }
}
