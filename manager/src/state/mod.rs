//! What the cluster committed: typed tables, and `apply`, the one writer. Pure.
//!
//! Tables are persistent maps of shared objects, so a clone is O(1): draft, snapshot and stale read are
//! clones. Indexes and dirty marks are kept here by `apply` alone and are never set from outside. This room
//! asks no clock, opens no file, draws no random number and never panics, whatever it is given.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod apply;
mod change;
mod drills;
mod events;
mod files;
#[cfg(test)]
mod files_tests;
mod index;
mod object;
mod read;
#[cfg(test)]
mod tests;
mod tokens;

use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use skep_proto::cluster::Cluster;
use skep_proto::drill::Drill;
use skep_proto::file::{Content, File, FileId, FileKind};
use skep_proto::ids::{DrillId, NetworkId, NodeId, RequestId, ServiceId, TaskId, TokenId};
use skep_proto::image::Image;
use skep_proto::network::Network;
use skep_proto::node::Node;
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::task::{Slot, Task};
use skep_proto::time::ClusterTime;
use skep_proto::token::StoredToken;

pub use change::{Answer, Change, Dropped, Entry, Misfit, Outcome};
pub use drills::DRILLS_KEPT;
pub use events::{EVENTS_AGE, EVENTS_KEPT, EventPlace};
pub use files::uses;
pub use object::{Meta, Object};
pub use read::endpoint_state;

/// A repeat of a request gets the first answer for so long.
pub const REQUESTS_KEPT: std::time::Duration = std::time::Duration::from_secs(600);
/// Failures of a service on a node that are remembered; that many within five minutes rank the node last.
pub const FAILURES_KEPT: usize = 5;
/// A task that failed after having been there for so long does not count as failing again.
pub const STEADY_AFTER: std::time::Duration = std::time::Duration::from_secs(60);
/// Restarts of a slot that are remembered: more attempts than this within a window are not told apart.
pub const RESTARTS_KEPT: usize = 1024;

/// All that a cluster keeps. Two replicas that applied the same log are equal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    meta: Meta,
    cluster: Option<Arc<Cluster>>,
    nodes: OrdMap<NodeId, Arc<Node>>,
    services: OrdMap<ServiceId, Arc<Service>>,
    tasks: OrdMap<TaskId, Arc<Task>>,
    networks: OrdMap<NetworkId, Arc<Network>>,
    images: OrdMap<String, Arc<Image>>,
    files: OrdMap<FileId, Arc<File>>,
    /// Contents that are kept, by revision.
    contents: OrdMap<(FileId, u64), Content>,
    tokens: OrdMap<TokenId, Arc<StoredToken>>,
    drills: OrdMap<DrillId, Arc<Drill>>,
    /// Addresses of nodes on the ingress network.
    gateways: OrdMap<NodeId, Ipv4Addr>,
    requests: OrdMap<RequestId, Answered>,
    /// When what happened to each task.
    times: OrdMap<TaskId, Times>,
    restarts: OrdMap<(ServiceId, Slot), Arc<Restarts>>,
    failures: OrdMap<(ServiceId, NodeId), Arc<Vec<ClusterTime>>>,
    /// Log index of the last change to anything in a network's view.
    revisions: OrdMap<NetworkId, u64>,
    /// What changed and no plan has looked at yet, with the log index of its last change.
    marks: OrdMap<Mark, u64>,
    journal: events::Journal,
    index: Index,
}

