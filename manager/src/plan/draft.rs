//! The state that a pass edits, and where it has to look. Pure.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::task::{Slot, TaskState};
use skep_proto::time::{ClusterTime, WallTime};

use super::{Ids, LARGEST_PASS, Scope, Seen};
use crate::state::{Change, Mark, State};

/// A state that is edited through `apply`, and what was touched.
pub(super) struct Draft<'a> {
    pub(super) base: &'a State,
    pub(super) state: State,
    pub(super) seen: &'a Seen,
    pub(super) now: ClusterTime,
    pub(super) wall: WallTime,
    pub(super) ids: &'a mut Ids,
    pub(super) touched: Vec<Key>,
    pub(super) wake_at: Option<ClusterTime>,
    /// Something was left undone that no mark will bring back: the marks have to stay.
    pub(super) incomplete: bool,
    /// Tasks that an update gives up, with the revision it leads to.
    pub(super) replaced: BTreeMap<TaskId, u64>,
    known: BTreeSet<Key>,
    scope: Scope,
}

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Node(NodeId),
    Gateway(NodeId),
    Service(ServiceId),
    Task(TaskId),
    Network(NetworkId),
}

/// Which slots of a service have to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Slots {
    All,
    These(BTreeSet<Slot>),
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        scope: Scope,
        base: &'a State,
        seen: &'a Seen,
        (now, wall): (ClusterTime, WallTime),
        ids: &'a mut Ids,
    ) -> Self {
        Self {
            base,
            state: base.draft(),
            seen,
            now: now.max(base.time()),
            wall,
            ids,
            touched: Vec::new(),
            wake_at: None,
            incomplete: false,
            replaced: BTreeMap::new(),
            known: BTreeSet::new(),
            scope,
        }
    }

    /// Applies a change to the draft. What does not fit is left out: the next pass sees why.
    pub(super) fn change(&mut self, change: Change) {
        let Some(key) = key_of(&change) else { return };
        let index = self.base.applied().saturating_add(1);
        if self.state.try_change(index, self.now, &change).is_err() {
            self.incomplete = true;
        } else if self.known.insert(key) {
            self.touched.push(key);
        }
    }

    /// An update to `revision` gives a task's slot to another.
    pub(super) fn replace(&mut self, task: TaskId, revision: u64) {
        self.replaced.insert(task, revision);
        self.change(Change::Replaced { task, revision });
    }

    /// Looks again at `at`, or earlier.
    pub(super) fn wake(&mut self, at: ClusterTime) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    /// Whether the pass has done enough: it is cut here and goes again.
    pub(super) fn full(&mut self) -> bool {
        let full = self.touched.len() >= LARGEST_PASS;
        if full {
            self.incomplete = true;
            self.wake(self.now);
        }
        full
    }

    pub(super) fn everywhere(&self) -> bool {
        self.scope == Scope::Full
    }

    /// Marks that no plan of this leader has looked at, the draft's own too.
    fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let looked = self.seen.looked;
        self.state
            .marks()
            .filter(move |(_, at)| *at > looked)
            .map(|(mark, _)| mark)
    }

    /// Nodes to look at, also such as are no longer there.
    pub(super) fn nodes(&self) -> BTreeSet<NodeId> {
        if self.everywhere() {
            let there = self.state.nodes().map(|node| node.id);
            return there
                .chain(self.state.tasks().filter_map(|task| task.node))
                .collect();
        }
        let nodes = self.marks().filter_map(|mark| match mark {
            Mark::Node(id) => Some(id),
            _ => None,
        });
        nodes.collect()
    }

    /// Services to look at and which of their slots, ascending.
    pub(super) fn services(&self) -> BTreeMap<ServiceId, Slots> {
        if self.everywhere() {
            return self
                .state
                .services()
                .map(|service| (service.id, Slots::All))
                .collect();
        }
        let mut found = BTreeMap::new();
        for mark in self.marks() {
            match mark {
                Mark::Service(id) => {
                    found.insert(id, Slots::All);
                }
                Mark::Slot(id, slot) => {
                    let slots = found
                        .entry(id)
                        .or_insert_with(|| Slots::These(BTreeSet::new()));
                    if let Slots::These(slots) = slots {
                        slots.insert(slot);
                    }
                }
                Mark::Node(id) => self.slots_by_node(id, &mut found),
                _ => {}
            }
        }
        found
    }

    /// Slots that a change of a node may concern: its own in every global service, and those of its tasks.
    fn slots_by_node(&self, id: NodeId, found: &mut BTreeMap<ServiceId, Slots>) {
        let own = self.state.global_services();
        let own = own.map(|service| (service.id, Slot::Node(id)));
        let there = self.state.tasks_on(id);
        let there = there.filter(|task| task.desired <= TaskState::Running);
        let there = there.map(|task| (task.service, task.slot));
        for (service, slot) in own.chain(there) {
            let slots = found
                .entry(service)
                .or_insert_with(|| Slots::These(BTreeSet::new()));
            if let Slots::These(slots) = slots {
                slots.insert(slot);
            }
        }
    }

    /// Slots that have a task, of the services to look at, ascending.
    pub(super) fn slots(&self) -> BTreeSet<(ServiceId, Slot)> {
        let mut found = BTreeSet::new();
        for (id, slots) in self.services() {
            match slots {
                Slots::These(slots) => found.extend(slots.into_iter().map(|slot| (id, slot))),
                Slots::All => {
                    found.extend(self.state.tasks_of(id).map(|task| (id, task.slot)));
                }
            }
        }
        found
    }
}

fn key_of(change: &Change) -> Option<Key> {
    Some(match change {
        Change::PutNode(node) => Key::Node(node.id),
        Change::Turned { node, .. } => Key::Node(*node),
        Change::GaveIngress { node, .. } => Key::Gateway(*node),
        Change::PutService(service) => Key::Service(service.id),
        Change::DeleteService { service, .. } | Change::Progressed { service, .. } => {
            Key::Service(*service)
        }
        Change::PutTask(task) => Key::Task(task.id),
        Change::DeleteTask { task, .. }
        | Change::SetDesired { task, .. }
        | Change::Replaced { task, .. }
        | Change::Observed { task, .. }
        | Change::Drained { task }
        | Change::Released { task } => Key::Task(*task),
        Change::PutNetwork(network) => Key::Network(network.id),
        Change::PutCluster(_)
        | Change::DeleteNode { .. }
        | Change::DeleteNetwork { .. }
        | Change::PutImage(_)
        | Change::DeleteImage { .. } => return None,
    })
}
