//! Bugs planted on purpose: each invariant's check must catch its own.
//!
//! A bug is not in the product's code. The world puts it between the product and the checks: it alters what
//! `apply` or `plan` gave, or what the world does with it.

use std::sync::Arc;

use skep_manager::plan::Plan;
use skep_manager::state::{Change, Entry, Mark, Object, Outcome, State, Times};
use skep_proto::ids::{NodeId, ServiceId, TaskId};
use skep_proto::node::{Availability, NodeState};
use skep_proto::task::{Task, TaskState, TaskStatus};
use skep_proto::time::WallTime;

/// A planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A late report puts a running task back.
    StatusFallsBack,
    /// A task is given to another node.
    TaskMoves,
    /// A slot gets a second task beside the first.
    TwoInASlot,
    /// Two tasks get one address.
    AddressTwice,
    /// The scheduler does not count reservations.
    RoomIgnored,
    /// The scheduler does not look whether a node is fit.
    PlacedOnUnfitNode,
    /// A service is deleted while a task of it is kept.
    TaskLeftBehind,
    /// The removal of a service is never finished.
    RemovalForgotten,
    /// The plan always finds something to say.
    Restless,
    /// `apply` forgets to mark slots.
    SlotsUnmarked,
    /// `apply` forgets to mark services.
    ServicesUnmarked,
    /// `apply` forgets to mark nodes.
    NodesUnmarked,
    /// `apply` takes for granted that a reported task exists.
    UnknownTaskPanics,
    /// One replica skips reports.
    ReplicaSkips,
    /// A machine never starts what it made.
    NeverStarts,
    /// The user is told before the entry is committed.
    ToldTooEarly,
    /// A node that returns keeps what was replaced.
    ReplacedKeepsRunning,
    /// An update stops a task in a slot that it has not given up.
    StopsTooMany,
    /// An update forgets slots that it has given up.
    ForgetsSlots,
    /// Every node is sent every secret.
    SecretsEverywhere,
    /// A machine does not replace what was rotated.
    NeverReplaces,
}

impl Bug {
    /// Every bug, with the number of the invariant whose check must catch it.
    pub const ALL: [(Self, u8); 21] = [
        (Self::StatusFallsBack, 1),
        (Self::TaskMoves, 2),
        (Self::TwoInASlot, 3),
        (Self::ReplacedKeepsRunning, 3),
        (Self::AddressTwice, 4),
        (Self::RoomIgnored, 5),
        (Self::PlacedOnUnfitNode, 6),
        (Self::TaskLeftBehind, 7),
        (Self::RemovalForgotten, 7),
        (Self::Restless, 8),
        (Self::SlotsUnmarked, 9),
        (Self::ServicesUnmarked, 9),
        (Self::NodesUnmarked, 9),
        (Self::UnknownTaskPanics, 10),
        (Self::ReplicaSkips, 11),
        (Self::NeverStarts, 12),
        (Self::ToldTooEarly, 13),
        (Self::StopsTooMany, 14),
        (Self::ForgetsSlots, 14),
        (Self::SecretsEverywhere, 15),
        (Self::NeverReplaces, 15),
    ];
}

/// `apply`, with the bug.
pub fn apply(
    bug: Option<Bug>,
    replica: usize,
    state: &mut State,
    at: u64,
    entry: &Entry,
) -> Outcome {
    let Some(bug) = bug else {
        return state.apply(at, entry);
    };
    let before = state.clone();
    let mut entry = entry.clone();
    let unknown = |change: &Change| matches!(change, Change::Observed { task, .. } if before.task(*task).is_none());
    if bug == Bug::UnknownTaskPanics && entry.changes.iter().any(unknown) {
        panic!("planted: a reported task does not exist");
    }
    if bug == Bug::ReplicaSkips && replica == 1 {
        entry
            .changes
            .retain(|change| !matches!(change, Change::Observed { .. }));
    }
    let outcome = state.apply(at, &entry);
    if let Some(altered) = alter(bug, &before, state) {
        *state = altered;
    }
    outcome
}

/// `plan`, with the bug.
pub fn plan(bug: Option<Bug>, state: &State, mut plan: Plan) -> Plan {
    match bug {
        Some(Bug::Restless) => {
            if let Some(task) = state.tasks().next() {
                let change = Change::SetDesired {
                    task: task.id,
                    desired: task.desired,
                };
                plan.changes.push(change);
            }
        }
        Some(Bug::ForgetsSlots) => {
            for change in &mut plan.changes {
                if let Change::Progressed { update, .. } = change {
                    Arc::make_mut(update).replacing.clear();
                }
            }
        }
        Some(Bug::RemovalForgotten) => {
            plan.changes
                .retain(|change| !matches!(change, Change::DeleteService { .. }));
        }
        _ => {}
    }
    plan
}

