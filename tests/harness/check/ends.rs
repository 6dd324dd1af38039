//! Checks of a world whose faults have ended and that had time to settle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_manager::plan::Plan;
use skep_manager::state::State;
use skep_proto::ids::{NodeId, TaskId};
use skep_proto::node::{Availability, NodeState};
use skep_proto::spec::{PublishMode, RestartCondition};
use skep_proto::task::{Slot, Task, TaskState};

use super::Check;

/// 7. A removed service ends with no task, no address, no attachment.
///
/// # Errors
/// Names the service.
pub fn removed_services_are_gone(state: &State) -> Check {
    match state.removed_services().next() {
        Some(service) => {
            let tasks: Vec<_> = state.tasks_of(service.id).collect();
            Err(format!("of service {service:?} is left: {tasks:?}"))
        }
        None => Ok(()),
    }
}

/// 8. A plan on a settled state is empty.
///
/// # Errors
/// Shows the plan.
pub fn a_settled_plan_is_empty(plan: &Plan) -> Check {
    if plan.changes.is_empty() {
        return Ok(());
    }
    Err(format!("{:?}", plan.changes))
}

/// 12. After faults end, every service reaches its replicas if capacity allows.
///
/// # Errors
/// Names service and slot.
pub fn every_service_reaches_its_replicas(state: &State) -> Check {
    for service in state.services().filter(|service| service.removed.is_none()) {
        let replicas = service.spec.mode.replicas().unwrap_or_default();
        for slot in 1..=replicas {
            let mut tasks = state.tasks_in(service.id, Slot::Replica(slot));
            let wanted = |task: &&Arc<Task>| task.desired <= TaskState::Running;
            if !tasks.any(|task| wanted(&task) && reached_its_place(state, task)) {
                let (name, update) = (&service.spec.name, &service.update);
                let there: Vec<_> = state
                    .tasks_in(service.id, Slot::Replica(slot))
                    .filter(wanted)
                    .collect();
                return Err(format!(
                    "{name}.{slot} has not come to run: {there:?} {update:?}"
                ));
            }
        }
    }
    Ok(())
}

/// 12, of updates: after faults end, every update is at its end or paused, if capacity allows.
///
/// # Errors
/// Names the service.
pub fn every_update_comes_to_an_end(state: &State) -> Check {
    for service in state.updating() {
        let mut tasks = state.tasks_of(service.id);
        let waits = |task: &Task| {
            task.desired <= TaskState::Running && task.status.state == TaskState::Pending
        };
        if !tasks.any(|task| waits(task)) {
            let (name, update) = (&service.spec.name, &service.update);
            return Err(format!("{name} is still being updated: {update:?}"));
        }
    }
    Ok(())
}

/// It runs, it cannot find room, or its policy wants no more of it.
fn reached_its_place(state: &State, task: &Task) -> bool {
    let Some(spec) = state.template(task.service, task.template) else {
        return false;
    };
    match task.status.state {
        TaskState::Running => task.desired == TaskState::Running,
        TaskState::Pending => state.nodes().all(|node| {
            let free = node
                .description
                .resources
                .less(state.load_of(node.id).reserved);
            node.status.state != NodeState::Up
                || node.spec.availability != Availability::Active
                || !free.holds(spec.reservations)
                || host_port_in_use(state, task, node.id)
                || spec
                    .constraints
                    .iter()
                    .any(|constraint| !constraint.met_by(node))
        }),
        ended if ended.ended() => match spec.restart.condition {
            RestartCondition::None => true,
            RestartCondition::OnFailure if ended == TaskState::Complete => true,
            _ => spec.restart.max_attempts.is_some(),
        },
        _ => false,
    }
}

fn host_port_in_use(state: &State, task: &Task, node: NodeId) -> bool {
    let ports = |task: &Task| {
        let service = state.service(task.service);
        service
            .map(|service| service.ports.clone())
            .unwrap_or_default()
    };
    let wanted = ports(task);
    let mut there = state
        .tasks_on(node)
        .filter(|other| !other.status.state.ended());
    let clashes = |other: &Task| {
        ports(other).iter().any(|port| {
            wanted.iter().any(|own| {
                own.mode == PublishMode::Host
                    && (own.protocol, own.published) == (port.protocol, port.published)
            })
        })
    };
    there.any(|other| clashes(other))
}

/// 13. A change that was acknowledged to a user is never lost. `expected` has the replicas of each service
///     by its name, as the user was told last; `None` for one that was removed.
///
/// # Errors
/// Names the service.
pub fn acknowledged_is_kept(state: &State, expected: &BTreeMap<String, Option<u32>>) -> Check {
    for (name, replicas) in expected {
        let found = state.service_named(name);
        let found = found.and_then(|service| service.spec.mode.replicas());
        if found != *replicas {
            return Err(format!(
                "service {name}: told {replicas:?}, found {found:?}"
            ));
        }
    }
    Ok(())
}

/// The second half of 3: what runs on machines is what is to run there, and nothing else.
///
/// # Errors
/// Names node and task.
pub fn only_what_is_wanted_runs(
    state: &State,
    running: &BTreeMap<NodeId, BTreeSet<TaskId>>,
) -> Check {
    for (node, tasks) in running {
        for id in tasks {
            let wanted = state
                .task(*id)
                .is_some_and(|task| task.desired == TaskState::Running && task.node == Some(*node));
            if !wanted {
                return Err(format!(
                    "{id} runs on {node}, but {:?} is kept",
                    state.task(*id)
                ));
            }
        }
    }
    Ok(())
}
