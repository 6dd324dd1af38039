//! Which tasks a reader means. Pure.

use std::sync::Arc;

use skep_proto::ids::ServiceId;
use skep_proto::node::NodeState;
use skep_proto::service::Service;
use skep_proto::task::{Slot, Task, TaskState};
use tonic::Status;

use crate::control::resolve;
use crate::state::State;

/// What references mean.
#[derive(Default)]
pub struct Meant {
    /// Tasks, in the order of their slots and ages.
    pub tasks: Vec<Arc<Task>>,
    /// Services, whose later tasks are meant too.
    pub services: Vec<ServiceId>,
}

/// Finds what references mean: services, or else tasks.
///
/// # Errors
/// Names the reference that means nothing.
pub fn meant(state: &State, references: &[String], only_tasks: bool) -> Result<Meant, Status> {
    let mut meant = Meant::default();
    for reference in references {
        let service = resolve::service(state, reference);
        match service {
            Ok(service) if !only_tasks => {
                meant.tasks.extend(of_service(state, &service));
                meant.services.push(service.id);
            }
            service => match (resolve::task(state, reference), service) {
                (Ok(task), _) => meant.tasks.push(task),
                (Err(status), _) if only_tasks => return Err(status),
                (Err(_), Err(status)) => return Err(status),
                (Err(status), Ok(_)) => return Err(status),
            },
        }
    }
    Ok(meant)
}

fn of_service(state: &State, service: &Service) -> Vec<Arc<Task>> {
    let mut tasks: Vec<_> = state.tasks_of(service.id).cloned().collect();
    tasks.sort_by_key(|task| (task.slot, task.created));
    tasks
}

/// A task's name for people, as `web.1`.
pub fn name(state: &State, task: &Task) -> String {
    let service = state.service(task.service);
    let service = service.map_or_else(|| task.service.to_string(), |it| it.spec.name.clone());
    match task.slot {
        Slot::Replica(number) => format!("{service}.{number}"),
        Slot::Node(node) => format!("{service}.{node}"),
    }
}

/// Whether a task has, or has had, a container whose log can be read.
pub fn has_run(task: &Task) -> bool {
    task.node.is_some()
        && (task.status.state >= TaskState::Starting
            && !matches!(task.status.state, TaskState::Rejected | TaskState::Remove))
}

/// Whether nothing more comes of a task: it has ended, or its node is given up.
pub fn is_over(state: &State, task: &Task) -> bool {
    let node = task.node.and_then(|id| state.node(id));
    task.status.state.ended() || node.is_none_or(|node| node.status.state == NodeState::Down)
}
