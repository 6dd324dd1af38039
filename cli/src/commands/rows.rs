//! What lists and inspections show: flat objects with stable lower-case keys.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use skep_proto::network::Network;
use skep_proto::node::Node;
use skep_proto::service::{PortBinding, Service};
use skep_proto::spec::{Mode, Protocol, PublishMode, TaskSpec};
use skep_proto::task::Task;
use skep_proto::time::WallTime;
use skep_proto::wire::v1;

/// A time as RFC 3339 in UTC.
pub fn time(at: WallTime) -> String {
    i64::try_from(at.unix_millis())
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map_or_else(String::new, |time| time.to_string())
}

/// How long ago a time was, in one unit: `5 seconds ago`.
pub fn ago(at: &str) -> String {
    let Ok(then) = at.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = Timestamp::now()
        .as_second()
        .saturating_sub(then.as_second())
        .max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// A service in a list.
#[derive(Serialize, Debug)]
pub struct ServiceRow {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// `replicated`, `global`, `replicated-job` or `global-job`.
    pub mode: String,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that are to run.
    pub desired: u32,
    /// Of a job: tasks that ended well.
    pub completed: Option<u32>,
    /// Of a replicated job: tasks that are to end well.
    pub total: Option<u32>,
    /// Image.
    pub image: String,
    /// Published ports as Docker writes them.
    pub ports: Vec<String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

impl ServiceRow {
    /// From what a manager answered.
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn read(entry: v1::ServiceEntry) -> anyhow::Result<Self> {
        let service = Service::try_from(entry.service.context("an answer without a service")?)?;
        Ok(Self {
            id: service.id.to_string(),
            name: service.spec.name.clone(),
            mode: mode(service.spec.mode).into(),
            running: entry.running,
            desired: entry.desired,
            completed: entry.completed,
            total: match service.spec.mode {
                Mode::ReplicatedJob { total, .. } => Some(total),
                _ => None,
            },
            image: service.spec.task.container.image.name.clone(),
            ports: service.ports.iter().map(port).collect(),
            labels: service.spec.labels.clone(),
        })
    }
}

/// A mode by Docker's name.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Replicated { .. } => "replicated",
        Mode::Global => "global",
        Mode::ReplicatedJob { .. } => "replicated-job",
        Mode::GlobalJob => "global-job",
    }
}

/// `*:8080->80/tcp`
pub fn port(binding: &PortBinding) -> String {
    let protocol = match binding.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let place = if binding.mode == PublishMode::Host {
        "host:"
    } else {
        "*:"
    };
    format!(
        "{place}{}->{}/{protocol}",
        binding.published, binding.target
    )
}

/// A task in a list.
#[derive(Serialize, Debug)]
pub struct TaskRow {
    /// Id, also of the container.
    pub id: String,
    /// SERVICE.SLOT
    pub name: String,
    /// Name of the service.
    pub service: String,
    /// Number of the replica.
    pub slot: String,
    /// Image.
    pub image: String,
    /// Host name of the node; empty while there is none.
    pub node: String,
    /// Id of the node; empty while there is none.
    pub node_id: String,
    /// Where it is to get to.
    pub desired: String,
    /// Where it is.
    pub state: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What it does or waits for.
    pub message: String,
    /// Why it is not running.
    pub error: String,
    /// Set once it has ended.
    pub exit_code: Option<i32>,
    /// Its first process on its node.
    pub pid: Option<i32>,
    /// Its addresses.
    pub addresses: Vec<String>,
}

impl TaskRow {
    /// From what a manager answered.
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn read(entry: v1::TaskEntry) -> anyhow::Result<Self> {
        let task = Task::try_from(entry.task.context("an answer without a task")?)?;
        let spec = entry.spec.map(TaskSpec::try_from).transpose()?;
        Ok(Self {
            id: task.id.to_string(),
            name: format!("{}.{}", entry.service_name, task.slot),
            service: entry.service_name,
            slot: task.slot.to_string(),
            image: spec
                .map(|spec| spec.container.image.name)
                .unwrap_or_default(),
            node: entry.node_name,
            node_id: task.node.map(|node| node.to_string()).unwrap_or_default(),
            desired: task.desired.to_string(),
            state: task.status.state.to_string(),
            since: time(task.status.at),
            message: task.status.message,
            error: task.status.error,
            exit_code: task.status.exit_code,
            pid: task.status.pid,
            addresses: task
                .attachments
                .iter()
                .map(|at| at.address.to_string())
                .collect(),
        })
    }
}

/// A node in a list.
#[derive(Serialize, Debug)]
pub struct NodeRow {
    /// Id.
    pub id: String,
    /// Host name.
    pub name: String,
    /// It is the node whose daemon was asked; known in lists alone.
    #[serde(rename = "self")]
    pub own: bool,
    /// `accepted`
    pub membership: String,
    /// `ready`, `down` or `unknown`.
    pub state: String,
    /// Why it is so.
    pub message: String,
    /// `active`, `pause` or `drain`.
    pub availability: String,
    /// `manager` or `worker`.
    pub role: String,
    /// `leader`, `reachable`, `unreachable`; empty for a worker.
    pub manager: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Version of skep.
    pub engine: String,
    /// Processor time in billionths of a core.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Operating system and architecture.
    pub platform: String,
    /// Tasks that run there.
    pub running: u32,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// The daemon's labels.
    pub engine_labels: BTreeMap<String, String>,
}

