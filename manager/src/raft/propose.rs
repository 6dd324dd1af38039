//! The one way to write.

use std::time::{Duration, Instant};

use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use openraft::raft::ClientWriteResponse;

use super::Consensus;
use super::log::NoRoom;
use super::machine::{CodecFailure, Replicated};
use super::transport::Target;
use super::types::{Command, Types};

/// Bytes of the largest entry.
pub const ENTRY_MOST: usize = 1 << 20;
/// How long a proposal may take: longer than the loss of a leader and the election of the next.
const BOUND: Duration = Duration::from_secs(5);
/// How long a fresh leader may need until a quorum has acknowledged it once.
const LEASE_BOUND: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(5);

/// What became of a proposal.
#[derive(Debug)]
pub struct Proposed<O> {
    /// Where it stands in the log.
    pub index: u64,
    /// What applying it said.
    pub outcome: O,
}

/// Why a proposal was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another manager leads. Nothing was written.
    #[error("this manager does not lead; {}", leader.as_ref().map_or_else(
        || "no leader is known: try again".to_owned(),
        |leader| format!("ask {}", leader.address),
    ))]
    NotLeader {
        /// Who does, if it is known.
        leader: Option<Target>,
    },
    /// The log has no room. Nothing was written.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Nothing was written.
    #[error("an entry of {0} bytes is too large: at most {ENTRY_MOST} are allowed")]
    TooLarge(usize),
    /// Nothing was written.
    #[error("cannot encode the entry: {0}")]
    Encode(#[from] CodecFailure),
    /// Leadership was lost, or no majority answered in time: it may have been written or not. Propose
    /// it again under the same request id.
    #[error(
        "no majority confirmed the change in time; it is not known whether it holds: look, and try again"
    )]
    Unknown,
    /// This manager takes no part any more.
    #[error("consensus has ended on this manager: {0}")]
    Ended(String),
}

/// How a refusal by Raft is met.
pub(super) enum Refusal<E> {
    /// A fresh leader may write in a moment.
    Soon,
    Final(E),
}

impl<S: Replicated> Consensus<S> {
    /// Commits `entry` and applies it here.
    ///
    /// # Errors
    /// See [`ProposeError`]; all but `Unknown` and `Ended` say that nothing was written.
    pub async fn propose(&self, entry: &S::Entry) -> Result<Proposed<S::Outcome>, ProposeError> {
        let bytes = S::encode_entry(entry)?;
        if bytes.len() > ENTRY_MOST.min(self.0.log.command_most()) {
            return Err(ProposeError::TooLarge(bytes.len()));
        }
        let asked = Instant::now();
        let written = tokio::time::timeout(BOUND, async {
            loop {
                self.wait_room(bytes.len(), asked).await?;
                match self.0.raft.client_write(Command(bytes.clone())).await {
                    Ok(response) => return Ok(response),
                    Err(error) => match self.refusal(error) {
                        Refusal::Soon if asked.elapsed() < LEASE_BOUND => {}
                        Refusal::Soon => return Err(ProposeError::NotLeader { leader: None }),
                        Refusal::Final(error) => return Err(error),
                    },
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        let ClientWriteResponse { log_id, data, .. } =
            written.await.map_err(|_| ProposeError::Unknown)??;
        let outcome = data.0.and_then(|any| any.downcast::<S::Outcome>().ok());
        let outcome = outcome.ok_or_else(|| ProposeError::Ended("an outcome was lost".into()))?;
        Ok(Proposed {
            index: log_id.index,
            outcome: *outcome,
        })
    }

    /// Waits while the disk only lags; refuses at once when it is full.
    async fn wait_room(&self, bytes: usize, asked: Instant) -> Result<(), NoRoom> {
        loop {
            match self.0.log.has_room(bytes) {
                Err(NoRoom::Busy) if asked.elapsed() < LEASE_BOUND => {
                    tokio::time::sleep(RETRY).await;
                }
                other => return other,
            }
        }
    }

    fn refusal(&self, error: RaftError<Types, ClientWriteError<Types>>) -> Refusal<ProposeError> {
        let error = match error {
            RaftError::APIError(error) => error,
            RaftError::Fatal(why) => return Refusal::Final(ProposeError::Ended(why.to_string())),
        };
        match error {
            ClientWriteError::ForwardToLeader(to) => match self.forward(to) {
                Refusal::Soon => Refusal::Soon,
                Refusal::Final(leader) => Refusal::Final(ProposeError::NotLeader { leader }),
            },
            ClientWriteError::LogEntryDiscarded(_) => Refusal::Final(ProposeError::Unknown),
            other => Refusal::Final(ProposeError::Ended(other.to_string())),
        }
    }

    /// Where to go instead.
    pub(super) fn forward(&self, to: ForwardToLeader<Types>) -> Refusal<Option<Target>> {
        if to.reason == ForwardReason::LeaseExpired {
            return Refusal::Soon;
        }
        let leader = to.leader_id.zip(to.leader_node);
        let leader = leader.map(|(id, node)| Target {
            id,
            address: node.address,
        });
        match leader {
            Some(leader) if leader.id == self.0.id => Refusal::Soon,
            leader => Refusal::Final(leader),
        }
    }
}
