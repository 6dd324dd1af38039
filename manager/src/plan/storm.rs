//! Tells a storm from the loss of nodes: when more than half of all nodes fall silent at once, it is more
//! likely the managers' network. Then their tasks are replaced one node at a time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_proto::ids::NodeId;
use skep_proto::time::ClusterTime;

use crate::state::State;

/// Silence after which a node is down, for a state that has no cluster object.
const DOWN_AFTER: Duration = Duration::from_secs(3);

/// What a node that waits its turn says of itself.
pub(super) const REASON: &str = "more than half of the nodes fell silent at once: their tasks are replaced \
                                 one node at a time, as it is more likely the managers' network";

/// How long a node must be silent to be down: also the time within which falling silent is "at once", and
/// from one node's turn to the next.
pub(super) fn period(state: &State) -> Duration {
    state
        .cluster()
        .map_or(DOWN_AFTER, |cluster| cluster.spec.down_after)
}

/// Nodes that fell silent in a storm, with the time from which on their tasks are replaced: the first at
/// once, each later one a period after the one before.
pub(super) fn turns(state: &State) -> BTreeMap<NodeId, ClusterTime> {
    let mut down: Vec<(ClusterTime, NodeId)> = state
        .down_nodes()
        .map(|node| (node.status.since, node.id))
        .collect();
    let all = state.nodes().count();
    if down.len().saturating_mul(2) <= all {
        return BTreeMap::new();
    }
    down.sort_unstable();
    let period = period(state);
    for first in 0..down.len() {
        let Some(later) = down.get(first..) else {
            break;
        };
        let Some((begin, _)) = later.first().copied() else {
            break;
        };
        let within = later
            .iter()
            .take_while(|(since, _)| since.since(begin) <= period);
        if within.clone().count().saturating_mul(2) > all {
            let numbered = (0u32..).zip(within);
            return numbered
                .map(|(number, (_, node))| (*node, begin.after(period.saturating_mul(number))))
                .collect();
        }
    }
    BTreeMap::new()
}
