//! Writes nodes. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_proto::ids::{NetworkId, NodeId};
use skep_proto::node::{Node, NodeState, NodeStatus};

use super::check_version;
use crate::state::{Mark, Misfit, State};

impl State {
    pub(super) fn put_node(&mut self, node: &Arc<Node>) -> Result<(), Misfit> {
        let old = self.nodes.get(&node.id).cloned();
        check_version(
            || name(node.id),
            node.version,
            old.as_ref().map(|old| old.version),
        )?;
        if node.number != 0
            && self
                .node_numbered(node.number)
                .is_some_and(|id| id != node.id)
        {
            let number = u64::from(node.number);
            return Err(Misfit::NumberTaken {
                kind: "node number",
                number,
            });
        }
        if old.as_ref().is_some_and(|old| old.manages()) && !node.manages() {
            self.check_another_manages(node.id)?;
        }
        let mut node = Node::clone(node);
        node.version = self.meta.index;
        self.meta.last_number = match old.as_ref() {
            Some(old) if old.number == node.number => self.meta.last_number,
            _ if node.number == 0 => self.meta.last_number,
            _ => node.number,
        };
        self.replace_node(old.as_deref(), node);
        Ok(())
    }

    pub(super) fn turn_node(&mut self, id: NodeId, status: &NodeStatus) -> Result<(), Misfit> {
        let old = self.nodes.get(&id).cloned();
        let old = old.ok_or_else(|| Misfit::Missing { object: name(id) })?;
        let mut node = Node::clone(&old);
        node.version = self.meta.index;
        node.status = status.clone();
        self.replace_node(Some(&old), node);
        Ok(())
    }

    fn replace_node(&mut self, old: Option<&Node>, node: Node) {
        let shown = |node: &Node| {
            (
                node.status.state == NodeState::Up,
                node.address,
                node.number,
            )
        };
        let id = node.id;
        let same = old.is_some_and(|old| shown(old) == shown(&node));
        self.index_node(id, Some(Arc::new(node)));
        self.mark(Mark::Node(id));
        if !same {
            self.touch_networks_of(id);
        }
    }

    pub(super) fn delete_node(&mut self, id: NodeId, version: u64) -> Result<(), Misfit> {
        let current = self.nodes.get(&id).cloned();
        let current = current.ok_or_else(|| Misfit::Missing { object: name(id) })?;
        check_version(|| name(id), version, Some(current.version))?;
        if current.manages() {
            self.check_another_manages(id)?;
        }
        self.touch_networks_of(id);
        self.index_gateway(id, None);
        self.index_node(id, None);
        let failed = self.failures.keys().filter(|(_, node)| *node == id);
        let failed: Vec<_> = failed.copied().collect();
        for key in failed {
            self.failures.remove(&key);
        }
        self.mark(Mark::Node(id));
        Ok(())
    }

    pub(super) fn give_ingress(&mut self, id: NodeId, at: Ipv4Addr) -> Result<(), Misfit> {
        if !self.nodes.contains_key(&id) {
            return Err(Misfit::Missing { object: name(id) });
        }
        let ingress = self.ingress().cloned();
        let ingress = ingress.ok_or_else(|| Misfit::Missing {
            object: "ingress".into(),
        })?;
        if self.gateways.contains_key(&id) {
            return Err(Misfit::SetOnce {
                object: name(id),
                what: "the ingress address",
            });
        }
        self.check_address(ingress.id, at, None)?;
        self.index_gateway(id, Some(at));
        self.note_given(ingress.id, at);
        self.touch(ingress.id);
        self.mark(Mark::Node(id));
        Ok(())
    }

    fn check_another_manages(&self, node: NodeId) -> Result<(), Misfit> {
        if self.managers().any(|other| other.id != node) {
            Ok(())
        } else {
            Err(Misfit::LastManager { node })
        }
    }

    /// Networks on which something of this node shows.
    fn touch_networks_of(&mut self, id: NodeId) {
        let on = self.tasks_on(id).filter(|task| !task.status.state.ended());
        let attached = on.flat_map(|task| task.attachments.iter().map(|at| at.network));
        let mut networks: BTreeSet<NetworkId> = attached.collect();
        networks.extend(self.ingress().map(|network| network.id));
        for network in networks {
            self.touch(network);
        }
    }
}

fn name(id: NodeId) -> String {
    format!("node {id}")
}
