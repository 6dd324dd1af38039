//! The door for users: reads what was committed and proposes what they ask for. Decides nothing that `plan`
//! decides, and never writes.
//!
//! All calls are answered by the leader (`forward`). A command carries a request id; a repeat gets the first
//! answer. What would change nothing is answered at once, without an entry.

mod door;
mod drain;
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

use std::sync::Arc;

use skep_proto::ids::{NodeId, RequestId};
use tokio::sync::Mutex;
use tonic::Status;

use crate::leader::Live;
use crate::raft::Consensus;
use crate::ring::Ring;
use crate::state::{Answer, Change, State};

pub use forward::Forward;
pub use images::{ImageResolver, NoRegistry, ResolvedImage, SharedResolver};

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