fn alter(bug: Bug, before: &State, after: &State) -> Option<State> {
    let mut objects: Vec<Object> = after.objects().collect();
    let altered = match bug {
        Bug::SlotsUnmarked | Bug::ServicesUnmarked | Bug::NodesUnmarked => {
            let count = objects.len();
            objects
                .retain(|object| !matches!(object, Object::Mark(mark, _) if left_out(bug, *mark)));
            objects.len() < count
        }
        Bug::TwoInASlot => {
            let second = running(after, before).map(|task| {
                let id = TaskId::new(task.id.bits() ^ 1);
                Task {
                    id,
                    attachments: Vec::new(),
                    ..task
                }
            });
            add(&mut objects, second)
        }
        Bug::TaskLeftBehind => {
            let gone = before
                .services()
                .find(|old| after.service(old.id).is_none());
            let left = gone.and_then(|gone| left_behind(after, gone.id));
            add(&mut objects, left)
        }
        _ => {
            let changed = changed_task(bug, before, after)?;
            replace(&mut objects, changed)
        }
    };
    altered.then(|| State::from_objects(objects))
}

fn left_out(bug: Bug, mark: Mark) -> bool {
    match mark {
        Mark::Slot(..) => bug == Bug::SlotsUnmarked,
        Mark::Service(_) => bug == Bug::ServicesUnmarked,
        Mark::Node(_) => bug == Bug::NodesUnmarked,
        Mark::Cluster | Mark::Network(_) => false,
    }
}

fn changed_task(bug: Bug, before: &State, after: &State) -> Option<Task> {
    match bug {
        Bug::StatusFallsBack => running(after, before).map(|task| Task {
            status: TaskStatus::of(TaskState::Assigned, WallTime::default()),
            ..task
        }),
        Bug::TaskMoves => {
            let task = running(after, before)?;
            let other = after.nodes().find(|node| Some(node.id) != task.node)?;
            Some(Task {
                node: Some(other.id),
                ..task
            })
        }
        Bug::AddressTwice => {
            let mut tasks = after.tasks().filter(|task| !task.attachments.is_empty());
            let (one, two) = (tasks.next()?, tasks.next()?);
            Some(Task {
                attachments: one.attachments.clone(),
                ..Task::clone(two)
            })
        }
        Bug::RoomIgnored => {
            let full = |task: &&Arc<Task>| task.status.error.contains("insufficient memory");
            let task = after.pending().find(full)?;
            bind(task, after.nodes().next()?.id)
        }
        Bug::StopsTooMany => {
            let task = running(after, before)?;
            let service = after.service(task.service)?;
            let update = service.updating()?;
            (!update.replacing.contains(&task.slot)).then_some(Task {
                desired: TaskState::Shutdown,
                ..task
            })
        }
        Bug::PlacedOnUnfitNode => {
            let unfit = after.nodes().find(|node| {
                node.status.state != NodeState::Up || node.spec.availability != Availability::Active
            })?;
            let new = |task: &&Arc<Task>| {
                let old = before.task(task.id);
                task.node.is_some() && old.is_none_or(|old| old.node.is_none())
            };
            bind(after.tasks().find(new)?, unfit.id)
        }
        _ => None,
    }
}

fn bind(task: &Arc<Task>, node: NodeId) -> Option<Task> {
    let status = TaskStatus::of(TaskState::Assigned, WallTime::default());
    Some(Task {
        node: Some(node),
        status,
        ..Task::clone(task)
    })
}

/// A task that runs after and ran before, on a node that is up.
fn running(after: &State, before: &State) -> Option<Task> {
    let up = |task: &Task| {
        let node = task.node.and_then(|id| after.node(id));
        node.is_some_and(|node| node.status.state == NodeState::Up)
    };
    let runs =
        |task: &Task| task.status.state == TaskState::Running && task.desired == TaskState::Running;
    let found = after
        .tasks()
        .find(|task| runs(task) && up(task) && before.task(task.id).is_some_and(|old| runs(old)));
    found.map(|task| Task::clone(task))
}

fn left_behind(after: &State, service: ServiceId) -> Option<Task> {
    let task = after.tasks().next()?;
    let id = TaskId::new(task.id.bits() ^ 1);
    Some(Task {
        id,
        service,
        attachments: Vec::new(),
        ..Task::clone(task)
    })
}

fn add(objects: &mut Vec<Object>, task: Option<Task>) -> bool {
    let Some(task) = task else { return false };
    objects.push(Object::Task(Arc::new(task), Times::default()));
    true
}

fn replace(objects: &mut [Object], new: Task) -> bool {
    for object in objects {
        if let Object::Task(task, _) = object
            && task.id == new.id
        {
            *task = Arc::new(new);
            return true;
        }
    }
    false
}
