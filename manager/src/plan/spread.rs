//! Candidates for tasks that are alike, in the order in which they are to be taken. Pure.
//!
//! Without preferences it is one ranking. With them it is a tree: the outermost preference divides the nodes
//! by what they say there, the next divides each part again, and a node is taken from the part that has the
//! fewest tasks of the service. A node that says nothing belongs to the part of those that say nothing.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::constraint::Key;
use skep_proto::ids::NodeId;
use skep_proto::node::Node;

/// Lower is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    /// It failed often lately.
    pub(super) fails: bool,
    /// Tasks of the service.
    pub(super) of_service: u32,
    /// The larger of the reserved shares of processor and memory, in thousandths.
    pub(super) reserved: u64,
    /// All its tasks.
    pub(super) tasks: u32,
    /// Which node.
    pub(super) node: NodeId,
}

/// Where in the tree a node hangs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf(usize);

/// Candidates, as a tree.
pub(super) struct Candidates {
    branches: Vec<Branch>,
}

#[derive(Default)]
struct Branch {
    parent: Option<usize>,
    /// Tasks of the service below it.
    tasks: u32,
    by_value: BTreeMap<String, usize>,
    /// Branches that may have a candidate, the emptiest first.
    order: BTreeSet<(u32, usize)>,
    /// Of a branch without branches.
    ranks: BTreeSet<Rank>,
}

impl Candidates {
    pub(super) fn new() -> Self {
        Self {
            branches: vec![Branch::default()],
        }
    }

    /// Where `node` hangs by what it says of `keys`; `tasks` of the service are there already.
    pub(super) fn hang(&mut self, keys: &[Key], node: &Node, tasks: u32) -> Leaf {
        let mut at = 0usize;
        for key in keys {
            let value = key.of(node).unwrap_or_default();
            let known = self
                .branches
                .get(at)
                .and_then(|it| it.by_value.get(value.as_ref()));
            at = match known.copied() {
                Some(child) => child,
                None => self.grow(at, value.into_owned()),
            };
        }
        if tasks > 0 {
            self.count(Leaf(at), tasks);
        }
        Leaf(at)
    }

    fn grow(&mut self, parent: usize, value: String) -> usize {
        let child = self.branches.len();
        self.branches.push(Branch {
            parent: Some(parent),
            ..Branch::default()
        });
        if let Some(branch) = self.branches.get_mut(parent) {
            branch.by_value.insert(value, child);
            branch.order.insert((0, child));
        }
        child
    }

    /// So many more tasks of the service are below a leaf.
    pub(super) fn count(&mut self, leaf: Leaf, more: u32) {
        let mut at = leaf.0;
        while let Some(branch) = self.branches.get_mut(at) {
            let before = branch.tasks;
            branch.tasks = before.saturating_add(more);
            let now = branch.tasks;
            let Some(parent) = branch.parent else { return };
            if let Some(above) = self.branches.get_mut(parent)
                && above.order.remove(&(before, at))
            {
                above.order.insert((now, at));
            }
            at = parent;
        }
    }

    /// A node that may have a task.
    pub(super) fn offer(&mut self, leaf: Leaf, rank: Rank) {
        if let Some(branch) = self.branches.get_mut(leaf.0) {
            branch.ranks.insert(rank);
        }
    }

    /// Takes the best node out.
    pub(super) fn take(&mut self) -> Option<(Leaf, Rank)> {
        self.take_below(0)
    }

    fn take_below(&mut self, at: usize) -> Option<(Leaf, Rank)> {
        let branch = self.branches.get_mut(at)?;
        if let Some(rank) = branch.ranks.pop_first() {
            return Some((Leaf(at), rank));
        }
        while let Some((tasks, child)) = self.branches.get(at)?.order.first().copied() {
            if let Some(found) = self.take_below(child) {
                return Some(found);
            }
            // Nothing comes back into a branch that is empty: what was taken is offered again at once.
            self.branches.get_mut(at)?.order.remove(&(tasks, child));
        }
        None
    }
}
