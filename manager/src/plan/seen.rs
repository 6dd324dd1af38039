//! The leader's memory of what is live. Pure.
//!
//! It is told again whenever a session opens and lost with the leader. Plan may wait on it, with a
//! `wake_at`, and never writes it.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::ids::{NetworkId, NodeId};
use skep_proto::image::Digest;

/// What is live, as the leader's sessions tell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Nodes by id. A node that is not here has not been heard of by this leader and still has its deadline.
    pub nodes: BTreeMap<NodeId, SeenNode>,
    /// This leader's plans have looked at all changes up to this index, those without an entry too.
    pub looked: u64,
}

/// What is live of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SeenNode {
    /// Its session.
    pub session: Session,
    /// Revision it has programmed, for each network.
    pub acknowledged: BTreeMap<NetworkId, u64>,
    /// Manifests of images it holds whole.
    pub images: BTreeSet<Digest>,
}

/// A node's session with the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Session {
    /// None, and its deadline has not passed.
    #[default]
    Away,
    /// Open, but its first whole assignment is not acknowledged: a node that was down stays so.
    Opening,
    /// Open, and it has acknowledged a whole assignment.
    Open,
    /// Silent for longer than the deadline.
    Silent,
    /// It said that it leaves for good or is to be down at once.
    Left,
}

impl Seen {
    /// The revision of `network` that `node` has programmed; 0 if none.
    pub fn acknowledged(&self, node: NodeId, network: NetworkId) -> u64 {
        let node = self.nodes.get(&node);
        node.and_then(|node| node.acknowledged.get(&network))
            .copied()
            .unwrap_or_default()
    }
}
