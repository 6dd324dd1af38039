//! A task: one run of a spec on one node. It never moves, and its observed state only climbs.

use std::fmt;
use std::net::Ipv4Addr;

use crate::ids::{NetworkId, NodeId, ServiceId, TaskId};
use crate::time::{ClusterTime, WallTime};

/// A task as the cluster keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Also the id of its container.
    pub id: TaskId,
    /// Log index of the last change.
    pub version: u64,
    /// Whose task it is.
    pub service: ServiceId,
    /// Revision of the service's task spec it was made from.
    pub template: u64,
    /// Its place in the service; a new attempt is a new task in the same slot.
    pub slot: Slot,
    /// Where it runs; set once.
    pub node: Option<NodeId>,
    /// Written by managers only.
    pub desired: TaskState,
    /// Written by the worker only, save `Orphaned` and the reason why it is pending.
    pub status: TaskStatus,
    /// When it was made.
    pub created: ClusterTime,
    /// It is not to start before this: the delay of a restart.
    pub start_at: Option<ClusterTime>,
    /// Its addresses, in the order of the spec's networks, then ingress where the service publishes there.
    pub attachments: Vec<Attachment>,
}

/// A task's place in its service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Slot {
    /// Number of the replica, from 1.
    Replica(u32),
    /// One for each node.
    Node(NodeId),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(number) => write!(f, "{number}"),
            Self::Node(node) => write!(f, "{node}"),
        }
    }
}

/// The ladder. Managers write the first three rungs, the worker the rest; nobody goes down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum TaskState {
    /// Made; it has no addresses yet.
    New = 0,
    /// It waits for a node.
    Pending = 1,
    /// It has a node.
    Assigned = 2,
    /// The node knows of it.
    Accepted = 3,
    /// The node fetches its image and makes its container.
    Preparing = 4,
    /// All is there to start it.
    Ready = 5,
    /// It is being started.
    Starting = 6,
    /// It runs.
    Running = 7,
    /// It ended by itself and well.
    Complete = 8,
    /// It was told to end.
    Shutdown = 9,
    /// It ran and broke.
    Failed = 10,
    /// It could not begin.
    Rejected = 11,
    /// Its node has been gone for too long.
    Orphaned = 12,
    /// Only desired, never observed: its service or slot is gone, nothing is to be kept of it.
    Remove = 13,
}

impl TaskState {
    /// All of them, from the lowest rung up.
    pub const ALL: [Self; 14] = [
        Self::New,
        Self::Pending,
        Self::Assigned,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Starting,
        Self::Running,
        Self::Complete,
        Self::Shutdown,
        Self::Failed,
        Self::Rejected,
        Self::Orphaned,
        Self::Remove,
    ];

    /// Whether a task in this state has ended.
    pub fn ended(self) -> bool {
        self > Self::Running
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
            Self::Remove => "remove",
        })
    }
}

/// What was observed of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskStatus {
    /// The rung it stands on.
    pub state: TaskState,
    /// When it got there, by the clock of the one who saw it.
    pub at: WallTime,
    /// What it does or waits for, for a person.
    pub message: String,
    /// Why it is not running, for a person; empty when all is well.
    pub error: String,
    /// Set once its process has ended: 0 to 255, 128 + signal when a signal ended it.
    pub exit_code: Option<i32>,
    /// Process id of its first process on the node, while it runs.
    pub pid: Option<i32>,
}

impl TaskStatus {
    /// A status with nothing to add to its state.
    pub fn of(state: TaskState, at: WallTime) -> Self {
        Self {
            state,
            at,
            message: String::new(),
            error: String::new(),
            exit_code: None,
            pid: None,
        }
    }
}

/// A task's address on a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The network.
    pub network: NetworkId,
    /// Unique there.
    pub address: Ipv4Addr,
}
