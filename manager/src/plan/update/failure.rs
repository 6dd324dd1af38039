//! Which new tasks failed, and what follows when too many did. Pure.

use std::sync::Arc;

use skep_proto::service::{Service, Update, UpdateState};
use skep_proto::spec::{FailureAction, RestartCondition};
use skep_proto::task::{Slot, Task, TaskState};
use skep_proto::time::ClusterTime;

use super::revise::{self, Author};
use super::{Standing, Turned};
use crate::plan::draft::Draft;
use crate::state::{Change, State, Times};

/// Who goes back when an update fails.
const BY_ITSELF: &str = "skep";

/// Adds slots whose new task failed; gives the reason of the last of them.
pub(super) fn note(
    draft: &mut Draft<'_>,
    service: &Service,
    slots: &[Standing],
    update: &mut Update,
) -> Option<String> {
    let mut found = None;
    for standing in slots {
        let Some(task) = &standing.current else {
            continue;
        };
        if update.failed.contains(&standing.slot) {
            continue;
        }
        if let Some(why) = failed(draft, service, task, update) {
            update.failed.insert(standing.slot);
            found = Some(format!(
                "task {}.{} ({}) {why}",
                service.spec.name, task.slot, task.id
            ));
        }
    }
    found
}

/// Why a new task counts as failed.
fn failed(
    draft: &mut Draft<'_>,
    service: &Service,
    task: &Task,
    update: &Update,
) -> Option<String> {
    let times = draft.state.times(task.id);
    if ended_by_itself(service, task) && watched(times, update) {
        let status = &task.status;
        let reason = match (&*status.error, status.exit_code) {
            ("", Some(code)) => format!("ended with exit code {code}"),
            ("", None) => format!("is {}", status.state),
            (error, Some(code)) if !error.contains(&code.to_string()) => {
                format!("{}: {error} (exit code {code})", status.state)
            }
            (error, _) => format!("{}: {error}", status.state),
        };
        return Some(reason);
    }
    let deadline = update.config.progress_deadline?;
    if times.running.is_some() || task.status.state.ended() {
        return None;
    }
    let until = task.created.after(deadline);
    if until > draft.now {
        draft.wake(until);
        return None;
    }
    let error = &task.status.error;
    let state = task.status.state;
    Some(if error.is_empty() {
        format!("does not run after {deadline:?}: it is {state}")
    } else {
        format!("does not run after {deadline:?}: it is {state}: {error}")
    })
}

/// It broke, could not begin, or ended though it is to run for ever. One that failed without an exit code was
/// lost with its machine.
fn ended_by_itself(service: &Service, task: &Task) -> bool {
    match task.status.state {
        TaskState::Rejected => true,
        TaskState::Failed => task.status.exit_code.is_some(),
        TaskState::Complete => service
            .templates
            .get(&task.template)
            .is_some_and(|spec| spec.restart.condition == RestartCondition::Any),
        _ => false,
    }
}

/// Whether it ended before it ran, or while it was watched.
fn watched(times: Times, update: &Update) -> bool {
    let Some((running, ended)) = times.running.zip(times.ended) else {
        return true;
    };
    ended.since(running) < update.config.monitor
}

/// When a new task ended last in this slot.
pub(super) fn last_end(state: &State, service: &Service, slot: Slot) -> ClusterTime {
    let tasks = state.tasks_in(service.id, slot);
    let new = tasks.filter(|task| task.template == service.template);
    new.filter_map(|task| state.times(task.id).ended)
        .max()
        .unwrap_or(ClusterTime::ZERO)
}

/// Whether more failed than may.
pub(super) fn too_many(update: &Update) -> bool {
    let failed = u64::try_from(update.failed.len()).unwrap_or(u64::MAX);
    let may = u64::from(update.config.max_failure_millionths)
        .saturating_mul(u64::from(update.total.max(1)));
    failed.saturating_mul(1_000_000) > may
}

/// Stops an update that failed, or turns it back; `None` if it goes on nevertheless.
pub(super) fn stop(
    draft: &mut Draft<'_>,
    service: &Service,
    update: &mut Update,
    found: Option<&str>,
) -> Option<Turned> {
    let reason = found.unwrap_or("too many new tasks failed");
    let back = update.state == UpdateState::RollbackStarted;
    match update.config.failure_action {
        FailureAction::Continue => return None,
        FailureAction::Rollback if !back => {
            if roll_back(draft, service, update, reason) {
                return Some(Turned::Back);
            }
            let reason = format!("{reason}; the revision before is not kept");
            pause(draft, service, update, &reason);
        }
        FailureAction::Pause | FailureAction::Rollback => pause(draft, service, update, reason),
    }
    Some(Turned::No)
}

fn pause(draft: &mut Draft<'_>, service: &Service, update: &mut Update, reason: &str) {
    let (state, what) = match update.state {
        UpdateState::RollbackStarted => (UpdateState::RollbackPaused, "rollback"),
        _ => (UpdateState::Paused, "update"),
    };
    update.state = state;
    update.message = format!("{what} paused due to failure or early termination: {reason}");
    draft.change(Change::Progressed {
        service: service.id,
        version: service.version,
        update: Arc::new(update.clone()),
    });
}

fn roll_back(draft: &mut Draft<'_>, service: &Service, update: &Update, reason: &str) -> bool {
    let author = Author {
        by: BY_ITSELF.to_owned(),
        why: format!("revision {} failed: {reason}", update.to),
        at: draft.wall,
    };
    let old = Service {
        update: Some(update.clone()),
        ..service.clone()
    };
    let Some(mut new) = revise::undone(&draft.state, &old, update, author) else {
        return false;
    };
    if let Some(update) = &mut new.update {
        update.message =
            format!("update rolled back due to failure or early termination: {reason}");
    }
    draft.change(Change::PutService(Arc::new(new)));
    true
}
