//! Commands about nodes, managers and join tokens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_proto::cluster::{Cluster, JoinSecrets};
use skep_proto::ids::{NodeId, RaftId, RequestId};
use skep_proto::node::{Node, NodeSpec, NodeState, Role};
use tonic::Status;

use super::{Control, resolve};
use crate::state::{Answer, Change, State};

/// The other managers agree within this to go on without one.
const DEPARTURE: Duration = Duration::from_secs(15);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);

impl Control {
    /// Changes a node's labels or availability.
    pub(super) async fn update_nod(
        &self,
        request: RequestId,
        reference: &str,
        version: Option<u64>,
        spec: NodeSpec,
    ) -> Result<NodeId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let old = resolve::node(&state, reference)?;
        if spec.role != old.spec.role {
            return Err(Status::unimplemented(
                "a node's role is set when it joins; to change it, let it leave and join again with the \
                 other token",
            ));
        }
        if old.spec == spec {
            return Ok(old.id);
        }
        let new = Node {
            spec,
            version: version.unwrap_or(old.version),
            ..Node::clone(&old)
        };
        self.commit(
            request,
            Answer::Node(old.id),
            vec![Change::PutNode(Arc::new(new))],
        )
        .await?;
        Ok(old.id)
    }

    /// Removes a node that is down, or any but the last manager if `force`. It is refused from then on.
    pub(super) async fn remove_nod(
        &self,
        request: RequestId,
        reference: &str,
        force: bool,
    ) -> Result<NodeId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let node = resolve::node(&state, reference)?;
        let name = &node.description.hostname;
        if node.manager.is_some() {
            return Err(Status::failed_precondition(format!(
                "node {name} is a manager; let it leave first, on that machine: skep swarm leave"
            )));
        }
        if node.status.state == NodeState::Up && !force {
            return Err(Status::failed_precondition(format!(
                "node {name} is up; let it leave first (skep swarm leave on that machine), or use --force"
            )));
        }
        let change = Change::DeleteNode {
            node: node.id,
            version: node.version,
        };
        self.commit(request, Answer::Node(node.id), vec![change])
            .await?;
        Ok(node.id)
    }

    /// Takes a manager out of the Raft group and out of the cluster.
    pub(super) async fn remove_mgr(
        &self,
        request: RequestId,
        reference: &str,
        force: bool,
    ) -> Result<NodeId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let node = resolve::node(&state, reference)?;
        self.may_go(&state, &node, force)?;
        if node.id == self.me {
            // Who leads next takes this one out: a leader cannot see its own departure through.
            let handed = self.consensus.transfer_leader(None).await;
            handed.map_err(|error| Status::unavailable(error.to_string()))?;
            return Err(Status::unavailable("leadership was handed over; repeat"));
        }
        let change = Change::DeleteNode {
            node: node.id,
            version: node.version,
        };
        self.commit(request, Answer::Node(node.id), vec![change])
            .await?;
        self.until_out(node.manager.as_ref().map(|it| it.raft))
            .await?;
        Ok(node.id)
    }

    /// Refuses a manager's departure that would leave the cluster without a majority.
    fn may_go(&self, state: &State, node: &Node, force: bool) -> Result<(), Status> {
        let name = &node.description.hostname;
        if node.manager.is_none() {
            return Err(Status::failed_precondition(format!(
                "node {name} is not a manager"
            )));
        }
        let (left, reachable) = self.others(state, node.id);
        if left == 0 {
            return Err(Status::failed_precondition(
                "this is the last manager: with it the cluster and all it knows are gone; if that is meant, \
                 use: skep swarm leave --force",
            ));
        }
        if reachable <= left / 2 && !force {
            return Err(Status::failed_precondition(format!(
                "without node {name} only {reachable} of {left} managers could be reached, which is no \
                 majority; bring others up first"
            )));
        }
        Ok(())
    }

    /// Waits until a manager that is gone from State has no vote any more: only then may it stop.
    async fn until_out(&self, raft: Option<RaftId>) -> Result<(), Status> {
        let begin = Instant::now();
        let member = |id: RaftId| self.consensus.members().iter().any(|(it, _)| it.id == id.0);
        while raft.is_some_and(member) {
            if begin.elapsed() > DEPARTURE {
                return Err(Status::deadline_exceeded(
                    "the node is removed, but the managers have not agreed yet to go on without it; wait until \
                     skep node ls shows the others, then use: skep swarm leave --force",
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Managers besides `node`, and how many of them were heard lately.
    fn others(&self, state: &State, node: NodeId) -> (usize, usize) {
        let others = || {
            let all = state.nodes();
            all.filter(|each| each.manager.is_some() && each.id != node)
        };
        // A new leader has not met everyone yet: who may still come in time counts.
        let now = Instant::now();
        let heard = |each: &&Arc<Node>| each.id == self.me || self.live.in_time(each.id, now);
        (others().count(), others().filter(heard).count())
    }

    /// Whether the leader can reach a manager.
    pub(super) fn reachable(&self, node: &Node) -> bool {
        // A manager's worker has a session with the leader: who hears one hears the other.
        node.manager.is_some() && (node.id == self.me || self.live.present(node.id))
    }

    /// The cluster with the secrets of `rotate` made anew.
    pub(super) async fn tokens(
        &self,
        request: RequestId,
        rotate: BTreeSet<Role>,
    ) -> Result<Arc<Cluster>, Status> {
        let state = self.read().await?;
        let old = self.cluster(&state)?;
        if rotate.is_empty() || state.answered(request).is_some() {
            return Ok(old);
        }
        let fresh = |role: Role, kept: [u8; 16]| {
            if rotate.contains(&role) {
                rand::random()
            } else {
                kept
            }
        };
        let tokens = JoinSecrets {
            worker: fresh(Role::Worker, old.tokens.worker),
            manager: fresh(Role::Manager, old.tokens.manager),
        };
        let new = Cluster {
            tokens,
            ..Cluster::clone(&old)
        };
        self.commit(
            request,
            Answer::Cluster(old.id),
            vec![Change::PutCluster(Arc::new(new))],
        )
        .await?;
        self.cluster(&self.ring.stale())
    }
}

fn answered(state: &State, request: RequestId) -> Result<Option<NodeId>, Status> {
    match state.answered(request).map(|answered| &answered.answer) {
        None => Ok(None),
        Some(Answer::Node(id)) => Ok(Some(*id)),
        Some(_) => Err(Status::invalid_argument(
            "the request id was used for another command",
        )),
    }
}
