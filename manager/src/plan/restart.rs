//! New attempts after tasks that ended by themselves. Pure.
//!
//! A task lost with its node, drained or evicted is no concern of this file: `orchestrate` replaces it at
//! once, since no policy of the user asked for a delay there.

use skep_proto::ids::TaskId;
use skep_proto::service::Service;
use skep_proto::spec::{RestartCondition, RestartPolicy};
use skep_proto::task::{Task, TaskState};
use skep_proto::time::ClusterTime;

use super::draft::Draft;
use super::{orchestrate, update};
use crate::state::{Change, Restarts, State};

pub(super) fn make_new_attempts(draft: &mut Draft<'_>) {
    for (id, slot) in draft.slots() {
        let Some(service) = draft.state.service(id).cloned() else {
            continue;
        };
        if !orchestrate::wanted(&service, slot) {
            continue;
        }
        let ended = |task: &Task| task.desired <= TaskState::Running && task.status.state.ended();
        let Some(task) = draft
            .state
            .tasks_in(id, slot)
            .find(|task| ended(task))
            .cloned()
        else {
            continue;
        };
        if draft.full() {
            return;
        }
        try_again(draft, &service, &task);
    }
    start_delayed(draft);
}

fn try_again(draft: &mut Draft<'_>, service: &Service, task: &Task) {
    if update::given_up(&draft.state, service, task) {
        draft.change(Change::SetDesired {
            task: task.id,
            desired: TaskState::Shutdown,
        });
        return;
    }
    let Some(spec) = policy(&draft.state, service, task) else {
        return;
    };
    let ended = draft.state.times(task.id).ended.unwrap_or(draft.now);
    draft.change(Change::SetDesired {
        task: task.id,
        desired: TaskState::Shutdown,
    });
    let start_at = ended.after(spec.delay);
    orchestrate::make(draft, service, task.slot, Some(start_at));
}

/// Whether a task that ended by itself gets a new attempt.
pub(super) fn tries_again(state: &State, service: &Service, task: &Task) -> bool {
    policy(state, service, task).is_some()
}

/// The policy by which a task that ended gets a new attempt; `None` if it gets none.
fn policy(state: &State, service: &Service, task: &Task) -> Option<RestartPolicy> {
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

/// Attempts whose time has come are to run.
fn start_delayed(draft: &mut Draft<'_>) {
    let mut due: Vec<TaskId> = Vec::new();
    let mut next = None;
    for (at, task) in draft.state.delayed() {
        if at > draft.now {
            next = Some(at);
            break;
        }
        due.push(task.id);
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
