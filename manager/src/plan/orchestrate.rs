//! Gives each service the slots it is to have, and each slot one task that is to run. Pure.

use std::sync::Arc;

use skep_proto::ids::{NodeId, ServiceId, TaskId};
use skep_proto::node::{Availability, NodeState};
use skep_proto::service::{Service, Update};
use skep_proto::spec::Mode;
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::ClusterTime;

use super::draft::{Draft, Slots};
use super::{LARGEST_PASS, filter, job, update};
use crate::state::{Change, State};

pub(super) fn fill_slots(draft: &mut Draft<'_>) {
    for (id, slots) in draft.services() {
        let Some(service) = draft.state.service(id).cloned() else {
            continue;
        };
        let job = matches!(service.spec.mode, Mode::ReplicatedJob { .. });
        if job && service.removed.is_none() {
            job::advance(draft, &service);
            continue;
        }
        let slots: Vec<Slot> = match slots {
            Slots::These(slots) => slots.into_iter().collect(),
            Slots::All => match service.spec.mode {
                Mode::Replicated { replicas } if !draft.everywhere() => {
                    open_slots(&draft.state, &service, replicas)
                }
                // The oracle trusts no index.
                _ => all_slots(&draft.state, &service),
            },
        };
        for slot in slots {
            if draft.full() {
                return;
            }
            match claim(&draft.state, &service, slot) {
                Claim::Fill => fill(draft, &service, slot),
                Claim::Keep => {}
                Claim::Empty => empty(draft, id, slot),
            }
        }
    }
}

/// What a service wants of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// A task that is to run, or has run to its end.
    Fill,
    /// What is there stays, and nothing new comes: the slot's node is paused, drained or not up.
    Keep,
    /// Nothing.
    Empty,
}

/// What the service wants of this slot.
pub(super) fn claim(state: &State, service: &Service, slot: Slot) -> Claim {
    let (Mode::Replicated { replicas: wanted } | Mode::ReplicatedJob { total: wanted, .. }) =
        service.spec.mode
    else {
        return match slot {
            Slot::Node(node) if service.removed.is_none() => claim_on(state, service, node),
            _ => Claim::Empty,
        };
    };
    match slot {
        Slot::Replica(number) if service.removed.is_none() && (1..=wanted).contains(&number) => {
            Claim::Fill
        }
        _ => Claim::Empty,
    }
}

/// A global service has a place on every node that meets what its newest spec demands of the machine. Room
/// and ports are no matter here: a task that finds none is pending and says so.
fn claim_on(state: &State, service: &Service, id: NodeId) -> Claim {
    let (Some(node), Some(spec)) = (state.node(id), service.templates.get(&service.template))
    else {
        return Claim::Empty;
    };
    if filter::unsuitable(spec, node).is_some() {
        return Claim::Empty;
    }
    if node.status.state == NodeState::Up && node.spec.availability == Availability::Active {
        Claim::Fill
    } else {
        Claim::Keep
    }
}

/// Slots the service is to have and slots it has, ascending.
pub(super) fn all_slots(state: &State, service: &Service) -> Vec<Slot> {
    let mut slots: Vec<Slot> = match service.spec.mode {
        _ if service.removed.is_some() => Vec::new(),
        Mode::Replicated { replicas: wanted } | Mode::ReplicatedJob { total: wanted, .. } => {
            (1..=wanted).map(Slot::Replica).collect()
        }
        Mode::Global | Mode::GlobalJob => state.nodes().map(|node| Slot::Node(node.id)).collect(),
    };
    let there = slots.len();
    for task in state.tasks_of(service.id) {
        let known = slots.get(..there).unwrap_or_default();
        if slots.last() != Some(&task.slot) && known.binary_search(&task.slot).is_err() {
            slots.push(task.slot);
        }
    }
    slots.sort_unstable();
    slots
}

