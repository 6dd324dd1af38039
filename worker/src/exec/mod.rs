//! Containers on this node: their images, from a description to processes, and back to nothing.
//!
//! [`Exec`] is the seam between what a task needs and how it is done: the simulation has one in memory. Each
//! file below does one thing to a container and knows nothing of services or managers.

pub mod bundle;
pub mod cgroup;
pub mod container;
pub mod containers;
pub mod image;
pub mod logs;
pub mod mounts;
mod obtain;
pub mod runtime;
pub mod seccomp;
pub mod shim;
mod shown;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use skep_proto::assignment::AssignedTask;
use skep_proto::file::{Content, FileKind};
use skep_proto::ids::TaskId;
use skep_proto::image::Digest;
use skep_proto::time::WallTime;

use crate::health::Check;

use runtime::{ExecPlan, RunEnd};

/// Why something could not be done to a container, for a person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{words}")]
pub struct ExecError {
    words: String,
    passing: bool,
}

impl ExecError {
    /// With these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            passing: false,
        }
    }

    /// With these words, for what may go well later without anybody doing anything here.
    pub fn passing(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            passing: true,
        }
    }

    /// Whether it may go well later.
    pub fn passes(&self) -> bool {
        self.passing
    }

    /// From an error and all that caused it.
    pub fn from_chain(error: &dyn std::error::Error) -> Self {
        Self::new(crate::report::with_causes(error))
    }
}

/// How a container ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// 0 to 255, 128 + signal when a signal ended it; none when nobody knows.
    pub code: Option<i32>,
    /// When.
    pub at: WallTime,
    /// For a person, when there is something to say.
    pub error: String,
}

/// A container that was found when the daemon started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Whose it is.
    pub task: TaskId,
    /// When it came to this.
    pub since: WallTime,
    /// Where it stands.
    pub stage: FoundStage,
}

/// Where a found container stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundStage {
    /// Made and not started.
    Created,
    /// Its program runs.
    Running {
        /// Its first process.
        pid: i32,
    },
    /// It has ended.
    Ended(Exit),
}

/// A secret or config as a container shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenFile {
    /// Absolute, in the container.
    pub target: String,
    /// What it holds.
    pub content: Content,
    /// Secrets cannot be run.
    pub kind: FileKind,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// What a task needs of this machine besides its network.
pub trait Exec: Send + Sync + 'static {
    /// Makes the task's image be here, whole and verified, and stay until the task is removed. May be dropped
    /// half way.
    fn fetch(&self, task: &AssignedTask) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Makes a task's container in the network namespace at `netns`, up to the point before its program
    /// runs. When it fails nothing is left.
    fn create(
        &self,
        task: &AssignedTask,
        netns: &Path,
    ) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Shows files in its container, made or running; each takes the place of what was shown there, at once. What
    /// they hold is on no disk.
    fn give(
        &self,
        task: TaskId,
        files: Vec<GivenFile>,
    ) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Runs its program and gives its process id.
    fn start(&self, task: TaskId) -> impl Future<Output = Result<i32, ExecError>> + Send;

    /// Sends a signal, or the one that its image wants, to its first process.
    fn signal(
        &self,
        task: TaskId,
        signal: Option<i32>,
    ) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// How many connections its programs have not accepted yet.
    fn waiting(&self, _task: TaskId) -> impl Future<Output = usize> + Send {
        std::future::ready(0)
    }

    /// Ends all of its processes at once.
    fn kill(&self, task: TaskId) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Waits until it has ended. May be dropped and asked again.
    fn wait(&self, task: TaskId) -> impl Future<Output = Exit> + Send;

    /// Runs a further program in its container to the end, such as a health check, and gives the last `keep`
    /// bytes of what it wrote. One that takes longer than `within` is killed and has no exit code.
    fn run(
        &self,
        task: TaskId,
        plan: &ExecPlan,
        within: Duration,
        keep: usize,
    ) -> impl Future<Output = Result<RunEnd, ExecError>> + Send;

    /// Takes away all that is left of it; what is not there is gone already.
    fn remove(&self, task: TaskId) -> impl Future<Output = Result<(), ExecError>> + Send;

    /// Finds the containers that a former daemon left, and takes away what belongs to none.
    fn recover(&self) -> impl Future<Output = Result<Vec<Found>, ExecError>> + Send;

    /// What a task's user is to know while it runs, such as that its volume is a new one; empty if there is nothing.
    fn note(&self, _task: TaskId) -> String {
        String::new()
    }

    /// The health check of a task: its service's, else its image's.
    fn check(&self, _task: &AssignedTask) -> impl Future<Output = Option<Check>> + Send {
        std::future::ready(None)
    }

    /// Volumes of this node that have a name of the user's, ascending. Blocks shortly.
    fn volumes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Manifests of the images that are here whole, ascending.
    fn images(&self) -> Vec<Digest>;
}
