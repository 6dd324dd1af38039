//! What a user asks for: the spec of a service. Names and defaults are Docker's.

mod container;
pub mod health;
mod mount;
mod update;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::constraint::{Constraint, Key};
use crate::ids::NetworkId;
use crate::resources::{Limits, Resources};

pub use container::{
    ContainerSpec, Device, DnsConfig, FileUse, Privileges, PullPolicy, STOP_GRACE, Seccomp, Ulimit,
};
pub use health::{HealthCheck, HealthTest};
pub use mount::{Mount, MountSource, Propagation, VolumeUse};
pub use update::{FailureAction, UpdateConfig, UpdateOrder};

/// A service as the user described it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    /// Unique in the cluster; also the name other containers find it by.
    pub name: String,
    /// The user's labels on the service.
    pub labels: BTreeMap<String, String>,
    /// How many tasks there are to be.
    pub mode: Mode,
    /// What each task runs.
    pub task: TaskSpec,
    /// Ports on which the service is reached from outside.
    pub ports: Vec<PortSpec>,
    /// How it is found on its networks.
    pub endpoint: EndpointMode,
    /// How its tasks are replaced by those of a new spec.
    pub update: UpdateConfig,
    /// The same on the way back to the spec before.
    pub rollback: UpdateConfig,
    /// A node that was silent for so long has lost the service's tasks; the default is the cluster's.
    pub lost_after: Option<Duration>,
}

impl ServiceSpec {
    /// One replica, and the defaults.
    pub fn new(name: impl Into<String>, task: TaskSpec) -> Self {
        Self {
            name: name.into(),
            labels: BTreeMap::new(),
            mode: Mode::Replicated { replicas: 1 },
            task,
            ports: Vec::new(),
            endpoint: EndpointMode::Vip,
            update: UpdateConfig::default(),
            rollback: UpdateConfig::default(),
            lost_after: None,
        }
    }
}

/// How a service is found on its networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndpointMode {
    /// Its name leads to one virtual address; the default.
    Vip,
    /// Its name leads to the addresses of its tasks.
    Dnsrr,
}

/// How many tasks a service has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// So many, anywhere; the default is one.
    Replicated {
        /// Number of tasks that are to run.
        replicas: u32,
    },
    /// One on each node that meets the constraints.
    Global,
    /// So many that end well, then no more.
    ReplicatedJob {
        /// Tasks that are to end well.
        total: u32,
        /// So many run at the same time.
        max_concurrent: u32,
    },
    /// One on each node that meets the constraints, until it ends well.
    GlobalJob,
}

impl Mode {
    /// Number of tasks that are to run, where the user says it.
    pub fn replicas(self) -> Option<u32> {
        match self {
            Self::Replicated { replicas } => Some(replicas),
            Self::Global | Self::ReplicatedJob { .. } | Self::GlobalJob => None,
        }
    }

    /// Whether its tasks are to end well and then be no more.
    pub fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob { .. } | Self::GlobalJob)
    }

    /// Whether it has one task on each node that meets the constraints.
    pub fn is_global(self) -> bool {
        matches!(self, Self::Global | Self::GlobalJob)
    }
}

/// What a task runs and under which conditions: a change of it means new tasks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSpec {
    /// The container.
    pub container: ContainerSpec,
    /// The most it may use.
    pub limits: Limits,
    /// What its node must have free.
    pub reservations: Resources,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Nodes must meet all of these.
    pub constraints: Vec<Constraint>,
    /// Networks it is attached to, in the order of its interfaces.
    pub networks: Vec<NetworkUse>,
    /// Over what the tasks are spread, the outermost first.
    pub spread: Vec<Key>,
    /// Most tasks of the service on one node; the default is no bound.
    pub max_per_node: Option<u32>,
    /// What the image runs on, filled in by a manager; empty is anything.
    pub platforms: Vec<Platform>,
    /// Reserved of what nodes say they have, by kind.
    pub generic: BTreeMap<String, u64>,
    /// Where its output goes; the default is the node's.
    pub log: Option<LogDriver>,
    /// A number that differs makes new tasks though nothing else does.
    pub force: u64,
}

impl Platform {
    /// Whether a node that says this of itself runs what is built for this platform. An empty word fits
    /// anything; architectures go by OCI's names, whatever a node calls them.
    pub fn fits(&self, os: &str, arch: &str) -> bool {
        let same = |one: &str, other: &str| one.is_empty() || one.eq_ignore_ascii_case(other);
        same(&self.os, os) && same(oci_arch(&self.arch), oci_arch(arch))
    }
}

/// OCI's name of an architecture: `x86_64` is `amd64`.
fn oci_arch(arch: &str) -> &str {
    match arch {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" | "armv8" => "arm64",
        "i386" | "i686" | "x86" => "386",
        "armv7l" | "armhf" | "armv6l" => "arm",
        "powerpc64le" | "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)
    }
}

impl TaskSpec {
    /// The defaults.
    pub fn new(container: ContainerSpec) -> Self {
        Self {
            container,
            limits: Limits::default(),
            reservations: Resources::default(),
            restart: RestartPolicy::default(),
            constraints: Vec::new(),
            networks: Vec::new(),
            spread: Vec::new(),
            max_per_node: None,
            platforms: Vec::new(),
            generic: BTreeMap::new(),
            log: None,
            force: 0,
        }
    }
}

/// What a program is built for, in OCI's words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Platform {
    /// As `linux`.
    pub os: String,
    /// As `amd64`.
    pub arch: String,
}

/// Where a container's output goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDriver {
    /// As `json-file`, `local` or `none`.
    pub name: String,
    /// Its options, such as `max-size`.
    pub options: BTreeMap<String, String>,
}

/// A network a task is attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkUse {
    /// The network.
    pub network: NetworkId,
    /// Names besides the service's by which it is found there.
    pub aliases: Vec<String>,
}

/// What happens when a task ends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestartPolicy {
    /// After which ends there is a new attempt.
    pub condition: RestartCondition,
    /// From the end to the new attempt's start; the default is 5 s.
    pub delay: Duration,
    /// So many new attempts within the window, then no more; the default is no bound.
    pub max_attempts: Option<u32>,
    /// The window in which attempts are counted; zero, the default, means for ever.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            condition: RestartCondition::Any,
            delay: Duration::from_secs(5),
            max_attempts: None,
            window: Duration::ZERO,
        }
    }
}

/// After which ends a task is replaced by a new attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartCondition {
    /// Never.
    None,
    /// When it failed.
    OnFailure,
    /// However it ended; the default.
    Any,
}

/// A port on which a service is reached from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSpec {
    /// The transport.
    pub protocol: Protocol,
    /// The port inside the container.
    pub target: u16,
    /// The port outside; `None` lets a manager choose one from 30000 to 32767.
    pub published: Option<u16>,
    /// Where it is open.
    pub mode: PublishMode,
}

/// The transport of a published port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

/// Where a published port is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishMode {
    /// On every node; any task answers. The default.
    Ingress,
    /// Only where a task runs, and only that task answers.
    Host,
}