impl NodeRow {
    /// From what a manager answered.
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn read(entry: v1::NodeEntry) -> anyhow::Result<Self> {
        let node = Node::try_from(entry.node.context("an answer without a node")?)?;
        let manager = match (node.manages(), entry.leader, entry.reachable) {
            (false, ..) => "",
            (true, true, _) => "leader",
            (true, false, true) => "reachable",
            (true, false, false) => "unreachable",
        };
        let description = node.description;
        Ok(Self {
            id: node.id.to_string(),
            name: description.hostname,
            own: false,
            membership: "accepted".into(),
            state: node.status.state.to_string(),
            message: node.status.message,
            availability: node.spec.availability.to_string(),
            role: node.spec.role.to_string(),
            manager: manager.into(),
            address: node.address.to_string(),
            engine: description.engine,
            nano_cpus: description.resources.nano_cpus,
            memory: description.resources.memory,
            platform: format!("{}/{}", description.os, description.arch),
            running: entry.running,
            labels: node.spec.labels,
            engine_labels: description.labels,
        })
    }
}

/// A network in a list.
#[derive(Serialize, Debug)]
pub struct NetworkRow {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// `overlay`
    pub driver: String,
    /// `swarm`
    pub scope: String,
    /// Range.
    pub subnet: String,
    /// Address kept for the gateway.
    pub gateway: String,
    /// VXLAN network identifier.
    pub vni: u32,
    /// No way out through the host.
    pub internal: bool,
    /// The network of published ports.
    pub ingress: bool,
    /// Addresses in use.
    pub addresses: u32,
    /// Names of the services on it.
    pub services: Vec<String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

impl NetworkRow {
    /// From what a manager answered.
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn read(entry: v1::NetworkEntry) -> anyhow::Result<Self> {
        let network = Network::try_from(entry.network.context("an answer without a network")?)?;
        Ok(Self {
            id: network.id.to_string(),
            name: network.spec.name,
            driver: "overlay".into(),
            scope: "swarm".into(),
            subnet: network.subnet.to_string(),
            gateway: network.gateway.to_string(),
            vni: network.vni,
            internal: network.spec.internal,
            ingress: network.spec.ingress,
            addresses: entry.addresses,
            services: entry.services,
            labels: network.spec.labels,
        })
    }
}

/// A service in full.
#[derive(Serialize, Debug)]
pub struct ServiceSheet {
    /// What a list shows of it.
    #[serde(flatten)]
    pub row: ServiceRow,
    /// Log index of its last change.
    pub version: u64,
    /// Number of its spec.
    pub revision: u64,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When its spec last changed, RFC 3339.
    pub updated: String,
    /// How many tasks were asked for.
    pub replicas: u32,
    /// The digest that every replica runs.
    pub digest: Option<String>,
    /// What runs instead of the image's command.
    pub args: Vec<String>,
    /// Environment over the image's.
    pub env: Vec<String>,
    /// Nodes must meet these.
    pub constraints: Vec<String>,
    /// Most processor time in billionths of a core.
    pub limit_nano_cpus: Option<u64>,
    /// Most memory in bytes.
    pub limit_memory: Option<u64>,
    /// Processor time reserved, in billionths of a core.
    pub reserve_nano_cpus: u64,
    /// Memory reserved in bytes.
    pub reserve_memory: u64,
    /// `none`, `on-failure` or `any`.
    pub restart_condition: String,
    /// Milliseconds from an end to the next attempt.
    pub restart_delay_ms: u128,
    /// Most attempts.
    pub restart_max_attempts: Option<u32>,
    /// Its virtual addresses by network id.
    pub vips: BTreeMap<String, String>,
}

impl ServiceSheet {
    /// From what a manager answered.
    ///
    /// # Errors
    /// When the answer is not understood.
    pub fn read(entry: v1::ServiceEntry) -> anyhow::Result<Self> {
        let service = Service::try_from(
            entry
                .service
                .clone()
                .context("an answer without a service")?,
        )?;
        let spec = &service.spec;
        let task = &spec.task;
        Ok(Self {
            row: ServiceRow::read(entry)?,
            version: service.version,
            revision: service.revision,
            created: time(service.created),
            updated: time(service.updated),
            replicas: spec.mode.replicas().unwrap_or_default(),
            digest: task.container.image.digest.map(|digest| digest.to_string()),
            args: task.container.args.clone(),
            env: task.container.env.clone(),
            constraints: task.constraints.iter().map(ToString::to_string).collect(),
            limit_nano_cpus: task.limits.nano_cpus,
            limit_memory: task.limits.memory,
            reserve_nano_cpus: task.reservations.nano_cpus,
            reserve_memory: task.reservations.memory,
            restart_condition: match task.restart.condition {
                skep_proto::spec::RestartCondition::None => "none",
                skep_proto::spec::RestartCondition::OnFailure => "on-failure",
                skep_proto::spec::RestartCondition::Any => "any",
            }
            .into(),
            restart_delay_ms: task.restart.delay.as_millis(),
            restart_max_attempts: task.restart.max_attempts,
            vips: service
                .vips
                .iter()
                .map(|(net, vip)| (net.to_string(), vip.to_string()))
                .collect(),
        })
    }
}
