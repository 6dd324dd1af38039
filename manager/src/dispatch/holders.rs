//! Who holds an image, from the state and what the leader has seen. Pure.

use std::net::SocketAddr;

use skep_proto::ids::NodeId;
use skep_proto::image::Digest;
use skep_proto::node::NodeState;

use crate::plan::Seen;
use crate::state::State;

/// A node that holds an image, or may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its host name.
    pub name: String,
    /// Its door for other nodes, where that is known.
    pub door: Option<SocketAddr>,
    /// What is known of it.
    pub state: HolderState,
}

/// What is known of a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolderState {
    /// It is up and holds the image.
    Up,
    /// It held the image when it was last heard.
    Down,
    /// It is down, and this leader has never heard what it holds.
    Unheard,
}

/// Who holds `image`, besides the node that asks.
pub fn holders(state: &State, seen: &Seen, image: Digest, asking: NodeId) -> Vec<Holder> {
    let others = state.nodes().filter(|node| node.id != asking);
    let found = others.filter_map(|node| {
        let heard = seen.nodes.get(&node.id);
        let holds = heard.is_some_and(|heard| heard.images.contains(&image));
        // Who has spoken holds the built-in image at least.
        let unheard = heard.is_none_or(|heard| heard.images.is_empty());
        let state = match node.status.state {
            NodeState::Down if holds => HolderState::Down,
            NodeState::Down if unheard => HolderState::Unheard,
            _ if holds => HolderState::Up,
            _ => return None,
        };
        Some(Holder {
            name: node.description.hostname.clone(),
            door: node.door(),
            state,
        })
    });
    found.collect()
}

#[cfg(test)]
#[path = "holders_tests.rs"]
mod tests;
