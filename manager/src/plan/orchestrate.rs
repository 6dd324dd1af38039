//! Gives each service the slots it is to have, and each slot one task that is to run. Pure.

use std::sync::Arc;

use skep_proto::ids::{ServiceId, TaskId};
use skep_proto::service::Service;
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::ClusterTime;

use super::draft::{Draft, Slots};
use super::update;
use crate::state::Change;

pub(super) fn fill_slots(draft: &mut Draft<'_>) {
    for (id, slots) in draft.services() {
        let Some(service) = draft.state.service(id).cloned() else {
            continue;
        };
        let slots: Vec<Slot> = match slots {
            Slots::These(slots) => slots.into_iter().collect(),
            Slots::All => all_slots(draft, &service),
        };
        for slot in slots {
            if draft.full() {
                return;
            }
            if wanted(&service, slot) {
                fill(draft, &service, slot);
            } else {
                empty(draft, id, slot);
            }
        }
    }
}

/// Slots the service is to have and slots it has, ascending.
fn all_slots(draft: &Draft<'_>, service: &Service) -> Vec<Slot> {
    let wanted = match service.spec.mode.replicas() {
        Some(replicas) if service.removed.is_none() => replicas,
        _ => 0,
    };
    let mut slots: Vec<Slot> = (1..=wanted).map(Slot::Replica).collect();
    for task in draft.state.tasks_of(service.id) {
        if !self::wanted(service, task.slot) && slots.last() != Some(&task.slot) {
            slots.push(task.slot);
        }
    }
    slots
}

/// Whether the service is to have a task in this slot.
pub(super) fn wanted(service: &Service, slot: Slot) -> bool {
    let replicas = service.spec.mode.replicas().unwrap_or_default();
    let in_range = matches!(slot, Slot::Replica(number) if (1..=replicas).contains(&number));
    service.removed.is_none() && in_range
}

fn fill(draft: &mut Draft<'_>, service: &Service, slot: Slot) {
    let to_run = |task: &Arc<Task>| task.desired <= TaskState::Running;
    if !draft.state.tasks_in(service.id, slot).any(to_run) {
        make(draft, service, slot, None);
    }
}

fn empty(draft: &mut Draft<'_>, service: ServiceId, slot: Slot) {
    let tasks = draft.state.tasks_in(service, slot);
    let tasks: Vec<TaskId> = tasks
        .filter(|task| task.desired < TaskState::Remove)
        .map(|task| task.id)
        .collect();
    for task in tasks {
        draft.change(Change::SetDesired {
            task,
            desired: TaskState::Remove,
        });
    }
}

/// A new task; one with `start_at` is a new attempt after a task that ended by itself.
pub(super) fn make(
    draft: &mut Draft<'_>,
    service: &Service,
    slot: Slot,
    start_at: Option<ClusterTime>,
) {
    let waits = start_at.is_some_and(|at| at > draft.now);
    let task = Task {
        id: draft.ids.task(),
        version: 0,
        service: service.id,
        template: update::template_for(&draft.state, service, slot),
        slot,
        node: None,
        desired: if waits {
            TaskState::Ready
        } else {
            TaskState::Running
        },
        status: TaskStatus::of(TaskState::New, draft.wall),
        created: draft.now,
        start_at,
        attachments: Vec::new(),
    };
    draft.change(Change::PutTask(Arc::new(task)));
}
