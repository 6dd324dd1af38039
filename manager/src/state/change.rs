//! What is written: facts, never commands to compute. Pure.

use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_proto::cluster::Cluster;
use skep_proto::drill::{Drill, DrillKind};
use skep_proto::file::{Content, File, FileId};
use skep_proto::ids::{
    ClusterId, DrillId, NetworkId, NodeId, RequestId, ServiceId, TaskId, TokenId,
};
use skep_proto::image::{Digest, Image};
use skep_proto::network::Network;
use skep_proto::node::{Node, NodeStatus};
use skep_proto::service::{Service, Update};
use skep_proto::task::{Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};
use skep_proto::token::StoredToken;

/// One fact. A `Put…` carries the object whole; its `version` field names the version it was made from
/// (0: it is new), and `apply` writes the entry's index there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The cluster's own object.
    PutCluster(Arc<Cluster>),
    /// A node.
    PutNode(Arc<Node>),
    /// A node is no longer of the cluster.
    DeleteNode {
        /// Which.
        node: NodeId,
        /// The version this was decided on.
        version: u64,
    },
    /// A node went up or down.
    Turned {
        /// Which.
        node: NodeId,
        /// What it is now.
        status: NodeStatus,
    },
    /// A node was given an address on ingress.
    GaveIngress {
        /// Which.
        node: NodeId,
        /// The address.
        address: Ipv4Addr,
    },
    /// A service. It is removed by putting it with `removed` set.
    PutService(Arc<Service>),
    /// An update of a service got further, or stopped.
    Progressed {
        /// Whose.
        service: ServiceId,
        /// The version this was decided on.
        version: u64,
        /// Where it stands now.
        update: Arc<Update>,
    },
    /// Nothing is left of a removed service.
    DeleteService {
        /// Which.
        service: ServiceId,
        /// The version this was decided on.
        version: u64,
    },
    /// A task.
    PutTask(Arc<Task>),
    /// Nothing is to be kept of a task.
    DeleteTask {
        /// Which.
        task: TaskId,
        /// The version this was decided on.
        version: u64,
    },
    /// Where a task is to get to. Never lower than before.
    SetDesired {
        /// Which.
        task: TaskId,
        /// The new desired state.
        desired: TaskState,
    },
    /// A task is told to end, since an update gives its slot to another. A task that runs is given up only in
    /// a slot that the update names as being replaced, or where another runs that takes its place: a drain that
    /// surges ends tasks so too.
    Replaced {
        /// Which.
        task: TaskId,
        /// The revision that the update leads to.
        revision: u64,
    },
    /// A worker saw a task there. Never lower than before.
    Observed {
        /// Which.
        task: TaskId,
        /// What was seen.
        status: TaskStatus,
    },
    /// A task that is to stop is out of names and virtual addresses everywhere.
    Drained {
        /// Which.
        task: TaskId,
    },
    /// Every node that had to know knows that an ended task is gone: its addresses are free.
    Released {
        /// Which.
        task: TaskId,
    },
    /// A network.
    PutNetwork(Arc<Network>),
    /// A network is gone.
    DeleteNetwork {
        /// Which.
        network: NetworkId,
        /// The version this was decided on.
        version: u64,
    },
    /// A secret or config.
    PutFile {
        /// It.
        file: Arc<File>,
        /// Of its newest revision, when that is new.
        content: Option<Content>,
    },
    /// A secret or config is gone, with all of its contents.
    DeleteFile {
        /// Which.
        file: FileId,
        /// The version this was decided on.
        version: u64,
    },
    /// Nothing uses an old content of a file any more.
    DropContent {
        /// Of which.
        file: FileId,
        /// Not the newest.
        revision: u64,
    },
    /// A token.
    PutToken(Arc<StoredToken>),
    /// A token is gone: it is refused from now on.
    DeleteToken {
        /// Which.
        token: TokenId,
        /// The version this was decided on.
        version: u64,
    },
    /// A drill: begun, obeyed, or ended.
    PutDrill(Arc<Drill>),
    /// An image name and what it stands for.
    PutImage(Arc<Image>),
    /// An image name is no longer known.
    DeleteImage {
        /// Which.
        name: String,
    },
}

/// What is appended to the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// Cluster time of its proposal.
    pub time: ClusterTime,
    /// Wall clock of its proposal, for display.
    pub wall: WallTime,
    /// The user's command, if it is one. A repeat gets the first answer and changes nothing.
    pub request: Option<RequestId>,
    /// What a repeat gets.
    pub answer: Answer,
    /// A plan's entry: it has looked at all changes up to this index.
    pub looked: Option<u64>,
    /// All or nothing: set for commands of users. Otherwise only what does not fit is dropped.
    pub atomic: bool,
    /// Who asked, as `user@host`; empty where nobody did.
    pub by: String,
    /// In their order.
    pub changes: Vec<Change>,
}

