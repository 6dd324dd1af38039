//! Finds a node for each task that waits for one. Pure.
//!
//! Nodes are ranked: those with five failures of the service within five minutes last, then fewest tasks of
//! the service, then least reserved, then fewest tasks, then by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_proto::ids::{NodeId, ServiceId, TaskId};
use skep_proto::node::Node;
use skep_proto::service::Service;
use skep_proto::spec::TaskSpec;
use skep_proto::task::{Task, TaskState, TaskStatus};

use super::draft::Draft;
use super::filter::{self, Unfit};
use crate::state::{Change, FAILURES_KEPT, State};

/// Failures of a service on a node count for so long.
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(300);

/// Lower is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    fails: bool,
    of_service: u32,
    /// The larger of the reserved shares of processor and memory, in thousandths.
    reserved: u64,
    tasks: u32,
    node: NodeId,
}

pub(super) fn place(draft: &mut Draft<'_>) {
    let mut groups: BTreeMap<(ServiceId, u64), Vec<TaskId>> = BTreeMap::new();
    for task in draft
        .state
        .pending()
        .filter(|task| task.status.state == TaskState::Pending)
    {
        groups
            .entry((task.service, task.template))
            .or_default()
            .push(task.id);
    }
    for ((service, template), tasks) in groups {
        let Some(service) = draft.state.service(service).cloned() else {
            continue;
        };
        let Some(spec) = service.templates.get(&template).cloned() else {
            continue;
        };
        place_group(draft, &service, &spec, &tasks);
    }
}

/// Places tasks that are alike: once one of them finds no node, none does.
fn place_group(draft: &mut Draft<'_>, service: &Service, spec: &TaskSpec, tasks: &[TaskId]) {
    let (mut ranks, mut turned_away) = candidates(draft, service, spec);
    let mut reason = None;
    for id in tasks {
        if draft.full() {
            return;
        }
        let Some(task) = draft.state.task(*id).cloned() else {
            continue;
        };
        match next_node(draft, service, spec, &mut ranks, &mut turned_away) {
            Some(node) => {
                assign(draft, &task, node);
                if let Some(node) = draft.state.node(node) {
                    ranks.insert(rank(draft, service.id, node));
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
) -> (BTreeSet<Rank>, BTreeMap<Unfit, usize>) {
    let mut ranks = BTreeSet::new();
    let mut turned_away: BTreeMap<Unfit, usize> = BTreeMap::new();
    for node in draft.state.nodes() {
        match filter::unfit(&draft.state, service, spec, node) {
            None => {
                ranks.insert(rank(draft, service.id, node));
            }
            Some(unfit) => count(&mut turned_away, unfit),
        }
    }
    (ranks, turned_away)
}

/// The best node that is still fit: tasks placed a moment ago may have filled it.
fn next_node(
    draft: &Draft<'_>,
    service: &Service,
    spec: &TaskSpec,
    ranks: &mut BTreeSet<Rank>,
    turned_away: &mut BTreeMap<Unfit, usize>,
) -> Option<NodeId> {
    while let Some(best) = ranks.pop_first() {
        let Some(node) = draft.state.node(best.node) else {
            continue;
        };
        match filter::unfit(&draft.state, service, spec, node) {
            None => return Some(best.node),
            Some(unfit) => count(turned_away, unfit),
        }
    }
    None
}

fn rank(draft: &Draft<'_>, service: ServiceId, node: &Node) -> Rank {
    let state: &State = &draft.state;
    let recent = state.failures(service, node.id).iter();
    let recent = recent
        .filter(|at| draft.now.since(**at) < FAILURES_COUNT_FOR)
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
