//! Turns nodes up and down, and takes their tasks from those that are not to have any. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::ids::{NodeId, TaskId};
use skep_proto::node::{Node, NodeState, NodeStatus};
use skep_proto::resources::Resources;
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::ClusterTime;

use super::draft::Draft;
use super::seen::Session;
use super::{filter, orchestrate, storm};
use crate::state::Change;

pub(super) fn turn_and_evict(draft: &mut Draft<'_>) {
    turn(draft);
    let turns = storm::turns(&draft.state);
    // A node that is down is looked at in every pass: its tasks may be lost only later.
    let down: BTreeSet<NodeId> = draft.state.down_nodes().map(|node| node.id).collect();
    for id in draft.nodes().into_iter().chain(down.iter().copied()) {
        match draft.state.node(id).cloned() {
            None => give_up_all(draft, id, "its node is no longer in the cluster"),
            Some(node) if node.status.state == NodeState::Down => {
                lose(draft, &node, turns.get(&id).copied());
            }
            Some(node) if node.spec.availability.drains() => drain(draft, &node),
            Some(node) => enforce(draft, &node),
        }
    }
    orphan(draft);
}

fn turn(draft: &mut Draft<'_>) {
    let seen = draft.seen;
    for (id, live) in &seen.nodes {
        let Some(node) = draft.state.node(*id) else {
            continue;
        };
        let (state, message) = match live.session {
            Session::Open => (NodeState::Up, String::new()),
            Session::Silent => {
                let deadline = storm::period(&draft.state);
                (NodeState::Down, format!("nothing heard for {deadline:?}"))
            }
            Session::Left => (NodeState::Down, "it left".to_owned()),
            Session::Away | Session::Opening => continue,
        };
        if node.status.state != state {
            let status = NodeStatus {
                state,
                since: draft.now,
                message,
            };
            draft.change(Change::Turned { node: *id, status });
        }
    }
}

fn live_on(draft: &Draft<'_>, id: NodeId) -> Vec<Arc<Task>> {
    let tasks = draft.state.tasks_on(id);
    let live = tasks.filter(|task| !task.status.state.ended());
    live.cloned().collect()
}

/// A drained node's tasks end and their slots get new ones at once; where it surges, a task that runs waits
/// for its replacement.
fn drain(draft: &mut Draft<'_>, node: &Node) {
    for task in live_on(draft, node.id) {
        if task.desired <= TaskState::Running && !draft.state.gives_way(&task) {
            orchestrate::end(draft, task.id);
        }
    }
}

/// Tasks of a node that is down are replaced elsewhere: at once, or when their service and a storm say so.
/// What belongs to the node itself has no other place and stays.
fn lose(draft: &mut Draft<'_>, node: &Node, turn: Option<ClusterTime>) {
    let period = storm::period(&draft.state);
    let drains = node.spec.availability.drains();
    let mut waits = false;
    for task in live_on(draft, node.id) {
        let at_home = matches!(task.slot, Slot::Node(_)) && !drains;
        if task.desired > TaskState::Running || at_home {
            continue;
        }
        let service = draft.state.service(task.service);
        let patience = service.and_then(|service| service.spec.lost_after);
        let more = patience.unwrap_or(period).saturating_sub(period);
        let lost = node.status.since.after(more);
        let at = turn.map_or(lost, |turn| lost.max(turn));
        if at > draft.now && !drains {
            waits |= turn.is_some_and(|turn| turn > draft.now);
            draft.wake(at);
        } else {
            orchestrate::end(draft, task.id);
        }
    }
    if waits && !node.status.message.ends_with(storm::REASON) {
        let status = NodeStatus {
            message: format!("{}; {}", node.status.message, storm::REASON),
            ..node.status.clone()
        };
        draft.change(Change::Turned {
            node: node.id,
            status,
        });
    }
}

/// What a spec demands of its node holds as long as the task runs: a node that no longer meets it gives the
/// task away. Where a node has less than its tasks reserve, the youngest go.
fn enforce(draft: &mut Draft<'_>, node: &Node) {
    let mut tasks = live_on(draft, node.id);
    tasks.retain(|task| task.desired <= TaskState::Running);
    tasks.sort_by_key(|task| (task.created, task.id));
    let mut kept = Resources::default();
    let mut things: BTreeMap<String, u64> = BTreeMap::new();
    let has = &node.description;
    for task in tasks {
        let Some(spec) = draft.state.template(task.service, task.template).cloned() else {
            continue;
        };
        let sum = kept.plus(spec.reservations);
        let short = (spec.reservations.nano_cpus > 0 && sum.nano_cpus > has.resources.nano_cpus)
            || (spec.reservations.memory > 0 && sum.memory > has.resources.memory);
        let lacks = |(kind, amount): (&String, &u64)| {
            let sum = things.get(kind).copied().unwrap_or_default();
            sum.saturating_add(*amount) > has.generic.get(kind).copied().unwrap_or_default()
        };
        if short || spec.generic.iter().any(lacks) || filter::unsuitable(&spec, node).is_some() {
            orchestrate::end(draft, task.id);
            continue;
        }
        kept = sum;
        for (kind, amount) in &spec.generic {
            let sum = things.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }
}

/// Tasks of a node that was down for too long are given up: their addresses may be used again.
fn orphan(draft: &mut Draft<'_>) {
    let Some(cluster) = draft.state.cluster() else {
        return;
    };
    let after = cluster.spec.orphan_after;
    let down = draft
        .state
        .down_nodes()
        .map(|node| (node.id, node.status.since.after(after)));
    let down: Vec<_> = down.collect();
    for (node, at) in down {
        if live_on(draft, node).is_empty() {
            continue;
        }
        if at > draft.now {
            draft.wake(at);
            continue;
        }
        give_up_all(draft, node, "its node has been down for too long");
    }
}

fn give_up_all(draft: &mut Draft<'_>, node: NodeId, why: &str) {
    for task in live_on(draft, node) {
        if task.desired <= TaskState::Running {
            orchestrate::end(draft, task.id);
        }
        let mut status = TaskStatus::of(TaskState::Orphaned, draft.wall);
        status.error = why.to_owned();
        let task: TaskId = task.id;
        draft.change(Change::Observed { task, status });
    }
}
