//! Replaces the tasks of a service by those of a new spec, some at a time. Pure.
//!
//! All that it needs to go on stands in the service's update and in its tasks, so that a new leader goes on
//! exactly there. A task that an update gives up leaves its place to one that is made ready and held until
//! the old one has ended; one that starts first runs beside the old one. A task lost with its node is no
//! failure of the update, and its slot gets what it had.

mod failure;
mod held;
mod revise;

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::ids::ServiceId;
use skep_proto::service::{Service, Update, UpdateState};
use skep_proto::spec::UpdateOrder;
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::ClusterTime;

use super::draft::Draft;
use super::orchestrate::{Claim, claim};
use super::{filter, restart};
use crate::state::{Change, Entry, State};

pub(super) use held::{given_up, leads_to, template_for};
pub use revise::{
    Author, RollbackError, earlier, first_revision, paused, resumed, revised, rolled_back,
};

/// The tasks of a slot that are to run.
struct Standing {
    slot: Slot,
    /// Of the template in force.
    current: Option<Arc<Task>>,
    /// Of others.
    old: Vec<Arc<Task>>,
}

impl Standing {
    fn running(&self) -> Option<&Arc<Task>> {
        let runs = |task: &&Arc<Task>| task.status.state == TaskState::Running;
        self.old.iter().find(runs)
    }

    /// Nothing is lost by replacing what neither runs nor is on its way.
    fn idle(&self) -> bool {
        self.old.iter().all(|task| {
            let status = &task.status;
            let placeless = task.node.is_none() && !status.error.is_empty();
            let tries_again = task.start_at.is_some() && status.state < TaskState::Running;
            status.state.ended() || placeless || tries_again
        })
    }
}

pub(super) fn go_on(draft: &mut Draft<'_>) {
    held::one_stays(draft);
    let updating: Vec<ServiceId> = draft.state.updating().map(|service| service.id).collect();
    for id in updating {
        if draft.full() {
            return;
        }
        let Some(service) = draft.state.service(id).cloned() else {
            continue;
        };
        if advance(draft, &service) == Turned::Back
            && let Some(service) = draft.state.service(id).cloned()
        {
            advance(draft, &service);
        }
    }
    held::start(draft);
}

/// Whether an update goes where it went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turned {
    No,
    /// It failed and goes back now.
    Back,
}

fn advance(draft: &mut Draft<'_>, service: &Service) -> Turned {
    let Some(before) = service.updating() else {
        return Turned::No;
    };
    let slots = standing(&draft.state, service);
    let mut update = before.clone();
    forget_slots_that_went(&mut update, &slots);
    let found = failure::note(draft, service, &slots, &mut update);
    if failure::too_many(&update)
        && let Some(turned) = failure::stop(draft, service, &mut update, found.as_deref())
    {
        return turned;
    }
    release(draft, service, &slots, &mut update);
    let chosen = choose(&slots, &mut update);
    let nowhere = slots.is_empty() && has_tasks(&draft.state, service);
    if chosen.is_empty() && !nowhere && finished(draft, &slots, &update) {
        complete(draft, &mut update);
    }
    if update != *before {
        draft.change(Change::Progressed {
            service: service.id,
            version: service.version,
            update: Arc::new(update.clone()),
        });
    }
    for standing in chosen {
        if draft.full() {
            return Turned::No;
        }
        replace(draft, service, &update, standing);
    }
    if update.config.order == UpdateOrder::StartFirst {
        make_room(draft, service, &slots, &update);
    }
    Turned::No
}

/// Slots the service is to have, ascending, with their tasks that are to run. One on a node that is paused,
/// drained or down is left as it is, and gets the new spec when the node takes tasks again.
fn standing(state: &State, service: &Service) -> Vec<Standing> {
    let mut slots: BTreeMap<Slot, Standing> = BTreeMap::new();
    for task in state.tasks_of(service.id) {
        if task.desired > TaskState::Running || claim(state, service, task.slot) != Claim::Fill {
            continue;
        }
        let standing = slots.entry(task.slot).or_insert_with(|| Standing {
            slot: task.slot,
            current: None,
            old: Vec::new(),
        });
        if task.template == service.template && standing.current.is_none() {
            standing.current = Some(task.clone());
        } else {
            standing.old.push(task.clone());
        }
    }
    slots.into_values().collect()
}

/// Whether it has tasks that are to run. Where none of their nodes takes tasks now, nothing is known of the new
/// spec and its update waits.
fn has_tasks(state: &State, service: &Service) -> bool {
    let mut tasks = state.tasks_of(service.id);
    tasks.any(|task| task.desired <= TaskState::Running)
}

fn forget_slots_that_went(update: &mut Update, slots: &[Standing]) {
    let there = |slot: &Slot| {
        slots
            .binary_search_by_key(slot, |standing| standing.slot)
            .is_ok()
    };
    update.replacing.retain(there);
    update.failed.retain(there);
}

