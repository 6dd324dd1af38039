//! Managers that become workers or leave the cluster.
//!
//! What would cost the cluster its quorum is refused before anything is written. A leader that is to go hands over
//! first: who leads then sees its departure through. That a node has become a worker stands in State at once; the
//! leader's keeper of members takes it out of the Raft group, and the next leader goes on where this one died.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_proto::ids::{NodeId, RaftId, RequestId};
use skep_proto::node::{Node, NodeSpec};
use tonic::Status;

use super::nodes::answered;
use super::{Control, resolve};
use crate::raft::Voting;
use crate::state::{Answer, Change, State};

/// The other managers agree within this to go on without one.
const DEPARTURE: Duration = Duration::from_secs(15);
/// A leader that was elected just now has heard from the others within this.
const HEARD: Duration = Duration::from_secs(2);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);

/// How a manager goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Departure {
    /// It becomes a worker.
    Demoted,
    /// It leaves the cluster.
    Left,
    /// It leaves although too few may remain.
    LeftByForce,
}

impl Control {
    /// Makes a manager a worker. It is refused as a manager from then on, and out of the Raft group when this returns.
    pub(super) async fn demote(
        &self,
        request: RequestId,
        node: NodeId,
        version: Option<u64>,
        spec: NodeSpec,
    ) -> Result<NodeId, Status> {
        let _alone = self.departures.lock().await;
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let node = resolve::node(&state, &node.to_string())?;
        let new = Change::PutNode(Arc::new(Node {
            spec,
            version: version.unwrap_or(node.version),
            ..Node::clone(&node)
        }));
        self.depart((request, new), &state, &node, Departure::Demoted)
            .await
    }

    /// Takes a manager out of the Raft group and out of the cluster.
    pub(super) async fn remove_mgr(
        &self,
        request: RequestId,
        reference: &str,
        force: bool,
    ) -> Result<NodeId, Status> {
        let _alone = self.departures.lock().await;
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let node = resolve::node(&state, reference)?;
        if node.manager.is_none() {
            let name = &node.description.hostname;
            return Err(Status::failed_precondition(format!(
                "node {name} is not a manager"
            )));
        }
        let deletion = Change::DeleteNode {
            node: node.id,
            version: node.version,
        };
        let departure = if force {
            Departure::LeftByForce
        } else {
            Departure::Left
        };
        self.depart((request, deletion), &state, &node, departure)
            .await
    }

    async fn depart(
        &self,
        (request, change): (RequestId, Change),
        state: &State,
        node: &Node,
        departure: Departure,
    ) -> Result<NodeId, Status> {
        if node.manages() {
            self.may_go(state, node, departure).await?;
        }
        if node.manager.is_some() && node.id == self.me {
            // Who leads next takes this one out: a leader cannot see its own departure through.
            let handed = self.consensus.transfer_leader(None).await;
            handed.map_err(|error| Status::unavailable(error.to_string()))?;
            return Err(Status::unavailable("leadership was handed over; repeat"));
        }
        self.commit(request, Answer::Node(node.id), vec![change])
            .await?;
        self.until_out(node.manager.as_ref().map(|it| it.raft))
            .await?;
        Ok(node.id)
    }

    /// Refuses a manager's departure that would leave the cluster without a majority.
    async fn may_go(&self, state: &State, node: &Node, departure: Departure) -> Result<(), Status> {
        let name = &node.description.hostname;
        let others = state.managers().filter(|other| other.id != node.id);
        let numbers = others.filter_map(|other| other.manager.as_ref());
        let numbers: BTreeSet<u64> = numbers.map(|manager| manager.raft.0).collect();
        let stays = |id: u64| numbers.contains(&id);
        let members = self.consensus.members();
        let mut voters = members.iter().filter(|(_, votes)| *votes == Voting::Yes);
        if !voters.any(|(it, _)| stays(it.id)) {
            return Err(Status::failed_precondition(match departure {
                Departure::Demoted => format!(
                    "node {name} is the last manager that votes; make another node a manager first (skep node promote \
                     NODE), and wait until skep node ls shows it as Reachable"
                ),
                Departure::Left | Departure::LeftByForce => {
                    "this is the last manager: with it the cluster and all it knows are gone; if that is meant, \
                     use: skep swarm leave --force"
                        .to_owned()
                }
            }));
        }
        let asked = Instant::now();
        while let Err(error) = self.consensus.could_decide(stays) {
            if departure == Departure::LeftByForce {
                return Ok(());
            }
            if asked.elapsed() > HEARD {
                return Err(Status::failed_precondition(format!(
                    "without node {name} the cluster would have no quorum: {error}"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until a manager has no vote any more: only then may it stop.
    async fn until_out(&self, raft: Option<RaftId>) -> Result<(), Status> {
        let begin = Instant::now();
        let member = |id: RaftId| self.consensus.members().iter().any(|(it, _)| it.id == id.0);
        while raft.is_some_and(member) {
            if begin.elapsed() > DEPARTURE {
                return Err(Status::deadline_exceeded(
                    "the node is no manager any more, but the managers have not agreed yet to go on without it; wait \
                     until skep node ls shows the others; where the node is to leave, use then: skep swarm leave --force",
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
