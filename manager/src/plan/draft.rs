//! The state that a pass edits, and where it has to look. Pure.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::file::FileId;
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
    /// Tasks that are stopped though these nodes have not said that they lead nobody to them.
    pub(super) late: Vec<(TaskId, BTreeSet<NodeId>)>,
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
    /// An old content of a file.
    Content(FileId, u64),
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
            late: Vec::new(),
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

    /// As [`Draft::full`], for a change of a task: one that this pass has touched already costs nothing more.
    pub(super) fn full_for(&mut self, task: TaskId) -> bool {
        !self.known.contains(&Key::Task(task)) && self.full()
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
        let mut last = None;
        // Marks of slots stand after those of services: where all slots are looked at, theirs are passed over.
        while let Some(all) = self.gather(last, &mut found) {
            last = Some(State::last_slot_mark(all));
        }
        found
    }

    /// Adds what is marked after `last`; stops at the slots of a service all of which are looked at.
    fn gather(
        &self,
        last: Option<Mark>,
        found: &mut BTreeMap<ServiceId, Slots>,
    ) -> Option<ServiceId> {
        for (mark, at) in self.state.marks_after(last) {
            if let Mark::Slot(id, _) = mark
                && found.get(&id) == Some(&Slots::All)
            {
                return Some(id);
            }
            if at <= self.seen.looked {
                continue;
            }
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
                Mark::Node(id) => self.slots_by_node(id, found),
                _ => {}
            }
        }
        None
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

    /// Slots of the services to look at that have tasks of a kind, ascending. Where a service is not looked at
    /// as a whole, all of its slots that are.
    pub(super) fn slots(&self, with: With) -> BTreeSet<(ServiceId, Slot)> {
        let mut found = BTreeSet::new();
        for (id, slots) in self.services() {
            let state = &self.state;
            let mut add = |slot| {
                found.insert((id, slot));
            };
            match slots {
                Slots::These(slots) => slots.into_iter().for_each(add),
                // The oracle trusts no index.
                Slots::All if self.everywhere() => {
                    state.tasks_of(id).for_each(|task| add(task.slot));
                }
                Slots::All => match with {
                    With::Several => state.doubled(id).for_each(add),
                    With::Over => state.over(id).for_each(add),
                    With::Leaving => state.leaving(id).for_each(add),
                },
            }
        }
        found
    }
}

/// Of which slots a step has something to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum With {
    /// Several tasks that are to run.
    Several,
    /// A task that is to run and has ended.
    Over,
    /// A task that has been told to end.
    Leaving,
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
        Change::DropContent { file, revision } => Key::Content(*file, *revision),
        Change::PutCluster(_)
        | Change::DeleteNode { .. }
        | Change::DeleteNetwork { .. }
        | Change::PutDrill(_)
        | Change::PutFile { .. }
        | Change::DeleteFile { .. }
        | Change::PutToken(_)
        | Change::DeleteToken { .. }
        | Change::PutImage(_)
        | Change::DeleteImage { .. } => return None,
    })
}