/// A slot makes room for the next one when its new task has run, or is at its end, for the delay.
fn release(draft: &mut Draft<'_>, service: &Service, slots: &[Standing], update: &mut Update) {
    let delay = update.config.delay;
    for standing in slots {
        if !update.replacing.contains(&standing.slot) {
            continue;
        }
        let running = standing.current.as_ref().and_then(|task| {
            let runs = task.status.state == TaskState::Running;
            draft.state.times(task.id).running.filter(|_| runs)
        });
        let ended = standing.current.as_ref().and_then(|task| {
            let stays =
                task.status.state.ended() && !restart::tries_again(&draft.state, service, task);
            draft.state.times(task.id).ended.filter(|_| stays)
        });
        let failed = update.failed.contains(&standing.slot);
        let failed = failed.then(|| failure::last_end(&draft.state, service, standing.slot));
        let Some(at) = running.or(ended).or(failed) else {
            continue;
        };
        let until = at.after(delay);
        if until <= draft.now {
            update.replacing.remove(&standing.slot);
        } else {
            draft.wake(until);
        }
    }
}

/// Slots whose task is replaced now. Where nothing is lost it does not count.
fn choose<'a>(slots: &'a [Standing], update: &mut Update) -> Vec<&'a Standing> {
    let most = match update.config.parallelism {
        0 => usize::MAX,
        some => usize::try_from(some).unwrap_or(usize::MAX),
    };
    let mut chosen = Vec::new();
    for standing in slots.iter().filter(|it| it.current.is_none()) {
        if update.replacing.contains(&standing.slot) || standing.idle() {
            chosen.push(standing);
        } else if update.replacing.len() < most {
            update.replacing.insert(standing.slot);
            chosen.push(standing);
        }
    }
    chosen
}

fn replace(draft: &mut Draft<'_>, service: &Service, update: &Update, standing: &Standing) {
    let first = update.config.order == UpdateOrder::StartFirst;
    let beside = first && standing.running().is_some();
    if !beside {
        for task in &standing.old {
            draft.replace(task.id, update.to);
        }
    }
    let task = Task {
        id: draft.ids.task(),
        version: 0,
        service: service.id,
        template: service.template,
        slot: standing.slot,
        node: None,
        desired: if beside {
            TaskState::Running
        } else {
            TaskState::Ready
        },
        status: TaskStatus::of(TaskState::New, draft.wall),
        created: draft.now,
        start_at: None,
        attachments: Vec::new(),
    };
    draft.change(Change::PutTask(Arc::new(task)));
}

/// A task that is to start first and finds no place, but would have one without the task it replaces, gets
/// that one's: waiting would be for ever.
fn make_room(draft: &mut Draft<'_>, service: &Service, slots: &[Standing], update: &Update) {
    for standing in slots {
        let (Some(new), Some(old)) = (&standing.current, standing.running()) else {
            continue;
        };
        let waits = new.status.state == TaskState::Pending && !new.status.error.is_empty();
        if waits
            && update.replacing.contains(&standing.slot)
            && fits_without(draft, service, new, old)
        {
            draft.replace(old.id, update.to);
        }
    }
}

fn fits_without(draft: &Draft<'_>, service: &Service, new: &Task, old: &Task) -> bool {
    let mut without = draft.state.clone();
    let entry = Entry {
        time: draft.now,
        changes: vec![Change::Observed {
            task: old.id,
            status: TaskStatus::of(TaskState::Shutdown, draft.wall),
        }],
        ..Entry::default()
    };
    without.apply(draft.base.applied().saturating_add(1), &entry);
    let spec = service.templates.get(&new.template);
    let node = old.node.and_then(|id| without.node(id));
    let (Some(spec), Some(node)) = (spec, node) else {
        return false;
    };
    filter::unfit(&without, service, spec, node).is_none()
}

/// Whether every task is of the new spec and was watched for long enough.
fn finished(draft: &mut Draft<'_>, slots: &[Standing], update: &Update) -> bool {
    if !update.replacing.is_empty() || slots.iter().any(|it| it.current.is_none()) {
        return false;
    }
    let mut until = ClusterTime::ZERO;
    for standing in slots {
        let Some(task) = &standing.current else {
            continue;
        };
        let done = task.status.state.ended() || update.failed.contains(&standing.slot);
        match draft.state.times(task.id).running {
            _ if done => {}
            Some(at) => until = until.max(at.after(update.config.monitor)),
            None => return false,
        }
    }
    if until > draft.now {
        draft.wake(until);
    }
    until <= draft.now
}

fn complete(draft: &Draft<'_>, update: &mut Update) {
    let (state, what) = match update.state {
        UpdateState::RollbackStarted => (UpdateState::RollbackCompleted, "rollback completed"),
        _ => (UpdateState::Completed, "update completed"),
    };
    update.state = state;
    update.ended = Some(draft.wall);
    update.message = match update.failed.len() {
        0 => what.to_owned(),
        1 => format!("{what}; 1 new task failed"),
        more => format!("{what}; {more} new tasks failed"),
    };
}
