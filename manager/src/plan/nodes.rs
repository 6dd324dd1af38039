//! Turns nodes up and down, and takes their tasks from those that are not to have any. Pure.

use skep_proto::ids::{NodeId, TaskId};
use skep_proto::node::{Availability, NodeState, NodeStatus};
use skep_proto::task::{TaskState, TaskStatus};

use super::draft::Draft;
use super::seen::Session;
use crate::state::Change;

pub(super) fn turn_and_evict(draft: &mut Draft<'_>) {
    turn(draft);
    for node in draft.nodes() {
        evict(draft, node);
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
                let deadline = draft.state.cluster().map(|cluster| cluster.spec.down_after);
                (
                    NodeState::Down,
                    format!("nothing heard for {:?}", deadline.unwrap_or_default()),
                )
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

/// A task is told to end when its node is gone, down or drained; its slot gets a new one at once.
fn evict(draft: &mut Draft<'_>, id: NodeId) {
    let keeps = draft.state.node(id).is_some_and(|node| {
        node.status.state != NodeState::Down && node.spec.availability != Availability::Drain
    });
    let gone = draft.state.node(id).is_none();
    if keeps {
        return;
    }
    let tasks = draft
        .state
        .tasks_on(id)
        .filter(|task| !task.status.state.ended());
    let tasks: Vec<(TaskId, TaskState)> = tasks.map(|task| (task.id, task.desired)).collect();
    for (task, desired) in tasks {
        if desired <= TaskState::Running {
            draft.change(Change::SetDesired {
                task,
                desired: TaskState::Shutdown,
            });
        }
        if gone {
            give_up(draft, task, "its node is no longer in the cluster");
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
        let left = draft
            .state
            .tasks_on(node)
            .filter(|task| !task.status.state.ended());
        let left: Vec<TaskId> = left.map(|task| task.id).collect();
        if left.is_empty() {
            continue;
        }
        if at > draft.now {
            draft.wake(at);
            continue;
        }
        for task in left {
            give_up(draft, task, "its node has been down for too long");
        }
    }
}

fn give_up(draft: &mut Draft<'_>, task: TaskId, why: &str) {
    let mut status = TaskStatus::of(TaskState::Orphaned, draft.wall);
    status.error = why.to_owned();
    draft.change(Change::Observed { task, status });
}
