//! Checks of a world whose faults have ended and that had time to settle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_manager::plan::Plan;
use skep_manager::state::State;
use skep_proto::ids::{NodeId, TaskId};
use skep_proto::node::{Availability, Node, NodeState};
use skep_proto::service::Service;
use skep_proto::spec::{Mode, PublishMode, RestartCondition};
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
        for slot in slots(state, service) {
            let mut tasks = state.tasks_in(service.id, slot);
            let job = service.spec.mode.is_job();
            let wanted = |task: &&Arc<Task>| {
                let newest = !job || task.template == service.template;
                task.desired <= TaskState::Running && newest
            };
            if !tasks.any(|task| wanted(&task) && reached_its_place(state, task)) {
                let (name, update) = (&service.spec.name, &service.update);
                let there: Vec<_> = state.tasks_in(service.id, slot).filter(wanted).collect();
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
        // One of a global service goes on when a node takes tasks again.
        let nowhere = service.spec.mode.is_global() && slots(state, service).is_empty();
        if !tasks.any(|task| waits(task)) && !nowhere {
            let (name, update) = (&service.spec.name, &service.update);
            let (mode, tasks) = (service.spec.mode, state.tasks_of(service.id));
            let tasks: Vec<_> = tasks.filter(|it| !it.status.state.ended()).collect();
            return Err(format!(
                "{name} ({mode:?}) is still being updated: {update:?} {tasks:?}"
            ));
        }
    }
    Ok(())
}

/// Slots that have to have a task by now.
fn slots(state: &State, service: &Service) -> Vec<Slot> {
    let replicas = |count: u32| (1..=count).map(Slot::Replica).collect();
    match service.spec.mode {
        Mode::Replicated { replicas: count } => replicas(count),
        Mode::ReplicatedJob {
            total,
            max_concurrent,
        } => {
            // What ended is no longer at work: as many as may be at work come after it.
            let all: Vec<Slot> = replicas(total);
            let ended = |slot: &&Slot| {
                let tasks = state.tasks_in(service.id, **slot);
                let mut own = tasks.filter(|task| task.template == service.template);
                own.any(|task| task.desired <= TaskState::Running && task.status.state.ended())
            };
            let ended = all.iter().filter(ended).count();
            let most = usize::try_from(max_concurrent).unwrap_or(usize::MAX);
            all.into_iter().take(ended.saturating_add(most)).collect()
        }
        Mode::Global | Mode::GlobalJob => {
            let spec = service.templates.get(&service.template);
            let meets = |node: &&Arc<Node>| {
                node.status.state == NodeState::Up
                    && node.spec.availability == Availability::Active
                    && spec.is_some_and(|spec| spec.constraints.iter().all(|it| it.met_by(node)))
            };
            let nodes = state.nodes().filter(meets);
            nodes.map(|node| Slot::Node(node.id)).collect()
        }
    }
}

/// The second half of 6: what runs is where it may run, and nowhere is more of it than may be.
///
/// # Errors
/// Names the task.
pub fn what_runs_is_where_it_may(state: &State) -> Check {
    for task in state.tasks() {
        let runs = task.desired == TaskState::Running && !task.status.state.ended();
        let (Some(id), true) = (task.node, runs) else {
            continue;
        };
        let (Some(node), Some(spec)) =
            (state.node(id), state.template(task.service, task.template))
        else {
            continue;
        };
        if let Some(unmet) = spec.constraints.iter().find(|it| !it.met_by(node)) {
            return Err(format!("task {} is on {id} against {unmet}", task.id));
        }
        let beside = state
            .tasks_on(id)
            .filter(|other| other.service == task.service && !other.status.state.ended())
            .filter(|other| other.desired <= TaskState::Running);
        let beside = u32::try_from(beside.count()).unwrap_or(u32::MAX);
        if let Some(most) = spec.max_per_node.filter(|most| beside > *most) {
            return Err(format!(
                "{beside} tasks like {} are on {id}, {most} may",
                task.id
            ));
        }
        for kind in spec.generic.keys() {
            let there = state
                .tasks_on(id)
                .filter(|other| !other.status.state.ended());
            let there = there.filter_map(|other| state.template(other.service, other.template));
            let taken: u64 = there.filter_map(|spec| spec.generic.get(kind)).sum();
            if taken
                > node
                    .description
                    .generic
                    .get(kind)
                    .copied()
                    .unwrap_or_default()
            {
                return Err(format!("{taken} {kind} are taken on {id}"));
            }
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
                || matches!(task.slot, Slot::Node(home) if home != node.id)
                || spec
                    .max_per_node
                    .is_some_and(|most| state.spread_of(task.service, node.id) >= most)
                || spec.generic.iter().any(|(kind, amount)| {
                    let has = node.description.generic.get(kind).copied();
                    let taken = state.generic_taken(node.id, kind);
                    has.unwrap_or_default().saturating_sub(taken) < *amount
                })
                || spec
                    .constraints
                    .iter()
                    .any(|constraint| !constraint.met_by(node))
        }),
        TaskState::Complete if job(state, task) => true,
        ended if ended.ended() => match spec.restart.condition {
            RestartCondition::None => true,
            RestartCondition::OnFailure if ended == TaskState::Complete => true,
            _ => spec.restart.max_attempts.is_some(),
        },
        _ => false,
    }
}

fn job(state: &State, task: &Task) -> bool {
    let service = state.service(task.service);
    service.is_some_and(|service| service.spec.mode.is_job())
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
pub fn acknowledged_is_kept(state: &State, expected: &BTreeMap<String, Option<Mode>>) -> Check {
    for (name, replicas) in expected {
        let found = state.service_named(name);
        let found = found.map(|service| service.spec.mode);
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
