//! Brings a replicated job forward: so many tasks that end well, so many of them at the same time. Pure.
//!
//! A slot is done when a task of the newest spec has completed in it. A new spec begins anew: what was made
//! from an older one ends and counts no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::service::Service;
use skep_proto::spec::Mode;
use skep_proto::task::{Slot, Task, TaskState};

use super::draft::Draft;
use super::orchestrate::{self, Claim, claim};
use super::restart;

pub(super) fn advance(draft: &mut Draft<'_>, service: &Service) {
    let Mode::ReplicatedJob {
        total,
        max_concurrent,
    } = service.spec.mode
    else {
        return;
    };
    let tasks: Vec<Arc<Task>> = draft.state.tasks_of(service.id).cloned().collect();
    let mut held: BTreeSet<Slot> = BTreeSet::new();
    let mut active = 0u32;
    for task in &tasks {
        if draft.full() {
            return;
        }
        if claim(&draft.state, service, task.slot) != Claim::Fill {
            orchestrate::empty(draft, service.id, task.slot);
        } else if task.desired <= TaskState::Running && task.template != service.template {
            orchestrate::end(draft, task.id);
        } else if task.desired <= TaskState::Running {
            held.insert(task.slot);
            if restart::still_counts(&draft.state, service, task) {
                active = active.saturating_add(1);
            }
        }
    }
    for slot in (1..=total).map(Slot::Replica) {
        if active >= max_concurrent || draft.full() {
            return;
        }
        if !held.contains(&slot) {
            orchestrate::make(draft, service, slot, None);
            active = active.saturating_add(1);
        }
    }
}
