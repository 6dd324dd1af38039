//! Commands about nodes, managers and join tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::cluster::{Cluster, JoinSecrets};
use skep_proto::ids::{NodeId, RequestId};
use skep_proto::node::{Node, NodeSpec, NodeState, Role};
use tonic::Status;

use super::{Control, resolve};
use crate::state::{Answer, Change, State};

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
        let Some(manager) = &node.manager else {
            return Err(Status::failed_precondition(format!(
                "node {} is not a manager",
                node.description.hostname
            )));
        };
        let (left, reachable) = self.others(&state, node.id);
        if left == 0 {
            return Err(Status::failed_precondition(
                "this is the last manager: with it the cluster and all it knows are gone; if that is meant, \
                 use: skep swarm leave --force",
            ));
        }
        if reachable <= left / 2 && !force {
            return Err(Status::failed_precondition(format!(
                "without node {} only {reachable} of {left} managers could be reached, which is no majority; \
                 bring others up first",
                node.description.hostname
            )));
        }
        self.consensus
            .remove(manager.raft.0)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let current = self.read().await?;
        let Some(node) = current.node(node.id) else {
            return Ok(node.id);
        };
        let change = Change::DeleteNode {
            node: node.id,
            version: node.version,
        };
        self.commit(request, Answer::Node(node.id), vec![change])
            .await?;
        Ok(node.id)
    }

    /// Managers besides `node`, and how many of them can be reached.
    fn others(&self, state: &State, node: NodeId) -> (usize, usize) {
        let others = || {
            state
                .nodes()
                .filter(|each| each.manager.is_some() && each.id != node)
        };
        let reachable = others().filter(|each| self.reachable(each)).count();
        (others().count(), reachable)
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
