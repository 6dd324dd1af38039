//! The two doors to the ring for all other rooms: read what was committed, propose what is to be.
//!
//! Nobody writes by another way. Whoever proposes gives facts; the time they carry is put on here: cluster
//! time, continued by this manager's monotonic clock, and wall time for display.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use skep_proto::ids::{RaftId, RequestId};
use skep_proto::time::{ClusterTime, WallTime};
use tokio::sync::watch;

use crate::by;
use crate::measures::{measures, seconds_since};
use crate::raft::{Consensus, ProposeError, Published, ReadError};
use crate::state::{Answer, Change, Entry, Outcome, State};

/// Reads and proposes. Cheap to clone.
#[derive(Clone)]
pub struct Ring {
    consensus: Consensus<State>,
    clock: Arc<Mutex<Anchor>>,
}

/// A moment at which cluster time was known.
struct Anchor {
    at: Instant,
    time: ClusterTime,
}

impl Ring {
    /// The ring that `consensus` turns.
    pub fn new(consensus: Consensus<State>) -> Self {
        let anchor = Anchor {
            at: Instant::now(),
            time: ClusterTime::ZERO,
        };
        Self {
            consensus,
            clock: Arc::new(Mutex::new(anchor)),
        }
    }

    /// What this manager has applied: it may be old.
    pub fn stale(&self) -> State {
        self.consensus.state().borrow().state.clone()
    }

    /// All that was acknowledged before this call.
    ///
    /// # Errors
    /// When no majority answers.
    pub async fn read(&self) -> Result<State, ReadError> {
        Ok(self.consensus.read_index().await?.state)
    }

    /// Whether the manager of this number is a member of the Raft group, as far as this one knows.
    pub fn is_member(&self, raft: RaftId) -> bool {
        let members = self.consensus.members();
        members.iter().any(|(member, _)| member.id == raft.0)
    }

    /// Wakes whenever something was applied.
    pub fn watch(&self) -> watch::Receiver<Published<State>> {
        self.consensus.state()
    }

    /// Cluster time now. It never goes back on one manager, and an entry never carries less than was applied.
    pub fn now(&self) -> ClusterTime {
        let applied = self.stale().time();
        let mut anchor = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = anchor.time.after(anchor.at.elapsed());
        if now >= applied {
            return now;
        }
        *anchor = Anchor {
            at: Instant::now(),
            time: applied,
        };
        applied
    }

    /// Proposes a user's command: all of it or nothing, and a repeat gets `answer` again.
    ///
    /// # Errors
    /// When it cannot be known to be committed.
    pub async fn command(
        &self,
        request: RequestId,
        answer: Answer,
        changes: Vec<Change>,
    ) -> Result<Outcome, ProposeError> {
        self.propose(Entry {
            request: Some(request),
            answer,
            atomic: true,
            by: by::asked(),
            changes,
            ..Entry::default()
        })
        .await
    }

    /// Proposes an entry; its times are put on here.
    ///
    /// # Errors
    /// When it cannot be known to be committed.
    pub async fn propose(&self, entry: Entry) -> Result<Outcome, ProposeError> {
        let entry = Entry {
            time: self.now(),
            wall: wall_time(),
            ..entry
        };
        let begin = Instant::now();
        let proposed = self.consensus.propose(&entry).await?;
        measures().proposals.observe(seconds_since(begin));
        Ok(proposed.outcome)
    }
}

/// Wall-clock time now, for display.
pub fn wall_time() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
