//! Clears away what nothing needs any more. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::ids::ServiceId;
use skep_proto::service::Service;
use skep_proto::task::{Slot, Task, TaskState};

use super::draft::{Draft, With};
use super::release::Acknowledged;
use crate::state::Change;

/// Ended tasks kept for each slot when there is no cluster object to say how many.
const HISTORY: u32 = 5;

pub(super) fn clear_away(draft: &mut Draft<'_>) {
    let mut services: BTreeSet<ServiceId> = BTreeSet::new();
    for (service, slot) in draft.slots(With::Leaving) {
        if draft.full() {
            break;
        }
        clear_slot(draft, service, slot);
        services.insert(service);
    }
    services.extend(draft.services().into_keys());
    for service in services {
        drop_templates(draft, service);
    }
    finish_removed(draft);
}

fn clear_slot(draft: &mut Draft<'_>, service: ServiceId, slot: Slot) {
    let tasks: Vec<Arc<Task>> = draft.state.tasks_in(service, slot).cloned().collect();
    let mut history: Vec<&Arc<Task>> = Vec::new();
    for task in &tasks {
        if task.desired <= TaskState::Running {
            continue;
        }
        if task.node.is_none() {
            delete(draft, task);
        } else if ended_before(draft, task) && task.attachments.is_empty() {
            if task.desired == TaskState::Remove {
                delete(draft, task);
            } else {
                history.push(task);
            }
        }
    }
    let kept = draft
        .state
        .cluster()
        .map_or(HISTORY, |cluster| cluster.spec.task_history);
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    history.sort_by_key(|task| (std::cmp::Reverse(task.created), task.id));
    for task in history.into_iter().skip(kept) {
        delete(draft, task);
    }
}

/// Whether its end is committed: what ends in this pass is cleared away in the next.
fn ended_before(draft: &Draft<'_>, task: &Task) -> bool {
    draft
        .base
        .task(task.id)
        .is_some_and(|task| task.status.state.ended())
}

fn delete(draft: &mut Draft<'_>, task: &Task) {
    draft.change(Change::DeleteTask {
        task: task.id,
        version: task.version,
    });
}

/// Task specs that no task names go, save the one in force, and virtual addresses on networks that none names.
fn drop_templates(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(service) = draft.state.service(id).cloned() else {
        return;
    };
    if service.templates.len() <= 1 {
        return;
    }
    // A task that goes in this pass still names its spec in the state that the entry is applied to.
    let before = draft.base.tasks_of(id).chain(draft.state.tasks_of(id));
    let mut named: BTreeSet<u64> = before.map(|task| task.template).collect();
    named.insert(service.template);
    let mut new = Service::clone(&service);
    new.templates.retain(|revision, _| named.contains(revision));
    if new.templates.len() < service.templates.len() {
        let used = new.templates.values().flat_map(|spec| &spec.networks);
        let used: BTreeSet<_> = used.map(|used| used.network).collect();
        new.vips.retain(|network, _| used.contains(network));
        draft.change(Change::PutService(Arc::new(new)));
    }
}

/// A removed service goes when its tasks have gone and everybody knows that its virtual addresses have.
fn finish_removed(draft: &mut Draft<'_>) {
    let mut acknowledged = Acknowledged::default();
    let removed: Vec<Arc<Service>> = draft.state.removed_services().cloned().collect();
    for service in removed {
        if draft.state.tasks_of(service.id).next().is_some() {
            continue;
        }
        let committed = draft
            .base
            .service(service.id)
            .filter(|found| found.removed.is_some());
        let Some(since) = committed.map(|found| found.version) else {
            continue;
        };
        if service
            .vips
            .keys()
            .all(|network| acknowledged.knows(draft, *network, since))
        {
            let (id, version) = (service.id, service.version);
            draft.change(Change::DeleteService {
                service: id,
                version,
            });
        }
    }
}
