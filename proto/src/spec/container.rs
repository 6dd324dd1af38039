//! What a container is, as the user described it. Names and defaults are Docker's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{HealthCheck, Mount};
use crate::ids::{ConfigId, SecretId};
use crate::image::ImageRef;

/// The default of [`ContainerSpec::stop_grace`].
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// A container as the user described it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerSpec {
    /// The image; a manager adds the digest when the service is created.
    pub image: ImageRef,
    /// When a node asks the registry for the image.
    pub pull: PullPolicy,
    /// Replaces the image's entrypoint when not empty; the image's command is then not used either.
    pub entrypoint: Vec<String>,
    /// Replaces the image's command when not empty.
    pub args: Vec<String>,
    /// `NAME=value`, over the image's own.
    pub env: Vec<String>,
    /// The user's labels on the container.
    pub labels: BTreeMap<String, String>,
    /// Host name inside; the default is the first 12 characters of the task's id.
    pub hostname: Option<String>,
    /// `NAME|UID[:NAME|GID]`; the default is the image's, then root.
    pub user: Option<String>,
    /// Further groups of the user, by name or number.
    pub groups: Vec<String>,
    /// Absolute; the default is the image's, then `/`.
    pub workdir: Option<String>,
    /// Its standard streams are a terminal.
    pub tty: bool,
    /// Its root file system cannot be written.
    pub read_only: bool,
    /// A small init is its first process, which passes signals on and reaps.
    pub init: bool,
    /// Sent to stop it; the default is the image's, then SIGTERM (15).
    pub stop_signal: Option<i32>,
    /// From the stop signal to SIGKILL; the default is 10 s.
    pub stop_grace: Duration,
    /// Whether it is well; the default is the image's check, then none.
    pub health: Option<HealthCheck>,
    /// File systems inside, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// Secrets it is given.
    pub secrets: Vec<FileUse<SecretId>>,
    /// Configs it is given.
    pub configs: Vec<FileUse<ConfigId>>,
    /// `(name, address)`: further lines of /etc/hosts.
    pub hosts: Vec<(String, IpAddr)>,
    /// Its resolver's settings.
    pub dns: DnsConfig,
    /// Linux' ways to give it more or less than others have.
    pub privileges: Privileges,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of single processes; the default is the daemon's.
    pub ulimits: Vec<Ulimit>,
    /// -1000 to 1000: whom the kernel ends first when memory is short.
    pub oom_score_adj: i32,
    /// Bytes of /dev/shm; the default is 64 MiB.
    pub shm_size: Option<u64>,
}

impl ContainerSpec {
    /// The defaults, for an image that a manager has yet to resolve.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: ImageRef {
                name: image.into(),
                digest: None,
            },
            pull: PullPolicy::Missing,
            entrypoint: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            labels: BTreeMap::new(),
            hostname: None,
            user: None,
            groups: Vec::new(),
            workdir: None,
            tty: false,
            read_only: false,
            init: false,
            stop_signal: None,
            stop_grace: STOP_GRACE,
            health: None,
            mounts: Vec::new(),
            secrets: Vec::new(),
            configs: Vec::new(),
            hosts: Vec::new(),
            dns: DnsConfig::default(),
            privileges: Privileges::default(),
            sysctls: BTreeMap::new(),
            ulimits: Vec::new(),
            oom_score_adj: 0,
            shm_size: None,
        }
    }
}

/// When a node asks the registry for an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PullPolicy {
    /// When it does not hold the content; the default.
    #[default]
    Missing,
    /// Whenever a task is made, to learn that it may still be had.
    Always,
    /// Never: the node must hold it, or get it from another node.
    Never,
}

/// The resolver's settings in a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DnsConfig {
    /// Asked for what the cluster does not know; the default is the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains; the default is the host's.
    pub search: Vec<String>,
    /// Options, such as `ndots:2`.
    pub options: Vec<String>,
}

/// What a container may do beyond, or not do of, what Docker gives by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Privileges {
    /// Capabilities added, such as `NET_ADMIN` or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, such as `CHOWN` or `ALL`.
    pub cap_drop: Vec<String>,
    /// All capabilities and devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// No program may gain privileges by exec.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Devices of the node it sees.
    pub devices: Vec<Device>,
}

/// Which system calls a container may make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Seccomp {
    /// Docker's list; the default.
    #[default]
    Docker,
    /// All.
    Unconfined,
}

/// A device of the node inside a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Path on the node.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Of `r`, `w` and `m`.
    pub permissions: String,
}

/// A limit of single processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ulimit {
    /// As `nofile`.
    pub name: String,
    /// What a process begins with; -1 is no limit.
    pub soft: i64,
    /// What it may raise that to; -1 is no limit.
    pub hard: i64,
}

/// A secret or config as a file inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileUse<I> {
    /// Which.
    pub id: I,
    /// Its name when the service was made, for people.
    pub name: String,
    /// Absolute path inside.
    pub target: String,
    /// Owner, as `UID`.
    pub uid: u32,
    /// Group, as `GID`.
    pub gid: u32,
    /// Permission bits; the default is 0444.
    pub mode: u32,
    /// The revision it began with; nothing until a manager has filled in the newest.
    pub revision: Option<u64>,
}
