//! Who of several tasks in a slot stays, when one that is held may start, and what a slot gets that lost its
//! task while an update is not at its end. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use skep_proto::ids::TaskId;
use skep_proto::node::NodeState;
use skep_proto::service::Service;
use skep_proto::spec::UpdateOrder;
use skep_proto::task::{Slot, Task, TaskState};

use crate::plan::draft::{Draft, With};
use crate::state::{Change, State};

/// Where two tasks of a slot are to run, the old one goes once the new one runs, and what was begun and is no
/// longer wanted goes at once.
pub(super) fn one_stays(draft: &mut Draft<'_>) {
    for (id, slot) in draft.slots(With::Several) {
        let Some(service) = draft.state.service(id).cloned() else {
            continue;
        };
        if service.spec.mode.is_job() {
            continue;
        }
        for task in superfluous(&draft.state, &service, slot) {
            if task.status.state == TaskState::Running {
                draft.replace(task.id, leads_to(&service));
            } else {
                draft.change(Change::SetDesired {
                    task: task.id,
                    desired: TaskState::Shutdown,
                });
            }
        }
    }
}

/// The revision that the last update of a service leads to; 0 if there was none.
pub(in crate::plan) fn leads_to(service: &Service) -> u64 {
    service.update.as_ref().map_or(0, |update| update.to)
}

fn superfluous(state: &State, service: &Service, slot: Slot) -> Vec<Arc<Task>> {
    // One that gives way to a drain ends when another runs: that is not decided here.
    let to_run = |task: &&Arc<Task>| task.desired <= TaskState::Running && !state.gives_way(task);
    let mut all: Vec<&Arc<Task>> = state.tasks_in(service.id, slot).filter(to_run).collect();
    if all.len() < 2 {
        return Vec::new();
    }
    // The best first: one that has not ended, that got furthest, the oldest.
    all.sort_by_key(|task| {
        let ended = task.status.state.ended();
        (ended, Reverse(task.status.state), task.created, task.id)
    });
    let of_template = |task: &&&Arc<Task>| task.template == service.template;
    let current = all.iter().find(of_template).copied();
    let old = all.iter().find(|task| !of_template(task)).copied();
    let runs = current.is_some_and(|task| task.status.state == TaskState::Running);
    let old = old.filter(|task| !(runs || current.is_some() && task.status.state.ended()));
    let stays = [current, old].into_iter().flatten();
    let stays: Vec<TaskId> = stays.map(|task| task.id).collect();
    let goes = all.into_iter().filter(|task| !stays.contains(&task.id));
    goes.cloned().collect()
}

/// Tasks that are held start when nothing of their slot runs any more on a node that is there.
pub(super) fn start(draft: &mut Draft<'_>) {
    let held: Vec<Arc<Task>> = draft.state.held().cloned().collect();
    for task in held {
        if draft.full() {
            return;
        }
        if alone(&draft.state, &task) {
            draft.change(Change::SetDesired {
                task: task.id,
                desired: TaskState::Running,
            });
        }
    }
}

/// Whether nothing of its slot runs any more on a node that is there. Where tasks start first, one that has not
/// been told to end is no hindrance: it came to run when it was about to be replaced, and goes after this one.
fn alone(state: &State, task: &Task) -> bool {
    let starts_first = state.service(task.service).is_some_and(|service| {
        let update = service.updating();
        update.is_some_and(|update| update.config.order == UpdateOrder::StartFirst)
    });
    let mut others = state
        .tasks_in(task.service, task.slot)
        .filter(|other| other.id != task.id && !other.status.state.ended());
    others.all(|other| {
        let node = other.node.and_then(|id| state.node(id));
        let beside = starts_first && other.desired == TaskState::Running;
        beside || node.is_none_or(|node| node.status.state == NodeState::Down)
    })
}

/// The template that a new task of a slot is made from. While an update is not at its end a slot keeps the one
/// it has: what is replaced, and when, is the update's to say.
pub(in crate::plan) fn template_for(state: &State, service: &Service, slot: Slot) -> u64 {
    if service.unfinished().is_none() {
        return service.template;
    }
    let tasks = state.tasks_in(service.id, slot);
    let last = tasks
        .filter(|task| service.templates.contains_key(&task.template))
        .max_by_key(|task| (state.gives_way(task), task.created, task.id));
    last.map_or(service.template, |task| task.template)
}

/// Whether a task that ended gets no new attempt: its update does not go on, and the one that it was to replace
/// is there.
pub(in crate::plan) fn given_up(state: &State, service: &Service, task: &Task) -> bool {
    if service.updating().is_some() {
        return false;
    }
    let mut others = state.tasks_in(service.id, task.slot);
    others.any(|other| {
        other.id != task.id && other.desired <= TaskState::Running && !other.status.state.ended()
    })
}
