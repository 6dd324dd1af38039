//! A service with another spec: its new revision, and the update that leads there. Pure.
//!
//! Used by the door for users, and by the plan when an update fails and goes back by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::service::{REVISIONS_KEPT, Revision, Service, Update, UpdateState};
use skep_proto::spec::{Mode, ServiceSpec};
use skep_proto::task::{Slot, TaskState};
use skep_proto::time::WallTime;

use crate::state::State;

/// Who changes a service, when and why.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Author {
    /// Such as `user@host`; empty when nobody said.
    pub by: String,
    /// In the user's words.
    pub why: String,
    /// By the clock of the manager that was asked.
    pub at: WallTime,
}

/// Why a service cannot go back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is nothing before.
    #[error(
        "service \"{service}\" has no revision before {current}: there is nothing to go back to"
    )]
    NoneBefore {
        /// Name of the service.
        service: String,
        /// The revision in force.
        current: u64,
    },
    /// The revision is not kept.
    #[error(
        "revision {wanted} of service \"{service}\" is not kept (there are {kept}); see them with: skep \
         rollout history {service}"
    )]
    NotKept {
        /// Name of the service.
        service: String,
        /// What was asked for.
        wanted: u64,
        /// Numbers of those that are kept.
        kept: String,
    },
}

/// The first revision of a service.
pub fn first_revision(spec: &Arc<ServiceSpec>, author: Author) -> Revision {
    Revision {
        number: 1,
        spec: spec.clone(),
        at: author.at,
        by: author.by,
        why: author.why,
    }
}

/// `old` with another spec, made by `author`. Tasks are replaced where what they run has changed.
pub fn revised(state: &State, old: &Service, spec: ServiceSpec, author: Author) -> Service {
    follow(state, old, spec, author, Way::Forth)
}

/// `old` as it was at an earlier revision, by default the one before.
///
/// # Errors
/// When that is not kept.
pub fn rolled_back(
    state: &State,
    old: &Service,
    to: Option<u64>,
    author: Author,
) -> Result<Service, RollbackError> {
    let spec = earlier(old, to)?.spec.as_ref().clone();
    Ok(follow(state, old, spec, author, Way::Back))
}

/// The revision that a rollback takes up: `to`, or the one before.
///
/// # Errors
/// When that is not kept.
pub fn earlier(service: &Service, to: Option<u64>) -> Result<&Revision, RollbackError> {
    let name = || service.spec.name.clone();
    if let Some(wanted) = to {
        return service.kept(wanted).ok_or_else(|| {
            let kept = service.history.iter().map(|it| it.number.to_string());
            RollbackError::NotKept {
                service: name(),
                wanted,
                kept: kept.collect::<Vec<_>>().join(", "),
            }
        });
    }
    let unfinished = service.unfinished();
    let base = unfinished.and_then(|update| service.kept(update.from));
    let before = || {
        let mut before = service.history.iter().rev();
        before.find(|it| it.number < service.revision && it.spec != service.spec)
    };
    base.or_else(before)
        .ok_or_else(|| RollbackError::NoneBefore {
            service: name(),
            current: service.revision,
        })
}

/// The way back that an update takes by itself: what it changed is undone, what was changed since (the number
/// of replicas) stays. `None` if one of the two revisions is no longer kept.
pub(super) fn undone(
    state: &State,
    old: &Service,
    update: &Update,
    author: Author,
) -> Option<Service> {
    let (from, to) = (old.kept(update.from)?, old.kept(update.to)?);
    let (now, from, to) = (&*old.spec, &*from.spec, &*to.spec);
    // What it goes back to may be several changes ago; how many tasks there are goes back by this one only.
    let before = old.history.iter().rev().find(|it| it.number < update.to);
    let before = before.map_or(now.mode, |it| it.spec.mode);
    let spec = ServiceSpec {
        name: now.name.clone(),
        labels: merged(&now.labels, &to.labels, &from.labels),
        mode: merged(&now.mode, &to.mode, &before),
        task: merged(&now.task, &to.task, &from.task),
        ports: merged(&now.ports, &to.ports, &from.ports),
        endpoint: merged(&now.endpoint, &to.endpoint, &from.endpoint),
        update: merged(&now.update, &to.update, &from.update),
        rollback: merged(&now.rollback, &to.rollback, &from.rollback),
        lost_after: merged(&now.lost_after, &to.lost_after, &from.lost_after),
    };
    let mut new = follow(state, old, spec, author, Way::Back);
    if let Some(back) = &mut new.update {
        back.from = update.to;
    }
    Some(new)
}

