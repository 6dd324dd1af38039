//! What a manager tells a worker, and what a worker reports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::file::FileId;
use crate::ids::{NetworkId, ServiceId, TaskId};
use crate::image::{Digest, RegistryAuth};
use crate::spec::{Protocol, TaskSpec};
use crate::task::{Slot, TaskState, TaskStatus};
use crate::view::View;

/// Which cluster state an assignment was made from. A worker refuses an older one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation {
    /// Of the cluster; raised when it is restored or forced.
    pub incarnation: u64,
    /// Raft term of the leader that sent it.
    pub term: u64,
    /// Log index of the state it shows.
    pub index: u64,
}

/// All that a worker is to do. A task that is not in it is not to be on the node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    /// The state it shows.
    pub generation: Generation,
    /// Tasks by id.
    pub tasks: BTreeMap<TaskId, Arc<AssignedTask>>,
    /// What its networks must look like.
    pub view: Arc<View>,
}

impl Assignment {
    /// Contents of secrets and configs that its tasks need: those that are to run. A worker holds these and no
    /// others.
    pub fn contents(&self) -> BTreeSet<(FileId, u64)> {
        let to_run = |task: &&Arc<AssignedTask>| task.desired <= TaskState::Running;
        let tasks = self.tasks.values().filter(to_run);
        let files = tasks.flat_map(|task| &task.files);
        files.map(|it| (it.file, it.revision)).collect()
    }
}

/// A task as its worker sees it: whole, with nothing left to look up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssignedTask {
    /// The task.
    pub id: TaskId,
    /// Its service.
    pub service: ServiceId,
    /// Name of the service.
    pub service_name: String,
    /// Its place in the service.
    pub slot: Slot,
    /// What it is to run.
    pub spec: Arc<TaskSpec>,
    /// Where it is to get to: Ready, Running, Shutdown or Remove.
    pub desired: TaskState,
    /// Its addresses.
    pub attachments: Vec<AssignedAttachment>,
    /// It is out of names and virtual addresses everywhere: the stop signal may go out now.
    pub drained: bool,
    /// For its image's registry. A worker does not write it down.
    pub auth: Option<Arc<RegistryAuth>>,
    /// Revisions of the secrets and configs that it is given, ascending by id.
    pub files: Vec<AssignedFile>,
}

/// Which revision of a file a task is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignedFile {
    /// The secret or config.
    pub file: FileId,
    /// The revision.
    pub revision: u64,
    /// The last revision up to this one that came with a signal, and that signal.
    pub signal: Option<(u64, i32)>,
}

impl AssignedTask {
    /// The container's name: SERVICE.SLOT.TASKID.
    pub fn container_name(&self) -> String {
        format!("{}.{}.{}", self.service_name, self.slot, self.id)
    }
}

/// An address of an assigned task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssignedAttachment {
    /// The network.
    pub network: NetworkId,
    /// Address of the task there.
    pub address: Ipv4Addr,
    /// Range of the network.
    pub subnet: Ipv4Net,
    /// Names of the task there besides its container's.
    pub aliases: Vec<String>,
    /// The network of published ports.
    pub ingress: bool,
}

/// What a worker has to say. Sent again until it is acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Last status of each task that has news.
    pub tasks: Vec<(TaskId, TaskStatus)>,
    /// Revision that is programmed, for each network of the view.
    pub networks: Vec<(NetworkId, u64)>,
    /// Manifests of images that this node holds whole, when that changed.
    pub images: Option<Vec<Digest>>,
    /// Published ports that another program on this node holds, when that changed.
    pub taken_ports: Option<Vec<(Protocol, u16)>>,
    /// Names of the volumes that are on this node, ascending, when that changed.
    pub volumes: Option<Vec<String>>,
}
