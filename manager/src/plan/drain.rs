//! Asks what a drain would leave without a place, before it begins. Pure.

use std::sync::Arc;

use skep_proto::ids::{NodeId, ServiceId};
use skep_proto::node::{Availability, Node};
use skep_proto::task::{Slot, Task, TaskState};
use skep_proto::time::{ClusterTime, WallTime};

use super::{Ids, Seen, plan};
use crate::state::{Change, Entry, State};

/// So many passes are enough for a node's tasks; what is not placed then is called without a place.
const PASSES: usize = 64;

/// Tasks of `node` that would find no other node if it were drained now: their names with the reason. It
/// drains a copy and plans there; nothing of it is kept.
pub fn left_without_place(
    state: &State,
    seen: &Seen,
    now: ClusterTime,
    node: NodeId,
) -> Vec<(String, String)> {
    let Some(found) = state.node(node) else {
        return Vec::new();
    };
    let to_run = |task: &&Arc<Task>| {
        let replica = matches!(task.slot, Slot::Replica(_));
        replica && task.desired <= TaskState::Running && !task.status.state.ended()
    };
    let slots = state.tasks_on(node).filter(to_run);
    let slots: Vec<(ServiceId, Slot)> = slots.map(|task| (task.service, task.slot)).collect();
    let mut drained = Node::clone(found);
    drained.spec.availability = Availability::Drain;
    let mut copy = state.clone();
    apply(&mut copy, now, vec![Change::PutNode(Arc::new(drained))]);
    let mut ids = Ids::new(0);
    for _ in 0..PASSES {
        let pass = plan(&copy, seen, now, WallTime::default(), &mut ids);
        if pass.changes.is_empty() {
            break;
        }
        apply(&mut copy, now, pass.changes);
    }
    let without = slots.into_iter().filter_map(|(service, slot)| {
        let waits = |task: &&Arc<Task>| task.node.is_none() && task.desired <= TaskState::Running;
        let task = copy.tasks_in(service, slot).find(waits)?;
        let name = &copy.service(service)?.spec.name;
        Some((format!("{name}.{slot}"), task.status.error.clone()))
    });
    without.collect()
}

fn apply(state: &mut State, time: ClusterTime, changes: Vec<Change>) {
    let entry = Entry {
        time,
        changes,
        ..Entry::default()
    };
    state.apply(state.applied().saturating_add(1), &entry);
}