/// Slots of a replicated service where something is to be done, ascending: those that lack a task, that have
/// several or one that gives way, and that it is not to have. Of those that lack one, no more than a pass fills.
fn open_slots(state: &State, service: &Service, replicas: u32) -> Vec<Slot> {
    let wanted = if service.removed.is_some() {
        0
    } else {
        replicas
    };
    let mut filled = state.filled(service.id).peekable();
    let lacking = (1..=wanted).map(Slot::Replica).filter(|slot| {
        while filled.next_if(|one| one < slot).is_some() {}
        filled.next_if_eq(slot).is_none()
    });
    let mut slots: Vec<Slot> = lacking.take(LARGEST_PASS.saturating_add(1)).collect();
    slots.extend(state.doubled(service.id));
    slots.extend(state.giving_way(service.id));
    let first = Slot::Replica(wanted.saturating_add(1));
    slots.extend(state.slots_from(service.id, first));
    slots.sort_unstable();
    slots.dedup();
    slots
}

fn fill(draft: &mut Draft<'_>, service: &Service, slot: Slot) {
    match service.spec.mode {
        Mode::GlobalJob => end_older(draft, service, slot),
        Mode::Global if service.unfinished().is_none() => catch_up(draft, service, slot),
        _ => {}
    }
    let to_run = |task: &&Arc<Task>| task.desired <= TaskState::Running;
    let tasks = draft.state.tasks_in(service.id, slot).filter(to_run);
    let (leaving, steady): (Vec<Arc<Task>>, Vec<Arc<Task>>) =
        tasks.cloned().partition(|task| draft.state.gives_way(task));
    if steady.is_empty() {
        make(draft, service, slot, None);
    } else if steady
        .iter()
        .any(|task| task.status.state == TaskState::Running)
    {
        for task in leaving {
            draft.replace(task.id, update::leads_to(service));
        }
    }
}

/// A node that took no tasks while its service was updated still has one of an older spec: it gets the newest,
/// which is made ready and held until the old one has ended. What an update left there since the new one
/// failed stays.
fn catch_up(draft: &mut Draft<'_>, service: &Service, slot: Slot) {
    let failed = |update: &Update| update.failed.contains(&slot);
    if service.update.as_ref().is_some_and(failed) {
        return;
    }
    let to_run = |task: &&Arc<Task>| task.desired <= TaskState::Running;
    let tasks = draft.state.tasks_in(service.id, slot).filter(to_run);
    let tasks: Vec<Arc<Task>> = tasks.cloned().collect();
    let stale = |task: &Arc<Task>| task.template != service.template;
    if tasks.is_empty() || !tasks.iter().all(stale) {
        return;
    }
    for task in &tasks {
        end(draft, task.id);
    }
    put_new(draft, service, slot, (TaskState::Ready, None));
}

/// Of a job, only what was made from its newest spec counts; the rest ends.
fn end_older(draft: &mut Draft<'_>, service: &Service, slot: Slot) {
    let older = draft
        .state
        .tasks_in(service.id, slot)
        .filter(|task| task.desired <= TaskState::Running && task.template != service.template);
    let older: Vec<TaskId> = older.map(|task| task.id).collect();
    for task in older {
        end(draft, task);
    }
}

pub(super) fn end(draft: &mut Draft<'_>, task: TaskId) {
    draft.change(Change::SetDesired {
        task,
        desired: TaskState::Shutdown,
    });
}

pub(super) fn empty(draft: &mut Draft<'_>, service: ServiceId, slot: Slot) {
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
    let desired = if waits {
        TaskState::Ready
    } else {
        TaskState::Running
    };
    put_new(draft, service, slot, (desired, start_at));
}

fn put_new(
    draft: &mut Draft<'_>,
    service: &Service,
    slot: Slot,
    (desired, start_at): (TaskState, Option<ClusterTime>),
) {
    let task = Task {
        id: draft.ids.task(),
        version: 0,
        service: service.id,
        template: update::template_for(&draft.state, service, slot),
        slot,
        node: None,
        desired,
        status: TaskStatus::of(TaskState::New, draft.wall),
        created: draft.now,
        start_at,
        attachments: Vec::new(),
    };
    draft.change(Change::PutTask(Arc::new(task)));
}
