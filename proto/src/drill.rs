//! Drills: failures that are made on purpose, for a bounded time. Pure.
//!
//! A drill is a fact: who asked for which failure of what, and until when. Its node obeys it once and undoes it
//! by itself, whatever becomes of whoever began it.

use std::fmt;
use std::time::Duration;

use crate::ids::{DrillId, NodeId, ServiceId, TaskId};
use crate::time::{ClusterTime, WallTime};

/// From a node's acceptance to the failure: what it says reaches managers before it can say nothing more.
pub const FUSE: Duration = Duration::from_millis(500);
/// A failure lasts no longer than this.
pub const LASTS_AT_MOST: Duration = Duration::from_secs(600);
/// A lease is no longer than this.
pub const LEASE_AT_MOST: Duration = Duration::from_secs(3600);
/// A lease is longer than its drill by at least this: its node has to hear of it first.
pub const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// Characters that are kept of what a node says went wrong.
pub const ERROR_AT_MOST: usize = 500;
/// Bytes of a report that is kept.
pub const REPORT_AT_MOST: usize = 32 << 10;
/// Label of a service or a node; with the value `never` no drill touches it.
pub const LABEL: &str = "drill";
/// Label of a service: so many of its tasks run at all times, 1 by default.
pub const MINIMUM: &str = "drill.minimum";

/// What kind of failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DrillKind {
    /// The programs of one task are killed.
    Task,
    /// A daemon starts again without a farewell; containers stay.
    RestartDaemon,
    /// A node's containers are killed, and it is cut off.
    Node,
    /// A node is cut off from all others.
    Link,
    /// The node that leads is cut off from all others.
    Leader,
    /// The file system of a node's data is full.
    Disk,
}

impl DrillKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Task,
        Self::RestartDaemon,
        Self::Node,
        Self::Link,
        Self::Leader,
        Self::Disk,
    ];

    /// Whether it cuts its node off.
    pub fn cuts(self) -> bool {
        matches!(self, Self::Node | Self::Link | Self::Leader)
    }

    /// Whether its failure goes on for a time that is asked for.
    pub fn lasts(self) -> bool {
        self.cuts() || self == Self::Disk
    }
}

impl fmt::Display for DrillKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task => "task",
            Self::RestartDaemon => "restart-daemon",
            Self::Node => "node",
            Self::Link => "link",
            Self::Leader => "leader",
            Self::Disk => "disk",
        })
    }
}

/// A drill as the cluster keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drill {
    /// Random, never used again.
    pub id: DrillId,
    /// Log index of the last change.
    pub version: u64,
    /// What kind of failure.
    pub kind: DrillKind,
    /// Where it happens.
    pub node: NodeId,
    /// The one that is killed, of kind [`DrillKind::Task`].
    pub task: Option<TaskId>,
    /// How full a disk is, of kind [`DrillKind::Disk`].
    pub fill: Option<Fill>,
    /// For people, such as `web.2 on n3`.
    pub target: String,
    /// Who asked for it, as `user@host`.
    pub by: String,
    /// When it was asked for.
    pub begun: WallTime,
    /// The same, by which it ends.
    pub begun_at: ClusterTime,
    /// From the acceptance to the failure.
    pub fuse: Duration,
    /// From the failure to its end.
    pub lasts: Duration,
    /// From `begun_at`: then it is over for all others, whatever became of whoever began it.
    pub lease: Duration,
    /// Services that it may touch.
    pub services: Vec<ServiceId>,
    /// What its node says; nothing before it has accepted it.
    pub obeyed: Option<Obeyed>,
    /// How it ended, once it has.
    pub end: Option<DrillEnd>,
}

impl Drill {
    /// Whether it goes on at `now`.
    pub fn runs(&self, now: ClusterTime) -> bool {
        self.end.is_none() && now < self.begun_at.after(self.lease)
    }

    /// Whether it keeps others from beginning at `now`: it runs, or it was ended while its node may still suffer
    /// from it, as one that is cut off cannot be told.
    pub fn blocks(&self, now: ClusterTime) -> bool {
        let suffers = self.obeyed.is_some() && !self.undone();
        (self.end.is_none() || suffers) && now < self.begun_at.after(self.lease)
    }

    /// Whether its node is to be told of it at `now`: one that accepts it late suffers no longer than the lease.
    pub fn told(&self, now: ClusterTime) -> bool {
        let over = now.after(self.fuse).after(self.lasts);
        let in_time = self.obeyed.is_some() || over <= self.begun_at.after(self.lease);
        self.runs(now) && !self.undone() && in_time
    }

    /// Whether its node has said that it is over there.
    pub fn undone(&self) -> bool {
        let obeyed = self.obeyed.as_ref();
        obeyed.is_some_and(|obeyed| obeyed.undone.is_some())
    }
}

/// What a node says of a drill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obeyed {
    /// When the acceptance was committed, by the leader's clock.
    pub accepted: WallTime,
    /// Set once it is undone, or could not be done.
    pub undone: Option<Undone>,
}

/// That a failure is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undone {
    /// From the acceptance to the failure, by the node's own clock.
    pub failed_after: Duration,
    /// From the acceptance to its end.
    pub undone_after: Duration,
    /// Why it could not be done; empty when it was.
    pub error: String,
}

/// How a drill ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrillEnd {
    /// When.
    pub at: WallTime,
    /// One word: passed, failed, stopped.
    pub verdict: String,
    /// JSON, as the command prints it.
    pub report: String,
}

/// What a node is to suffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Of which drill.
    pub id: DrillId,
    /// From the acceptance to the failure.
    pub fuse: Duration,
    /// From the failure to its end.
    pub lasts: Duration,
    /// What fails.
    pub what: Failing,
}

/// What fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failing {
    /// The programs of this task.
    Task(TaskId),
    /// The daemon, which starts again.
    Daemon,
    /// What passes between this node and others.
    Link(CutPorts),
    /// The same, and all containers.
    Node(CutPorts),
    /// What is free in the file system of this node's data.
    Disk(Fill),
}

/// How full a file system is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    /// Bytes that stay free.
    pub reserve: u64,
    /// Also where the system itself is on the same file system.
    pub shared: bool,
}

/// Ports by which nodes speak with each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CutPorts {
    /// Of daemons.
    pub tcp: Vec<u16>,
    /// Of overlay networks.
    pub udp: Vec<u16>,
}
