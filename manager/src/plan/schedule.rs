//! Finds a node for each task that waits for one. Pure.
//!
//! Spread preferences choose the part of the cluster; in it nodes are ranked: those with five failures of the
//! service within five minutes last, then fewest tasks of the service, then least reserved, then fewest
//! tasks, then by id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_proto::ids::{NodeId, ServiceId, TaskId};
use skep_proto::node::{Node, NodeState};
use skep_proto::service::Service;
use skep_proto::spec::TaskSpec;
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::ClusterTime;

use super::draft::Draft;
use super::filter::{self, Unfit};
use super::spread::{Candidates, Leaf, Rank};
use crate::state::{Change, FAILURES_KEPT, State};

/// Failures of a service on a node count for so long.
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(300);

pub(super) fn place(draft: &mut Draft<'_>) {
    let mut groups: Vec<((ServiceId, u64), Vec<TaskId>)> = Vec::new();
    for task in draft.state.pending() {
        if task.status.state != TaskState::Pending {
            continue;
        }
        let key = (task.service, task.template);
        match groups.last_mut() {
            Some((last, tasks)) if *last == key => tasks.push(task.id),
            _ => groups.push((key, vec![task.id])),
        }
    }
    for ((service, template), tasks) in groups {
        let Some(service) = draft.state.service(service).cloned() else {
            continue;
        };
        let Some(spec) = service.templates.get(&template).cloned() else {
            continue;
        };
        if tasks.iter().all(|id| draft.full_for(*id)) {
            continue;
        }
        if service.spec.mode.is_global() {
            place_at_home(draft, &service, &spec, &tasks);
        } else {
            place_group(draft, &service, &spec, &tasks);
        }
    }
}

/// Places tasks that belong to a node each: there or nowhere.
fn place_at_home(draft: &mut Draft<'_>, service: &Service, spec: &TaskSpec, tasks: &[TaskId]) {
    for id in tasks {
        if draft.full_for(*id) {
            continue;
        }
        let Some(task) = draft.state.task(*id).cloned() else {
            continue;
        };
        let home = match task.slot {
            Slot::Node(home) => draft.state.node(home).cloned(),
            Slot::Replica(_) => None,
        };
        let Some(home) = home else { continue };
        match filter::unfit(&draft.state, service, spec, &home) {
            None => assign(draft, &task, home.id),
            Some(unfit) => {
                let reason = filter::explain(&BTreeMap::from([(unfit, 1)]));
                say_why(draft, &task, &reason);
            }
        }
    }
}

/// Places tasks that are alike: once one of them finds no node, none does.
fn place_group(draft: &mut Draft<'_>, service: &Service, spec: &TaskSpec, tasks: &[TaskId]) {
    let (mut found, mut turned_away) = candidates(draft, service, spec);
    let mut reason = None;
    for id in tasks {
        if draft.full_for(*id) {
            continue;
        }
        let Some(task) = draft.state.task(*id).cloned() else {
            continue;
        };
        match next_node(draft, service, spec, &mut found, &mut turned_away) {
            Some((leaf, node)) => {
                assign(draft, &task, node);
                if let Some(node) = draft.state.node(node) {
                    let rank = rank(&draft.state, draft.now, service.id, node);
                    found.offer(leaf, rank);
                    found.count(leaf, 1);
                }
            }
            None => {
                let reason = reason.get_or_insert_with(|| filter::explain(&turned_away));
                say_why(draft, &task, reason);
            }
        }
    }
}

fn candidates(
    draft: &Draft<'_>,
    service: &Service,
    spec: &TaskSpec,
) -> (Candidates, BTreeMap<Unfit, usize>) {
    let mut found = Candidates::new();
    let mut turned_away: BTreeMap<Unfit, usize> = BTreeMap::new();
    for node in draft.state.nodes() {
        let up = node.status.state == NodeState::Up;
        let has = if up && !spec.spread.is_empty() {
            draft.state.spread_of(service.id, node.id)
        } else {
            0
        };
        let leaf = found.hang(&spec.spread, node, has);
        match filter::unfit(&draft.state, service, spec, node) {
            None => found.offer(leaf, rank(&draft.state, draft.now, service.id, node)),
            Some(unfit) => count(&mut turned_away, unfit),
        }
    }
    (found, turned_away)
}

/// The best node that is still fit: tasks placed a moment ago may have filled it.
fn next_node(
    draft: &Draft<'_>,
    service: &Service,
    spec: &TaskSpec,
    found: &mut Candidates,
    turned_away: &mut BTreeMap<Unfit, usize>,
) -> Option<(Leaf, NodeId)> {
    while let Some((leaf, best)) = found.take() {
        let Some(node) = draft.state.node(best.node) else {
            continue;
        };
        match filter::occupied(&draft.state, service, spec, node) {
            None => return Some((leaf, best.node)),
            Some(unfit) => count(turned_away, unfit),
        }
    }
    None
}

fn rank(state: &State, now: ClusterTime, service: ServiceId, node: &Node) -> Rank {
    let recent = state.failures(service, node.id).iter();
    let recent = recent
        .filter(|at| now.since(**at) < FAILURES_COUNT_FOR)
        .count();
    let load = state.load_of(node.id);
    let has = node.description.resources;
    let share = |taken: u64, of: u64| {
        u128::from(taken)
            .saturating_mul(1000)
            .checked_div(u128::from(of))
            .unwrap_or_default()
    };
    let cpus = share(load.reserved.nano_cpus, has.nano_cpus);
    let reserved = cpus.max(share(load.reserved.memory, has.memory));
    Rank {
        fails: recent >= FAILURES_KEPT,
        of_service: state.spread_of(service, node.id),
        reserved: u64::try_from(reserved).unwrap_or(u64::MAX),
        tasks: load.tasks,
        node: node.id,
    }
}

fn assign(draft: &mut Draft<'_>, task: &Task, node: NodeId) {
    let status = TaskStatus::of(TaskState::Assigned, draft.wall);
    let task = Task {
        node: Some(node),
        status,
        ..Task::clone(task)
    };
    draft.change(Change::PutTask(Arc::new(task)));
}

fn say_why(draft: &mut Draft<'_>, task: &Task, reason: &str) {
    if task.status.error == reason {
        return;
    }
    let mut status = TaskStatus::of(TaskState::Pending, draft.wall);
    status.error = reason.to_owned();
    draft.change(Change::Observed {
        task: task.id,
        status,
    });
}

fn count(turned_away: &mut BTreeMap<Unfit, usize>, unfit: Unfit) {
    let count = turned_away.entry(unfit).or_default();
    *count = count.saturating_add(1);
}
