//! New attempts after tasks that ended by themselves. Pure.
//!
//! A task lost with its node, drained or evicted is no concern of this file: `orchestrate` replaces it at
//! once, since no policy of the user asked for a delay there.

use std::time::Duration;

use skep_proto::ids::{ServiceId, TaskId};
use skep_proto::service::Service;
use skep_proto::spec::{RestartCondition, RestartPolicy};
use skep_proto::task::{Slot, Task, TaskState};
use skep_proto::time::ClusterTime;

use super::draft::{Draft, With};
use super::orchestrate::{self, Claim};
use super::update;
use crate::state::{Change, Restarts, State};

/// So many failures in a row wait as long as the policy says; then each waits twice as long as the one before.
const PATIENT_FOR: u32 = 3;
/// As [`PATIENT_FOR`], where the policy wants no delay: a user who says so means it for a while.
const EAGER_FOR: u32 = 5;
/// Half of the first delay after those, where the policy wants none.
const LEAST_DOUBLED: Duration = Duration::from_millis(500);
/// Doubling ends here, unless the policy itself waits longer.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

pub(super) fn make_new_attempts(draft: &mut Draft<'_>) {
    let mut slots = draft.slots(With::Over);
    slots.extend(ended_early(draft));
    for (id, slot) in slots {
        let Some(service) = draft.state.service(id).cloned() else {
            continue;
        };
        let ended = |task: &Task| task.desired <= TaskState::Running && task.status.state.ended();
        let Some(task) = draft
            .state
            .tasks_in(id, slot)
            .find(|task| ended(task))
            .cloned()
        else {
            continue;
        };
        if orchestrate::claim(&draft.state, &service, slot) != Claim::Fill {
            continue;
        }
        // What failed while it was made ready, such as without room for its image, waits for the delay before it: the
        // next attempt is made ready at once as well, and attempts would follow each other without any.
        if is_delayed(&task) && task.start_at.is_some_and(|at| at > draft.now) {
            continue;
        }
        if draft.full() {
            return;
        }
        try_again(draft, &service, &task);
    }
    start_delayed(draft);
}

fn try_again(draft: &mut Draft<'_>, service: &Service, task: &Task) {
    if update::given_up(&draft.state, service, task) {
        orchestrate::end(draft, task.id);
        return;
    }
    let Some(spec) = policy(&draft.state, service, task) else {
        return;
    };
    let ended = draft.state.times(task.id).ended.unwrap_or(draft.now);
    let failed = draft.state.failures_in_row(task);
    orchestrate::end(draft, task.id);
    // One that ended before its time is counted from that.
    let from = task.start_at.map_or(ended, |start| start.max(ended));
    let start_at = from.after(delay(&spec, failed));
    orchestrate::make(draft, service, task.slot, Some(start_at));
}

/// Whether a task that is to run does so, or will be tried again; not if it ended for good.
pub(super) fn still_counts(state: &State, service: &Service, task: &Task) -> bool {
    !task.status.state.ended() || tries_again(state, service, task)
}

/// Whether a task that ended by itself gets a new attempt.
pub(super) fn tries_again(state: &State, service: &Service, task: &Task) -> bool {
    policy(state, service, task).is_some()
}

/// The policy by which a task that ended gets a new attempt; `None` if it gets none.
fn policy(state: &State, service: &Service, task: &Task) -> Option<RestartPolicy> {
    if service.spec.mode.is_job() && task.status.state == TaskState::Complete {
        return None;
    }
    let template = update::template_for(state, service, task.slot);
    let spec = service.templates.get(&template)?;
    let ended = state.times(task.id).ended.unwrap_or(state.time());
    let before = state.restarts(service.id, task.slot);
    let before = before.filter(|before| before.template == template);
    let again = asked_for(spec.restart.condition, task.status.state)
        && !used_up(&spec.restart, before.map(AsRef::as_ref), ended);
    again.then(|| spec.restart.clone())
}

fn asked_for(condition: RestartCondition, ended: TaskState) -> bool {
    match condition {
        RestartCondition::Any => true,
        RestartCondition::OnFailure => ended != TaskState::Complete,
        RestartCondition::None => false,
    }
}

/// Whether no attempt is left for a task that ended then. The window is looked at from the end of the task,
/// not from now: the answer does not change by waiting.
fn used_up(policy: &RestartPolicy, before: Option<&Restarts>, ended: ClusterTime) -> bool {
    let (Some(most), Some(before)) = (policy.max_attempts, before) else {
        return policy.max_attempts == Some(0);
    };
    let attempts = if policy.window.is_zero() {
        before.total
    } else {
        let within = before
            .times
            .iter()
            .filter(|at| ended.since(**at) < policy.window);
        u64::try_from(within.count()).unwrap_or(u64::MAX)
    };
    attempts >= u64::from(most)
}

/// From the end of a task to the next attempt, after so many failures in a row, this one too.
fn delay(policy: &RestartPolicy, failed: u32) -> Duration {
    let bare = policy.delay.is_zero();
    let patient = if bare { EAGER_FOR } else { PATIENT_FOR };
    let Some(more) = failed.checked_sub(patient).filter(|more| *more > 0) else {
        return policy.delay;
    };
    let first = if bare { LEAST_DOUBLED } else { policy.delay };
    let factor = 1u32.checked_shl(more).unwrap_or(u32::MAX);
    let most = policy.delay.max(LONGEST_DELAY);
    first.saturating_mul(factor).min(most)
}

/// Whether the task is still to be started at a time.
fn is_delayed(task: &Task) -> bool {
    task.desired == TaskState::Ready && task.start_at.is_some()
}

/// Slots whose attempt ended before its time, which has come now.
fn ended_early(draft: &Draft<'_>) -> Vec<(ServiceId, Slot)> {
    let due = draft.state.delayed().take_while(|(at, _)| *at <= draft.now);
    let ended = due.filter(|(_, task)| task.status.state.ended());
    ended.map(|(_, task)| (task.service, task.slot)).collect()
}

/// Attempts whose time has come are to run.
fn start_delayed(draft: &mut Draft<'_>) {
    let mut due: Vec<TaskId> = Vec::new();
    let mut next = None;
    for (at, task) in draft.state.delayed() {
        if at > draft.now {
            next = Some(at);
            break;
        }
        if !task.status.state.ended() {
            due.push(task.id);
        }
    }
    if let Some(at) = next {
        draft.wake(at);
    }
    for task in due {
        if draft.full() {
            return;
        }
        draft.change(Change::SetDesired {
            task,
            desired: TaskState::Running,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_after_failures_in_a_row() {
        let seconds = |policy: u64, failed| {
            let policy = RestartPolicy {
                delay: Duration::from_secs(policy),
                ..RestartPolicy::default()
            };
            delay(&policy, failed).as_secs()
        };
        let of_five: Vec<u64> = (0..=12).map(|failed| seconds(5, failed)).collect();
        assert_eq!(
            of_five,
            [5, 5, 5, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
        );
        let of_none: Vec<u64> = (0..=9).map(|failed| seconds(0, failed)).collect();
        assert_eq!(of_none, [0, 0, 0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(seconds(3600, 40), 3600);
        assert_eq!(seconds(0, u32::MAX), 300);
    }
}
