//! Where a service stands: what runs, what is to run, what is done. Pure.

use std::sync::Arc;

use skep_proto::node::NodeState;
use skep_proto::service::{Service, Update};
use skep_proto::spec::Mode;
use skep_proto::task::{Slot, Task, TaskState};

use super::orchestrate::{self, Claim, claim};
use super::restart;
use crate::state::State;

/// Where a service stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Tasks that run and are to run, on nodes that are not down.
    pub running: u32,
    /// Tasks that are to run now. Of a job: those that are still to end well, as many as may run at a time.
    pub desired: u32,
    /// Of a job: tasks that ended well.
    pub completed: Option<u32>,
    /// Of a job: tasks that failed and are not tried again.
    pub given_up: Vec<Arc<Task>>,
    /// As many run as are to run, from the newest spec, and nothing ends any more. Of a job: all is done or
    /// given up.
    pub converged: bool,
}

/// Where a service stands.
pub fn standing(state: &State, service: &Service) -> Standing {
    let there = |task: &Task| {
        let node = task.node.and_then(|id| state.node(id));
        node.is_none_or(|node| node.status.state != NodeState::Down)
    };
    let runs = |task: &Task| {
        let (is, wants) = (task.status.state, task.desired);
        is == TaskState::Running && wants == TaskState::Running && there(task)
    };
    let running = number(state.tasks_of(service.id).filter(|task| runs(task)).count());
    let mut standing = Standing {
        running,
        ..Standing::default()
    };
    if service.spec.mode.is_job() {
        job(state, service, &mut standing);
        return standing;
    }
    standing.desired = match service.spec.mode {
        Mode::Replicated { replicas } => replicas,
        _ => number(places(state, service)),
    };
    let settled = state.tasks_of(service.id).all(|task| {
        task.status.state.ended() || !there(task) || (runs(task) && as_asked(service, task))
    });
    standing.converged = settled && standing.running == standing.desired;
    standing
}

/// Whether a task is of the newest spec, or an update left it there since the new one failed.
fn as_asked(service: &Service, task: &Task) -> bool {
    let left = |update: &Update| update.state.finished() && update.failed.contains(&task.slot);
    task.template == service.template || service.update.as_ref().is_some_and(left)
}

/// Nodes on which a global service is to have a task, or has one that stays.
fn places(state: &State, service: &Service) -> usize {
    let mut count = 0usize;
    for node in state.nodes() {
        let slot = Slot::Node(node.id);
        let to_run = |task: &Arc<Task>| task.desired <= TaskState::Running;
        let wanted = match claim(state, service, slot) {
            Claim::Fill => true,
            Claim::Empty => false,
            Claim::Keep => {
                node.status.state == NodeState::Up && state.tasks_in(service.id, slot).any(to_run)
            }
        };
        if wanted {
            count = count.saturating_add(1);
        }
    }
    count
}

fn job(state: &State, service: &Service, standing: &mut Standing) {
    let (mut completed, mut left) = (0u32, 0u32);
    for slot in orchestrate::all_slots(state, service) {
        if claim(state, service, slot) != Claim::Fill {
            continue;
        }
        let own = |task: &&Arc<Task>| {
            task.template == service.template && task.desired <= TaskState::Running
        };
        match state.tasks_in(service.id, slot).find(own) {
            Some(task) if task.status.state == TaskState::Complete => {
                completed = completed.saturating_add(1);
            }
            Some(task) if !restart::still_counts(state, service, task) => {
                standing.given_up.push(task.clone());
            }
            _ => left = left.saturating_add(1),
        }
    }
    standing.completed = Some(completed);
    standing.desired = match service.spec.mode {
        Mode::ReplicatedJob { max_concurrent, .. } => left.min(max_concurrent),
        _ => left,
    };
    standing.converged = left == 0;
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
