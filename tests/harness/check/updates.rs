//! Checks of what runs in the slots of services, above all while they are updated.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_manager::state::{Mark, State};
use skep_proto::ids::{NodeId, ServiceId};
use skep_proto::node::{Availability, NodeState};
use skep_proto::service::{Service, Update};
use skep_proto::spec::UpdateOrder;
use skep_proto::task::{Slot, Task, TaskState};

use super::Check;

/// 3. At most one task per slot is desired Running on a node that is up, save start-first updates and drains
///    that surge; a second can physically run only on a node that is down, and ends on its return.
///
/// # Errors
/// Names both tasks.
pub fn one_task_per_slot_is_to_run(before: &State, after: &State) -> Check {
    let mut first: BTreeMap<_, &Arc<Task>> = BTreeMap::new();
    for task in after.tasks() {
        let node = task.node.and_then(|node| after.node(node));
        let down = node.is_some_and(|node| node.status.state == NodeState::Down);
        // A drain that was called off leaves two until a plan has looked at the node.
        let changed = |id| after.marks().any(|(mark, _)| mark == Mark::Node(id));
        // One that ended while it gave way is told so by the next plan.
        let drains = node.is_some_and(|node| node.spec.availability.drains());
        let gave_way = drains && task.status.state.ended();
        let leaves = after.gives_way(task) || gave_way || task.node.is_some_and(changed);
        if task.desired > TaskState::Running || down || leaves {
            continue;
        }
        let Some(other) = first.insert((task.service, task.slot), task) else {
            continue;
        };
        let known = |task: &Task| before.task(task.id).is_some();
        let begun_before = known(task) && known(other);
        if task.template == other.template || !(begun_before || starts_first(after, task.service)) {
            return Err(format!(
                "{other:?} and {task:?} are both to run in {}",
                task.slot
            ));
        }
    }
    Ok(())
}

fn starts_first(state: &State, service: ServiceId) -> bool {
    let update = state.service(service).and_then(|it| it.unfinished());
    update.is_some_and(|update| update.config.order == UpdateOrder::StartFirst)
}

/// 14. During a rolling update the running tasks never fall below what its settings promise, save by tasks
///     lost to faults. So a running task is told to end only in a slot that the update has given up or where
///     the new one runs; a slot that was given up stays so until its new task runs, or failed; and no slot is
///     given up beyond the parallelism.
///
/// # Errors
/// Names service and slot.
pub fn updates_keep_what_they_promise(before: &State, after: &State) -> Check {
    for service in after.services().filter(|it| it.removed.is_none()) {
        let Some(update) = service.unfinished() else {
            continue;
        };
        let old = before.service(service.id).and_then(|it| it.unfinished());
        no_more_than_parallelism(service, old, update)?;
        if let Some(old) = old {
            given_up_until_it_runs(after, service, old, update)?;
        }
        for task in after.tasks_of(service.id) {
            let told = task.desired == TaskState::Shutdown;
            let ran = before
                .task(task.id)
                .is_some_and(|old| runs(old) && fit(before, old));
            if told && ran && fit(after, task) && !may_end(after, update, task) {
                return Err(format!(
                    "{}.{} was stopped and nothing runs there: {update:?}",
                    service.spec.name, task.slot
                ));
            }
        }
    }
    Ok(())
}

fn no_more_than_parallelism(service: &Service, old: Option<&Update>, new: &Update) -> Check {
    let most = match new.config.parallelism {
        0 => return Ok(()),
        some => some as usize,
    };
    let known = |slot: &&Slot| old.is_some_and(|old| old.replacing.contains(slot));
    let more = new.replacing.iter().any(|slot| !known(&slot));
    if more && new.replacing.len() > most {
        let name = &service.spec.name;
        return Err(format!("{name} gave up {:?}, {most} may be", new.replacing));
    }
    Ok(())
}

fn given_up_until_it_runs(state: &State, service: &Service, old: &Update, new: &Update) -> Check {
    for slot in old.replacing.difference(&new.replacing) {
        let wanted = match (slot, service.spec.mode.replicas()) {
            (Slot::Replica(number), Some(replicas)) => *number <= replicas,
            (Slot::Node(home), _) => takes_part(state, service, *home),
            _ => true,
        };
        let ran = |task: &&Arc<Task>| {
            let stays_ended = task.status.state.ended() && task.desired <= TaskState::Running;
            let ran = state.times(task.id).running.is_some() || stays_ended;
            task.template == service.template && ran
        };
        let running = state.tasks_in(service.id, *slot).any(|task| ran(&task));
        if wanted && !running && !new.failed.contains(slot) {
            let name = &service.spec.name;
            return Err(format!("{name}.{slot} was given up and forgotten: {new:?}"));
        }
    }
    Ok(())
}

/// Whether a node is to have a task of a global service now.
fn takes_part(state: &State, service: &Service, home: NodeId) -> bool {
    let spec = service.templates.get(&service.template);
    state.node(home).zip(spec).is_some_and(|(node, spec)| {
        node.status.state == NodeState::Up
            && node.spec.availability == Availability::Active
            && spec.constraints.iter().all(|it| it.met_by(node))
    })
}

/// It is not the update that takes the task away.
fn fit(state: &State, task: &Task) -> bool {
    let node = task.node.and_then(|id| state.node(id));
    node.is_some_and(|node| {
        node.status.state != NodeState::Down && !node.spec.availability.drains()
    })
}

fn runs(task: &Task) -> bool {
    task.status.state == TaskState::Running && task.desired == TaskState::Running
}

fn may_end(state: &State, update: &Update, task: &Task) -> bool {
    let ended = task.status.state.ended();
    let mut others = state.tasks_in(task.service, task.slot);
    ended || update.replacing.contains(&task.slot) || others.any(|other| runs(other))
}
