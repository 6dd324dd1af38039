//! Reads that see everything acknowledged before they began, on any manager.

use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};

use super::Consensus;
use super::machine::{Published, Replicated};
use super::message::{ReadAt, Wire};
use super::propose::Refusal;
use super::transport::{Call, Lane, Target};

/// How long a read may take.
const BOUND: Duration = Duration::from_secs(3);
/// How long one question to the leader may take.
const ASK_BOUND: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(10);

/// Why no linearizable read could be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed itself in time.
    #[error("no leader with a majority answered within {0:?}: the answer could be stale")]
    NoQuorum(Duration),
    /// This manager takes no part any more.
    #[error("consensus has ended on this manager: {0}")]
    Ended(String),
}

impl<S: Replicated> Consensus<S> {
    /// A state that holds all that was acknowledged, by any manager, before this call.
    ///
    /// # Errors
    /// When no leader with a majority could be asked, or this manager has ended.
    pub async fn read_index(&self) -> Result<Published<S>, ReadError> {
        let asked = Instant::now();
        let index = loop {
            if let Some(index) = self.ask_index().await? {
                break index;
            }
            if asked.elapsed() > BOUND {
                return Err(ReadError::NoQuorum(BOUND));
            }
            tokio::time::sleep(RETRY).await;
        };
        let mut published = self.0.published.clone();
        let applied = published.wait_for(|published| published.applied >= index);
        match tokio::time::timeout(BOUND, applied).await {
            Ok(Ok(published)) => Ok(published.clone()),
            Ok(Err(_)) => Err(ReadError::Ended("the state machine has ended".into())),
            Err(_) => Err(ReadError::NoQuorum(BOUND)),
        }
    }

    /// One try; `None` says to try again.
    async fn ask_index(&self) -> Result<Option<u64>, ReadError> {
        let read = self.0.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        let Ok(read) = tokio::time::timeout(ASK_BOUND, read).await else {
            return Ok(None);
        };
        match read {
            Ok(read) => Ok(Some(read.read_log_id().index())),
            Err(RaftError::Fatal(why)) => Err(ReadError::Ended(why.to_string())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                match self.forward(to) {
                    Refusal::Final(Some(leader)) => Ok(self.ask_leader(&leader).await),
                    Refusal::Final(None) | Refusal::Soon => Ok(None),
                }
            }
            Err(RaftError::APIError(_)) => Ok(None),
        }
    }

    async fn ask_leader(&self, leader: &Target) -> Option<u64> {
        let transport = &self.0.transport;
        let asked = transport.call(
            leader,
            Lane::Heartbeat,
            Call::ReadIndex,
            Bytes::new(),
            ASK_BOUND,
        );
        // The channel belongs to Raft's threads, whoever asks first.
        let asked = self
            .0
            .threads
            .spawner()
            .spawn(tokio::time::timeout(ASK_BOUND, asked));
        let answer = asked.await.ok()?.ok()?.ok()?;
        ReadAt::decode(answer).ok()?.0
    }
}
