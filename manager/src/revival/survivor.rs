//! What a state has to know of the one manager that goes on with it. Pure.

use std::net::SocketAddr;
use std::sync::Arc;

use skep_proto::cluster::Cluster;
use skep_proto::drill::{Drill, DrillEnd};
use skep_proto::ids::RaftId;
use skep_proto::image::Image;
use skep_proto::node::{ManagerStatus, Node, NodeSpec, Role};
use skep_proto::time::WallTime;

use crate::state::{Change, Entry, State};

/// The manager that goes on alone.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// Its node: one that the state knows, or a new one of version 0.
    pub node: Arc<Node>,
    /// Its number in the new Raft group, never used before.
    pub raft: RaftId,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Images that it has built in.
    pub images: Vec<Image>,
    /// The command that led to it, for the audit.
    pub asked: &'static str,
}

impl Survivor {
    /// The entry that makes `state` one with this manager alone; `None` where there is no cluster in it.
    /// All others are workers from then on: what they were is for the user to decide again.
    pub(super) fn entry(self, state: &State, wall: WallTime) -> Option<Entry> {
        let cluster = state.cluster()?;
        let raised = Cluster {
            incarnation: cluster.incarnation.saturating_add(1),
            ..Cluster::clone(cluster)
        };
        let status = ManagerStatus {
            raft: self.raft,
            address: self.address,
        };
        // The survivor first: nobody stops being a manager while no other is one.
        let mut changes = vec![
            Change::PutCluster(Arc::new(raised)),
            put(&self.node, Some(status)),
        ];
        let others = state.nodes().filter(|node| node.id != self.node.id);
        let managers =
            others.filter(|node| node.manager.is_some() || node.spec.role == Role::Manager);
        changes.extend(managers.map(|node| put(node, None)));
        let images = self.images.into_iter().map(Arc::new);
        changes.extend(images.map(Change::PutImage));
        changes.extend(state.drills().filter_map(|it| called_off(it, wall)));
        Some(Entry {
            time: state.time(),
            wall,
            by: self.asked.to_owned(),
            changes,
            ..Entry::default()
        })
    }
}

/// A drill that went on then is not to be suffered now.
fn called_off(drill: &Drill, wall: WallTime) -> Option<Change> {
    let end = DrillEnd {
        at: wall,
        verdict: "stopped".to_owned(),
        report: String::new(),
    };
    drill.end.is_none().then(|| {
        Change::PutDrill(Arc::new(Drill {
            end: Some(end),
            ..drill.clone()
        }))
    })
}

fn put(node: &Node, manager: Option<ManagerStatus>) -> Change {
    let role = match manager {
        Some(_) => Role::Manager,
        None => Role::Worker,
    };
    let address = manager
        .as_ref()
        .map_or(node.address, |manager| manager.address.ip());
    Change::PutNode(Arc::new(Node {
        spec: NodeSpec {
            role,
            ..node.spec.clone()
        },
        address,
        manager,
        ..node.clone()
    }))
}