/// What was before, unless it was changed again since.
fn merged<T: Clone + PartialEq>(now: &T, changed: &T, before: &T) -> T {
    if now == changed { before } else { now }.clone()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forth,
    Back,
}

fn follow(state: &State, old: &Service, spec: ServiceSpec, author: Author, way: Way) -> Service {
    let revision = old.revision.saturating_add(1);
    let spec = Arc::new(spec);
    let mut new = Service {
        spec: spec.clone(),
        revision,
        updated: author.at,
        ..old.clone()
    };
    if spec.task != old.spec.task || spec.ports != old.spec.ports {
        take_template(&mut new, old);
        let job = matches!(spec.mode, Mode::ReplicatedJob { .. } | Mode::GlobalJob);
        new.update = (!job).then(|| begin(state, old, &new, author.at, way));
    } else if let Some(update) = new.update.as_mut().filter(|it| !it.state.finished()) {
        update.config = if update.state.rolls_back() {
            old.spec.rollback.clone()
        } else {
            spec.update.clone()
        };
    }
    remember(&mut new, old, author);
    new
}

/// A task spec of which there still are tasks is taken up again, so that those can stay.
fn take_template(new: &mut Service, old: &Service) {
    let same = |number: u64| {
        let ports = old.kept(number).map(|it| &it.spec.ports);
        let spec = old.templates.get(&number);
        ports == Some(&new.spec.ports) && spec.is_some_and(|spec| **spec == new.spec.task)
    };
    let again = old.templates.keys().copied().find(|number| same(*number));
    new.template = again.unwrap_or(new.revision);
    if again.is_none() {
        let task = Arc::new(new.spec.task.clone());
        new.templates.insert(new.revision, task);
    }
}

fn begin(state: &State, old: &Service, new: &Service, at: WallTime, way: Way) -> Update {
    let unfinished = old.unfinished();
    let stands_on = unfinished.filter(|update| !update.state.rolls_back() && way == Way::Forth);
    let (update_state, config, message) = match way {
        Way::Forth => (
            UpdateState::Updating,
            new.spec.update.clone(),
            "update in progress",
        ),
        Way::Back => (
            UpdateState::RollbackStarted,
            old.spec.rollback.clone(),
            "rollback in progress",
        ),
    };
    Update {
        state: update_state,
        from: stands_on.map_or(old.revision, |update| update.from),
        to: new.revision,
        started: at,
        ended: None,
        message: message.to_owned(),
        config,
        total: stale_slots(state, new),
        replacing: unfinished.map_or_else(BTreeSet::new, |update| update.replacing.clone()),
        failed: BTreeSet::new(),
    }
}

/// Slots whose task is of another template than the one in force.
fn stale_slots(state: &State, service: &Service) -> u32 {
    let tasks = state.tasks_of(service.id);
    let stale = tasks
        .filter(|task| task.desired <= TaskState::Running && task.template != service.template);
    let slots: BTreeSet<Slot> = stale.map(|task| task.slot).collect();
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}

/// Writes the new revision down and lets the oldest go, save the one an update may have to go back to.
fn remember(new: &mut Service, old: &Service, author: Author) {
    if old.kept(old.revision).is_none() {
        new.history.push(Revision {
            number: old.revision,
            spec: old.spec.clone(),
            at: old.updated,
            by: String::new(),
            why: String::new(),
        });
    }
    new.history.push(Revision {
        number: new.revision,
        spec: new.spec.clone(),
        at: author.at,
        by: author.by,
        why: author.why,
    });
    let base = new.unfinished().map(|update| (update.from, update.to));
    while new.history.len() > REVISIONS_KEPT {
        let needed = |number| base.is_some_and(|(from, to)| number == from || number == to);
        let oldest = new.history.iter().position(|it| !needed(it.number));
        new.history.remove(oldest.unwrap_or(0));
    }
}

/// The service with its update paused; `None` if none goes on.
pub fn paused(service: &Service, message: String) -> Option<Service> {
    let mut update = service.updating()?.clone();
    update.state = match update.state {
        UpdateState::RollbackStarted => UpdateState::RollbackPaused,
        _ => UpdateState::Paused,
    };
    update.message = message;
    Some(Service {
        update: Some(update),
        ..service.clone()
    })
}

/// The service with its update going on, failures so far forgiven; `None` if none is paused.
pub fn resumed(service: &Service, message: String) -> Option<Service> {
    let mut update = service.unfinished().filter(|it| it.state.paused())?.clone();
    update.state = match update.state {
        UpdateState::RollbackPaused => UpdateState::RollbackStarted,
        _ => UpdateState::Updating,
    };
    update.message = message;
    update.failed.clear();
    Some(Service {
        update: Some(update),
        ..service.clone()
    })
}