/// What can be found without looking at everything; a function of the tables.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Index {
    service_names: OrdMap<String, ServiceId>,
    network_names: OrdMap<String, NetworkId>,
    file_names: OrdMap<(FileKind, String), FileId>,
    token_names: OrdMap<String, TokenId>,
    numbers: OrdMap<u16, NodeId>,
    vnis: OrdMap<u32, NetworkId>,
    by_service: OrdSet<(ServiceId, Slot, TaskId)>,
    /// How many tasks that are to run a slot has, where it has some.
    filled: OrdMap<(ServiceId, Slot), u32>,
    /// Slots with several of them.
    doubled: OrdSet<(ServiceId, Slot)>,
    /// Tasks that are to run and have ended.
    over: OrdSet<(ServiceId, Slot, TaskId)>,
    /// Tasks that have been told to end.
    leaving: OrdSet<(ServiceId, Slot, TaskId)>,
    /// Tasks by node, with what they reserve there.
    by_node: OrdMap<(NodeId, TaskId), Resources>,
    by_network: OrdSet<(NetworkId, ServiceId)>,
    by_file: OrdSet<(FileId, ServiceId)>,
    /// Contents that are kept and not the newest of their file.
    superseded: OrdSet<(FileId, u64)>,
    addresses: OrdMap<(NetworkId, Ipv4Addr), Holder>,
    ports: OrdMap<(Protocol, u16, ServiceId), PublishMode>,
    loads: OrdMap<NodeId, Load>,
    spread: OrdMap<(ServiceId, NodeId), u32>,
    /// Tasks that wait for a node, those that are alike together.
    pending: OrdSet<(ServiceId, u64, TaskId)>,
    /// Tasks that are ready to run at a time, ascending by it.
    delayed: OrdSet<(ClusterTime, TaskId)>,
    /// Tasks that are made ready and wait for the end of the one before in their slot.
    held: OrdSet<TaskId>,
    /// Tasks that are to stop, have not, and may not be sent the stop signal yet.
    draining: OrdSet<TaskId>,
    /// Tasks that ended and still hold addresses.
    releasing: OrdSet<TaskId>,
    /// What tasks of a node that have not ended reserve of other things, by kind.
    generic: OrdMap<(NodeId, String), u64>,
    /// Services that have a task on each node that meets the constraints.
    global: OrdSet<ServiceId>,
    /// Services that were removed and are still there.
    removed: OrdSet<ServiceId>,
    /// Services whose update goes on.
    updating: OrdSet<ServiceId>,
    /// Nodes that are down.
    down: OrdSet<NodeId>,
    /// Nodes whose tasks give way to others.
    surging: OrdSet<NodeId>,
    /// Nodes that are managers, without those that are to be workers.
    managers: OrdSet<NodeId>,
    /// Answered requests by age.
    requests: OrdSet<(ClusterTime, RequestId)>,
}

/// Who holds an address of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A task.
    Task(TaskId),
    /// A service: its virtual address.
    Vip(ServiceId),
    /// A node: its address on ingress.
    Node(NodeId),
}

/// What the tasks on a node take: those that have not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Reserved by them.
    pub reserved: Resources,
    /// Their number.
    pub tasks: u32,
}

/// When what happened to a task, by cluster time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// It was seen running.
    pub running: Option<ClusterTime>,
    /// It was told to end.
    pub stopping: Option<ClusterTime>,
    /// It was seen ended.
    pub ended: Option<ClusterTime>,
    /// It is out of names and virtual addresses everywhere: the stop signal may go out.
    pub drained: bool,
    /// Its node was down when it was told to end: it was replaced without having been stopped.
    pub lost: bool,
}

/// New attempts in a slot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restarts {
    /// The template they were made from; another one begins anew.
    pub template: u64,
    /// Number of them.
    pub total: u64,
    /// When the last [`RESTARTS_KEPT`] were made, ascending.
    pub times: Vec<ClusterTime>,
    /// So many attempts in a row failed soon after they had been made.
    pub failed: u32,
}

/// A request that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// When.
    pub at: ClusterTime,
    /// Log index of its entry.
    pub index: u64,
    /// What it got.
    pub answer: Answer,
}

/// Something that changed: where a plan has to look.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mark {
    /// The cluster's own settings.
    Cluster,
    /// A node, its status or its tasks' being there.
    Node(NodeId),
    /// A service's own object.
    Service(ServiceId),
    /// A task in a slot.
    Slot(ServiceId, Slot),
    /// A network's own object.
    Network(NetworkId),
}
