//! The door for users: reads what was committed and proposes what they ask for. Decides nothing that `plan`
//! decides, and never writes.
//!
//! All calls are answered by the leader (`forward`). A command carries a request id; a repeat gets the first
//! answer. What would change nothing is answered at once, without an entry.

mod door;
mod drain;
mod drills;
mod drills_door;
mod event_filter;
mod events;
mod files;
mod files_door;
pub mod forward;
mod images;
mod near;
mod networks;
mod nodes;
mod refuse;
pub(crate) mod resolve;
mod roles;
mod rollout;
mod services;
mod settings;
mod show;
mod tokens;
mod watch;

use std::future::Future;
use std::sync::Arc;

use skep_proto::ids::{NodeId, RequestId};
use tokio::sync::Mutex;
use tonic::{Code, Status};

use crate::leader::Live;
use crate::raft::Consensus;
use crate::ring::Ring;
use crate::state::{Answer, Change, State};

pub use forward::Forward;
pub use images::{ImageResolver, NoRegistry, ResolvedImage, SharedResolver};

/// A change that meets another one is tried so often.
const TRIES: usize = 10;

/// Answers users.
#[derive(Clone)]
pub struct Control {
    ring: Ring,
    consensus: Consensus<State>,
    live: Live,
    me: NodeId,
    resolver: SharedResolver,
    /// One manager goes at a time: what is checked has to hold until it is out.
    departures: Arc<Mutex<()>>,
}

impl Control {
    /// Answers from `ring`, on node `me`, and asks registries by `resolver`.
    pub fn new(
        ring: Ring,
        consensus: Consensus<State>,
        live: Live,
        me: NodeId,
        resolver: SharedResolver,
    ) -> Self {
        Self {
            ring,
            consensus,
            live,
            me,
            resolver,
            departures: Arc::default(),
        }
    }

    /// All that was acknowledged before this call.
    async fn read(&self) -> Result<State, Status> {
        self.ring
            .read()
            .await
            .map_err(|error| refuse::not_read(&error))
    }

    /// What was committed, or, where the user said that old will do, what is known here.
    async fn read_as(&self, stale: bool) -> Result<State, Status> {
        if stale {
            Ok(self.ring.stale())
        } else {
            self.read().await
        }
    }

    /// Commits all of `changes` or refuses; gives the log index.
    async fn commit(
        &self,
        request: RequestId,
        answer: Answer,
        changes: Vec<Change>,
    ) -> Result<u64, Status> {
        let outcome = self
            .ring
            .command(request, answer, changes)
            .await
            .map_err(|error| refuse::not_committed(&error))?;
        refuse::check(&outcome)?;
        Ok(outcome.index)
    }

    fn cluster(&self, state: &State) -> Result<Arc<skep_proto::cluster::Cluster>, Status> {
        state
            .cluster()
            .cloned()
            .ok_or_else(|| Status::unavailable("the cluster is being made; repeat"))
    }
}

/// Tries a command again that met another change, which is none of its user's: he named no version, and the plan
/// touches services and nodes at any time.
async fn again<T, F>(attempt: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    for _ in 1..TRIES {
        match attempt().await {
            Err(status) if status.code() == Code::Aborted => {}
            ended => return ended,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tonic::{Code, Status};

    use super::{TRIES, again};

    /// How often a command was tried that meets another change so many times, and whether it got through.
    async fn tried(meets: usize) -> (usize, Result<usize, Code>) {
        let tries = Cell::new(0);
        let ended = again(|| async {
            tries.set(tries.get() + 1);
            if tries.get() > meets {
                return Ok(meets);
            }
            Err(Status::aborted("it has changed meanwhile"))
        });
        let ended = ended.await.map_err(|status| status.code());
        (tries.get(), ended)
    }

    #[tokio::test]
    async fn what_meets_another_change_is_tried_again_so_often_and_no_more() {
        assert_eq!(tried(0).await, (1, Ok(0)));
        assert_eq!(tried(TRIES - 1).await, (TRIES, Ok(TRIES - 1)));
        assert_eq!(tried(TRIES).await, (TRIES, Err(Code::Aborted)));
        let tries = Cell::new(0);
        let refused: Result<(), Status> = again(|| async {
            tries.set(tries.get() + 1);
            Err(Status::not_found("there is none"))
        })
        .await;
        assert_eq!(refused.map_err(|status| status.code()), Err(Code::NotFound));
        assert_eq!(tries.get(), 1);
    }
}
