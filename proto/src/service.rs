//! A service as the cluster keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::ids::{NetworkId, ServiceId};
use crate::image::RegistryAuth;
use crate::spec::{Protocol, PublishMode, ServiceSpec, TaskSpec, UpdateConfig};
use crate::task::Slot;
use crate::time::{ClusterTime, WallTime};

/// Revisions of a service that are kept, the one in force included.
pub const REVISIONS_KEPT: usize = 12;

/// A service as the cluster keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Random.
    pub id: ServiceId,
    /// Log index of the last change.
    pub version: u64,
    /// When it was made.
    pub created: WallTime,
    /// When its spec last changed.
    pub updated: WallTime,
    /// What the user asked for last.
    pub spec: Arc<ServiceSpec>,
    /// Number of that spec, from 1.
    pub revision: u64,
    /// Revision at which the task spec in force was first asked for: new tasks are made from it. A rollback
    /// takes up an older one while tasks of it are there.
    pub template: u64,
    /// Task specs that tasks still name, by revision, and the one in force.
    pub templates: BTreeMap<u64, Arc<TaskSpec>>,
    /// Its virtual address on each of its networks.
    pub vips: BTreeMap<NetworkId, Ipv4Addr>,
    /// Its published ports, with those that a manager chose.
    pub ports: Vec<PortBinding>,
    /// Set once it is removed: its tasks are ended, then it goes.
    pub removed: Option<ClusterTime>,
    /// For its image's registry. Not part of the spec: changed, it replaces no task.
    pub auth: Option<Arc<RegistryAuth>>,
    /// What was asked for before and now, ascending by number; the last [`REVISIONS_KEPT`].
    pub history: Vec<Revision>,
    /// The replacement of its tasks that was begun last, with all that is needed to go on with it.
    pub update: Option<Update>,
}

impl Service {
    /// A revision that is kept.
    pub fn kept(&self, number: u64) -> Option<&Revision> {
        self.history
            .iter()
            .find(|revision| revision.number == number)
    }

    /// The update, while it is not at its end: it goes on, or is paused.
    pub fn unfinished(&self) -> Option<&Update> {
        self.update
            .as_ref()
            .filter(|update| !update.state.finished())
    }

    /// The update, while it goes on.
    pub fn updating(&self) -> Option<&Update> {
        self.update.as_ref().filter(|update| update.state.goes_on())
    }
}

/// What was asked for, by whom, when and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u64,
    /// The whole spec.
    pub spec: Arc<ServiceSpec>,
    /// When it was asked for.
    pub at: WallTime,
    /// Who asked, such as `user@host`; empty when nobody said.
    pub by: String,
    /// Why, in the user's words.
    pub why: String,
}

/// How far the tasks of a service have got from one task spec to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// Where it stands.
    pub state: UpdateState,
    /// The revision that it goes back to when it fails.
    pub from: u64,
    /// The revision that began it.
    pub to: u64,
    /// When it began.
    pub started: WallTime,
    /// When it was completed.
    pub ended: Option<WallTime>,
    /// What it does or why it does not go on, for a person.
    pub message: String,
    /// How tasks are replaced.
    pub config: UpdateConfig,
    /// Slots that had to be replaced when it began: what the failure ratio is taken of.
    pub total: u32,
    /// Slots whose running task was given up, or gets another beside it, until the new one runs and the delay
    /// has passed. At most as many as the parallelism.
    pub replacing: BTreeSet<Slot>,
    /// Slots whose new task failed.
    pub failed: BTreeSet<Slot>,
}

/// Where an update stands; Docker's states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateState {
    /// It goes on.
    Updating,
    /// It waits for somebody to decide.
    Paused,
    /// All tasks are of the new spec.
    Completed,
    /// It goes back.
    RollbackStarted,
    /// The way back waits for somebody to decide.
    RollbackPaused,
    /// All tasks are of the spec before.
    RollbackCompleted,
}

impl UpdateState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Updating,
        Self::Paused,
        Self::Completed,
        Self::RollbackStarted,
        Self::RollbackPaused,
        Self::RollbackCompleted,
    ];

    /// Whether tasks are being replaced.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Updating | Self::RollbackStarted)
    }

    /// Whether it waits for somebody to decide.
    pub fn paused(self) -> bool {
        matches!(self, Self::Paused | Self::RollbackPaused)
    }

    /// Whether it is at its end.
    pub fn finished(self) -> bool {
        matches!(self, Self::Completed | Self::RollbackCompleted)
    }

    /// Whether it leads back.
    pub fn rolls_back(self) -> bool {
        matches!(
            self,
            Self::RollbackStarted | Self::RollbackPaused | Self::RollbackCompleted
        )
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Updating => "updating",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::RollbackStarted => "rollback_started",
            Self::RollbackPaused => "rollback_paused",
            Self::RollbackCompleted => "rollback_completed",
        })
    }
}

/// A published port that has been given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortBinding {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the container.
    pub target: u16,
    /// The port outside.
    pub published: u16,
    /// Where it is open.
    pub mode: PublishMode,
}
