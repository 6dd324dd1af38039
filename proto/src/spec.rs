//! What a user asks for: the spec of a service. Names and defaults are Docker's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::constraint::Constraint;
use crate::ids::NetworkId;
use crate::image::ImageRef;
use crate::resources::{Limits, Resources};

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
}

/// How many tasks a service has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// So many, anywhere; the default is one.
    Replicated {
        /// Number of tasks that are to run.
        replicas: u32,
    },
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
}

/// A container as the user described it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerSpec {
    /// The image; a manager adds the digest when the service is created.
    pub image: ImageRef,
    /// Replaces the image's command when not empty.
    pub args: Vec<String>,
    /// `NAME=value`, over the image's own.
    pub env: Vec<String>,
    /// The user's labels on the container.
    pub labels: BTreeMap<String, String>,
    /// Host name inside; the default is the first 12 characters of the task's id.
    pub hostname: Option<String>,
    /// Sent to stop it; the default is the image's, then SIGTERM (15).
    pub stop_signal: Option<i32>,
    /// From the stop signal to SIGKILL; the default is 10 s.
    pub stop_grace: Duration,
}

/// The default of [`ContainerSpec::stop_grace`].
pub const STOP_GRACE: Duration = Duration::from_secs(10);

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
