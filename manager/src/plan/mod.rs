//! What is to be changed about a state. Pure.
//!
//! `plan` is a function: the same state, memory, time and seed give the same changes. It edits a draft in a
//! fixed order through the same `apply` that replicas use, then says what differs. It never asks a clock,
//! never waits (a delay is `wake_at`) and remembers nothing from one call to the next.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod address;
mod allocate;
mod difference;
mod draft;
pub mod drain;
pub mod drill;
mod files;
mod filter;
mod ids;
mod job;
mod nodes;
mod orchestrate;
mod pool;
mod reap;
mod release;
mod restart;
mod schedule;
mod seen;
mod spread;
mod standing;
mod storm;
mod update;
pub mod why;

use std::collections::BTreeSet;

use skep_proto::ids::{NodeId, TaskId};
use skep_proto::time::{ClusterTime, WallTime};

use crate::state::{Change, Entry, Mark, State};
use draft::Draft;

pub use ids::Ids;
pub use pool::{NetworkError, new_network};
pub use seen::{Seen, SeenNode, Session};
pub use standing::{Standing, standing};
pub use update::{
    Author, RollbackError, earlier, first_revision, paused, resumed, revised, rolled_back,
};

/// An entry is at most so large, in bytes; a pass cuts there and goes again.
pub const LARGEST_ENTRY: usize = 1 << 20;
/// A pass changes at most so many objects and goes again.
pub const LARGEST_PASS: usize = 4096;

/// What is to be proposed, and when to look again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// In the order in which they are to be applied.
    pub changes: Vec<Change>,
    /// All changes up to this index have been looked at; `None` if the pass was cut or something could not
    /// be given: then the marks stay.
    pub looked: Option<u64>,
    /// Look again then, even if nothing happens; it may be past already.
    pub wake_at: Option<ClusterTime>,
    /// Tasks that are stopped though these nodes have not said that they lead nobody to them: for the log.
    pub late: Vec<(TaskId, BTreeSet<NodeId>)>,
}

impl Plan {
    /// The entry that carries this plan.
    pub fn into_entry(self, time: ClusterTime, wall: WallTime) -> Entry {
        Entry {
            time,
            wall,
            looked: self.looked,
            changes: self.changes,
            ..Entry::default()
        }
    }
}

/// Where a pass looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Everywhere: a new leader's first pass, and the oracle.
    Full,
    /// Where something changed since a plan looked last.
    Marked,
}

/// Plans what changed since the last look. The result is that of [`plan_within`] with [`Scope::Full`].
pub fn plan(state: &State, seen: &Seen, now: ClusterTime, wall: WallTime, ids: &mut Ids) -> Plan {
    plan_within(Scope::Marked, state, seen, (now, wall), ids)
}

/// Plans within a scope, at a cluster time with its wall time.
pub fn plan_within(
    scope: Scope,
    state: &State,
    seen: &Seen,
    (now, wall): (ClusterTime, WallTime),
    ids: &mut Ids,
) -> Plan {
    let settings_changed = state
        .marks()
        .any(|(mark, at)| mark == Mark::Cluster && at > seen.looked);
    let scope = if settings_changed { Scope::Full } else { scope };
    let mut draft = Draft::new(scope, state, seen, (now, wall), ids);
    nodes::turn_and_evict(&mut draft);
    orchestrate::fill_slots(&mut draft);
    update::go_on(&mut draft);
    restart::make_new_attempts(&mut draft);
    allocate::give_numbers(&mut draft);
    schedule::place(&mut draft);
    release::let_go(&mut draft);
    reap::clear_away(&mut draft);
    files::let_go(&mut draft);
    // A pass that came to its limit goes again, whichever step noticed.
    draft.full();
    difference::finish(draft)
}
