//! Lets go of what everybody knows is no longer used: backends that drained, addresses of ended tasks. Pure.
//!
//! Only nodes that are up and hold an endpoint are waited for. A backend waits ten seconds at most, an
//! address for as long as it takes: giving it again too early would send one task's traffic to another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_proto::ids::{NetworkId, NodeId};
use skep_proto::node::NodeState;
use skep_proto::task::{Task, TaskState};

use super::draft::Draft;
use crate::state::{Change, Holder, State};

/// So long a task that is to stop waits for nodes to take it out of names and virtual addresses. Docker's grace for a stop
/// too. A node that is up and busy was seen to take three; one that is not up is not waited for.
const DRAIN_AT_MOST: Duration = Duration::from_secs(10);
/// So long a task that came back with its node runs on while its replacement begins.
const REPLACE_AT_MOST: Duration = Duration::from_secs(30);

/// Lowest revision acknowledged by all that are waited for, by network; found once per pass.
#[derive(Default)]
pub(super) struct Acknowledged(BTreeMap<NetworkId, u64>);

impl Acknowledged {
    /// Whether everybody knows of a change to `network` that was made at `index`.
    pub(super) fn knows(&mut self, draft: &Draft<'_>, network: NetworkId, index: u64) -> bool {
        let lowest = self
            .0
            .entry(network)
            .or_insert_with(|| lowest(draft, network));
        *lowest >= index.min(draft.base.revision(network))
    }
}

pub(super) fn let_go(draft: &mut Draft<'_>) {
    let mut acknowledged = Acknowledged::default();
    let draining: Vec<Arc<Task>> = draft.state.draining().cloned().collect();
    for task in draining {
        if may_stop(draft, &mut acknowledged, &task) {
            draft.change(Change::Drained { task: task.id });
        }
    }
    let releasing: Vec<Arc<Task>> = draft.state.releasing().cloned().collect();
    for task in releasing {
        if known_to_be_gone(draft, &mut acknowledged, &task) {
            draft.change(Change::Released { task: task.id });
        }
    }
}

fn may_stop(draft: &mut Draft<'_>, acknowledged: &mut Acknowledged, task: &Task) -> bool {
    let up = task.node.and_then(|id| draft.state.node(id));
    if up.is_none_or(|node| node.status.state != NodeState::Up) {
        return false;
    }
    let times = draft.state.times(task.id);
    let since = times.stopping.unwrap_or(draft.now);
    if times.lost && being_replaced(&draft.state, task) {
        let until = since.after(REPLACE_AT_MOST);
        if draft.now < until {
            draft.wake(until);
            return false;
        }
    }
    if task.status.state < TaskState::Running || task.attachments.is_empty() {
        return true;
    }
    let told = told_at(draft, task);
    if task
        .attachments
        .iter()
        .all(|at| told.is_some_and(|told| acknowledged.knows(draft, at.network, told)))
    {
        return true;
    }
    let until = since.after(DRAIN_AT_MOST);
    if draft.now < until {
        draft.wake(until);
        return false;
    }
    let late = late(draft, task, told);
    draft.late.push((task.id, late));
    true
}

/// Nodes that may still lead clients to the task.
fn late(draft: &Draft<'_>, task: &Task, told: Option<u64>) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for at in &task.attachments {
        let revision = draft.base.revision(at.network);
        let wanted = told.map_or(u64::MAX, |told| told.min(revision));
        let nodes = waited_for(&draft.state, at.network).into_iter();
        found.extend(nodes.filter(|node| draft.seen.acknowledged(*node, at.network) < wanted));
    }
    found
}

/// The log index from which views show the task as it is; `None` if that is still to be committed.
fn told_at(draft: &Draft<'_>, task: &Task) -> Option<u64> {
    let committed = draft.base.task(task.id)?;
    (committed.desired > TaskState::Running).then_some(committed.version)
}

/// Whether another task of its slot is on its way on a node that is up.
fn being_replaced(state: &State, lost: &Task) -> bool {
    state.tasks_in(lost.service, lost.slot).any(|task| {
        let node = task.node.and_then(|id| state.node(id));
        let up = node.is_some_and(|node| node.status.state == NodeState::Up);
        up && task.desired <= TaskState::Running && task.status.state < TaskState::Running
    })
}

fn known_to_be_gone(draft: &Draft<'_>, acknowledged: &mut Acknowledged, task: &Task) -> bool {
    let Some(committed) = draft.base.task(task.id) else {
        return false;
    };
    let ended = committed.status.state.ended();
    let mut networks = task.attachments.iter().map(|at| at.network);
    ended && networks.all(|network| acknowledged.knows(draft, network, committed.version))
}

fn lowest(draft: &Draft<'_>, network: NetworkId) -> u64 {
    let nodes = waited_for(&draft.state, network);
    let revisions = nodes
        .into_iter()
        .map(|node| draft.seen.acknowledged(node, network));
    revisions.min().unwrap_or(u64::MAX)
}

/// Nodes that are up and show something of the network: those with an endpoint, on ingress all.
pub(super) fn waited_for(state: &State, network: NetworkId) -> BTreeSet<NodeId> {
    if state
        .network(network)
        .is_some_and(|network| network.spec.ingress)
    {
        let up = state
            .nodes()
            .filter(|node| node.status.state == NodeState::Up);
        return up.map(|node| node.id).collect();
    }
    let tasks = state
        .addresses(network)
        .filter_map(|(_, holder)| match holder {
            Holder::Task(id) => state.task(id),
            Holder::Vip(_) | Holder::Node(_) => None,
        });
    tasks
        .filter(|task| state.endpoint(task).is_some())
        .filter_map(|task| task.node)
        .collect()
}