/// What a request got.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Answer {
    /// It is done; there is nothing to add.
    #[default]
    Done,
    /// This cluster was made.
    Cluster(ClusterId),
    /// This node joined.
    Node(NodeId),
    /// This service was made or changed.
    Service(ServiceId),
    /// This network was made or changed.
    Network(NetworkId),
    /// This image is known.
    Image(Digest),
    /// This secret or config was made or changed.
    File(FileId),
    /// This drill was begun or ended.
    Drill(DrillId),
}

/// What became of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Its log index.
    pub index: u64,
    /// Changes that did not fit. If the entry was atomic and this is not empty, nothing was changed.
    pub dropped: Vec<Dropped>,
    /// The request had been applied before, and this was its answer; nothing was changed.
    pub repeated: Option<Answer>,
}

/// A change that did not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// Its position in the entry, from 0.
    pub position: usize,
    /// Why.
    pub reason: Misfit,
}

/// Why a change does not fit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    /// It was made from another version.
    #[error(
        "{object} has changed meanwhile (it was at {made_from}, it is at {current}); read it again and repeat"
    )]
    Stale {
        /// What it is about.
        object: String,
        /// The version named.
        made_from: u64,
        /// The version that is there.
        current: u64,
    },
    /// It is new, but there is one already.
    #[error("{object} exists already")]
    Exists {
        /// What it is about.
        object: String,
    },
    /// What it changes, or names, is not there.
    #[error("{object} does not exist")]
    Missing {
        /// What it is about.
        object: String,
    },
    /// The name belongs to another.
    #[error("the name \"{name}\" is taken by another {kind}; choose another name")]
    NameTaken {
        /// `service`, `network`, `secret`, `config` or `token`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A published port belongs to another service.
    #[error("port {port} is already published by service \"{service}\"; choose another port")]
    PortTaken {
        /// Number and transport, such as `80/tcp`.
        port: String,
        /// Name of the service that holds it.
        service: String,
    },
    /// An address belongs to another.
    #[error("address {address} is held already")]
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
    },
    /// A network's range overlaps another's.
    #[error("{subnet} overlaps {other} of network \"{network}\"; choose another range")]
    Overlaps {
        /// The new range.
        subnet: String,
        /// The range that is there.
        other: String,
        /// Name of its network.
        network: String,
    },
    /// A number that must be unique is held already.
    #[error("{kind} {number} is held already")]
    NumberTaken {
        /// What it numbers.
        kind: &'static str,
        /// The number.
        number: u64,
    },
    /// Without it nobody would decide.
    #[error("node {node} is the last manager; make another node one first: skep node promote NODE")]
    LastManager {
        /// The node.
        node: NodeId,
    },
    /// There are as many as there can be.
    #[error("there are {most} {what} already; remove those that nobody uses any more")]
    TooMany {
        /// What of.
        what: &'static str,
        /// So many.
        most: usize,
    },
    /// Something still uses it.
    #[error("{object} is in use by {user}; remove that first")]
    InUse {
        /// What it is about.
        object: String,
        /// Who uses it.
        user: String,
    },
    /// The slot has a task that is to run.
    #[error("slot {slot} of the service has a task that is to run")]
    SlotTaken {
        /// The slot.
        slot: String,
    },
    /// No update that goes on leads there, or it does not replace the slot.
    #[error("task {task} is not replaced by an update to revision {revision}")]
    NotReplaced {
        /// The task.
        task: TaskId,
        /// The revision named.
        revision: u64,
    },
    /// The node cannot be given a task.
    #[error("node {node} takes no task: {reason}")]
    NodeRefuses {
        /// The node.
        node: NodeId,
        /// Why.
        reason: &'static str,
    },
    /// The observed or desired state would go down.
    #[error("task {task} would go back from {from} to {to}")]
    Backwards {
        /// The task.
        task: TaskId,
        /// Where it is.
        from: TaskState,
        /// Where it would go.
        to: TaskState,
    },
    /// Something that is set once would change.
    #[error("{what} of {object} is set once")]
    SetOnce {
        /// What it is about.
        object: String,
        /// What would change.
        what: &'static str,
    },
    /// There is a drill already.
    #[error(
        "another drill is not over: {kind} of {target}, begun by {by}; wait for its end; see: skep drill ls"
    )]
    Drilled {
        /// Which kind.
        kind: DrillKind,
        /// Of what.
        target: String,
        /// Who began it.
        by: String,
    },
    /// More than is kept.
    #[error("{object} has {bytes} bytes; at most {most} are kept")]
    TooLong {
        /// What it is about.
        object: String,
        /// Its length.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The task has not got so far.
    #[error("task {task} is {state}: it holds on to what it has")]
    NotEnded {
        /// The task.
        task: TaskId,
        /// Where it is.
        state: TaskState,
    },
}

impl Outcome {
    /// Whether all of the entry was applied, now or before.
    pub fn fits(&self) -> bool {
        self.dropped.is_empty()
    }
}
