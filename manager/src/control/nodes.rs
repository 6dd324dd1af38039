//! Commands about nodes, managers and join tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::cluster::{Cluster, JoinSecrets};
use skep_proto::ids::{NodeId, RequestId};
use skep_proto::node::{ManagerStatus, Node, NodeSpec, NodeState, Role};
use tonic::Status;

use super::{Control, resolve};
use crate::raft::Voting;
use crate::state::{Answer, Change, State};

impl Control {
    /// Changes a node's role, labels or availability.
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
        if old.spec == spec {
            return Ok(old.id);
        }
        if (old.spec.role, spec.role) == (Role::Manager, Role::Worker) {
            return self.demote(request, old.id, version, spec).await;
        }
        if old.spec.role != spec.role && old.status.state == NodeState::Down {
            return Err(Status::failed_precondition(format!(
                "node {0} is down, and a manager that does not answer is no help to the others; start its daemon and \
                 wait until skep node ls shows it as Ready, then repeat: skep node promote {0}",
                old.description.hostname
            )));
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
        if node.spec.role == Role::Worker && node.manager.is_some() {
            return Err(Status::unavailable(format!(
                "node {name} was a manager, and the others have not agreed yet to go on without it; repeat"
            )));
        }
        if node.spec.role == Role::Manager {
            return Err(Status::failed_precondition(format!(
                "node {name} is a manager; make it a worker first (skep node demote {name}), or let it leave (skep \
                 swarm leave on that machine)"
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

    /// Whether the leader can reach a manager and counts its vote.
    pub(super) fn reachable(&self, node: &Node) -> bool {
        let votes = |manager: &ManagerStatus| {
            let members = self.consensus.members();
            let mut voters = members.iter().filter(|(_, votes)| *votes == Voting::Yes);
            voters.any(|(it, _)| it.id == manager.raft.0)
        };
        // A manager's worker has a session with the leader: who hears one hears the other.
        node.manager.as_ref().is_some_and(votes)
            && (node.id == self.me || self.live.present(node.id))
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

pub(super) fn answered(state: &State, request: RequestId) -> Result<Option<NodeId>, Status> {
    match state.answered(request).map(|answered| &answered.answer) {
        None => Ok(None),
        Some(Answer::Node(id)) => Ok(Some(*id)),
        Some(_) => Err(Status::invalid_argument(
            "the request id was used for another command",
        )),
    }
}
