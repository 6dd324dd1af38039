//! From an edited draft to the facts that make the base equal to it. Pure.
//!
//! However often a pass touched an object, it proposes one state of it, made from the version in the base.
//! Where a finer fact says the same it is preferred: it still fits when a worker reported meanwhile.

use std::sync::Arc;

use skep_proto::ids::{NodeId, ServiceId, TaskId};
use skep_proto::node::Node;
use skep_proto::service::Service;
use skep_proto::task::{Task, TaskState};

use super::draft::{Draft, Key};
use super::{LARGEST_ENTRY, Plan};
use crate::state::{Change, State};

/// What the draft differs in, at most one entry of it.
pub(super) fn finish(draft: Draft<'_>) -> Plan {
    let mut plan = Plan {
        wake_at: draft.wake_at,
        late: draft.late.clone(),
        ..Plan::default()
    };
    let mut size = 0usize;
    let mut incomplete = draft.incomplete;
    let mut touched = draft.touched.clone();
    touched.sort_by_key(|key| turn(&draft.state, *key));
    for key in &touched {
        let changes = differ(&draft, *key);
        let more: usize = changes.iter().map(weight).fold(0, usize::saturating_add);
        size = size.saturating_add(more);
        if size > LARGEST_ENTRY && !plan.changes.is_empty() {
            plan.wake_at = Some(draft.now);
            incomplete = true;
            break;
        }
        plan.changes.extend(changes);
    }
    plan.looked = (!incomplete).then(|| draft.base.applied());
    plan
}

/// What others stand on comes first; a service goes after its tasks. Within a turn, as they were touched.
fn turn(state: &State, key: Key) -> u8 {
    match key {
        Key::Network(_) => 0,
        Key::Node(_) => 1,
        Key::Gateway(_) => 2,
        Key::Service(id) if state.service(id).is_some() => 3,
        Key::Task(_) => 4,
        Key::Service(_) => 5,
        Key::Content(..) => 6,
    }
}

fn differ(draft: &Draft<'_>, key: Key) -> Vec<Change> {
    let (base, state) = (draft.base, &draft.state);
    match key {
        Key::Node(id) => of_node(base, state, id),
        Key::Service(id) => of_service(base, state, id),
        Key::Task(id) => of_task(draft, id),
        Key::Gateway(node) => {
            let given = state.gateway(node).filter(|_| base.gateway(node).is_none());
            given
                .map(|address| Change::GaveIngress { node, address })
                .into_iter()
                .collect()
        }
        Key::Content(file, revision) => {
            let gone = state.content(file, revision).is_none();
            gone.then_some(Change::DropContent { file, revision })
                .into_iter()
                .collect()
        }
        Key::Network(id) => {
            let made = state.network(id).filter(|_| base.network(id).is_none());
            let made = made.map(|network| {
                let mut network = network.as_ref().clone();
                network.version = 0;
                Change::PutNetwork(Arc::new(network))
            });
            made.into_iter().collect()
        }
    }
}

fn of_node(base: &State, state: &State, id: NodeId) -> Vec<Change> {
    let (Some(old), Some(new)) = (base.node(id), state.node(id)) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if old.number != new.number {
        let node = Node {
            version: old.version,
            status: old.status.clone(),
            ..Node::clone(new)
        };
        changes.push(Change::PutNode(Arc::new(node)));
    }
    if old.status != new.status {
        changes.push(Change::Turned {
            node: id,
            status: new.status.clone(),
        });
    }
    changes
}

fn of_service(base: &State, state: &State, id: ServiceId) -> Vec<Change> {
    match (base.service(id), state.service(id)) {
        (Some(old), None) => vec![Change::DeleteService {
            service: id,
            version: old.version,
        }],
        (Some(old), Some(new)) => {
            let new = Service {
                version: old.version,
                ..Service::clone(new)
            };
            put_or_progress(old, new)
        }
        (None, _) => Vec::new(),
    }
}

fn put_or_progress(old: &Service, new: Service) -> Vec<Change> {
    if new == *old {
        return Vec::new();
    }
    let update = new.update.as_ref().map(|update| Arc::new(update.clone()));
    let same = Service {
        update: old.update.clone(),
        ..new.clone()
    };
    match update.filter(|_| same == *old) {
        Some(update) => vec![Change::Progressed {
            service: old.id,
            version: old.version,
            update,
        }],
        None => vec![Change::PutService(Arc::new(new))],
    }
}

fn of_task(draft: &Draft<'_>, id: TaskId) -> Vec<Change> {
    let (base, state) = (draft.base, &draft.state);
    let (old, new) = match (base.task(id), state.task(id)) {
        (Some(old), Some(new)) => (old, new),
        (Some(old), None) => {
            return vec![Change::DeleteTask {
                task: id,
                version: old.version,
            }];
        }
        (None, Some(new)) => {
            return vec![Change::PutTask(Arc::new(Task {
                version: 0,
                ..Task::clone(new)
            }))];
        }
        (None, None) => return Vec::new(),
    };
    let mut changes = Vec::new();
    let given = old.attachments != new.attachments && !new.attachments.is_empty();
    if old.node != new.node || given {
        let task = Task {
            version: old.version,
            ..Task::clone(new)
        };
        changes.push(Change::PutTask(Arc::new(task)));
    } else {
        if old.desired != new.desired {
            let (task, desired) = (id, new.desired);
            let replaced = draft.replaced.get(&id);
            changes.push(match replaced.filter(|_| desired == TaskState::Shutdown) {
                Some(revision) => Change::Replaced {
                    task,
                    revision: *revision,
                },
                None => Change::SetDesired { task, desired },
            });
        }
        if old.status != new.status {
            changes.push(Change::Observed {
                task: id,
                status: new.status.clone(),
            });
        }
        if old.attachments != new.attachments {
            changes.push(Change::Released { task: id });
        }
    }
    if !base.times(id).drained && state.times(id).drained {
        changes.push(Change::Drained { task: id });
    }
    changes
}

/// At least as many bytes as the change takes in an entry. The written form of a spec is longer than its
/// encoding.
fn weight(change: &Change) -> usize {
    match change {
        Change::PutTask(task) => {
            let addresses = task.attachments.len().saturating_mul(32);
            let words = task
                .status
                .message
                .len()
                .saturating_add(task.status.error.len());
            addresses.saturating_add(words).saturating_add(256)
        }
        Change::Observed { status, .. } => status
            .message
            .len()
            .saturating_add(status.error.len())
            .saturating_add(96),
        Change::PutNode(_)
        | Change::PutService(_)
        | Change::Progressed { .. }
        | Change::PutNetwork(_) => format!("{change:?}").len(),
        _ => 96,
    }
}
