//! `skep swarm` and `skep node`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::Ipv4Net;

use super::{InspectArgs, ListArgs, read};

/// Make, join and leave a cluster.
#[derive(Subcommand, Debug)]
pub enum SwarmCommand {
    /// Make a cluster with this node as its first manager.
    Init(InitArgs),
    /// Join a cluster.
    Join(JoinArgs),
    /// Print the command that another machine joins with.
    JoinToken(JoinTokenArgs),
    /// Print the certificate, in PEM, that all certificates of the cluster lead to. Asked of a manager.
    Ca,
    /// Leave the cluster.
    Leave(LeaveArgs),
    /// Change settings of the whole cluster.
    Update(ClusterArgs),
    /// Write the cluster's state, with its keys, to a file, while it runs. Asked of a manager.
    Backup(BackupArgs),
    /// Go on with the cluster of a backup, with this node as its only manager. The node must be in no cluster.
    ///
    /// Nodes that know this one's address as a manager's come back by themselves, with their containers; tasks
    /// that were made since the backup are replaced. Managers of before come back as workers, and keep what they had
    /// stored aside; make them managers again with: skep node promote.
    Restore(RestoreArgs),
}

/// Where a backup goes.
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// File to write, which must not be there; `-` is the standard output. Who has it can be any node of the
    /// cluster: it is made with mode 0600 and belongs where secrets are kept.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// What to go on from.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// What `skep swarm backup` wrote.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Address other nodes reach this one at; chosen when there is only one to choose from.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_addr: Option<IpAddr>,
    /// Port for control traffic between nodes.
    #[arg(long, value_name = "PORT", default_value_t = 2377)]
    pub control_port: u16,
}

/// How to make a cluster.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// Go on with this manager's cluster after its majority was lost for good, with this one as the only manager.
    /// Containers, services and settings stay; a manager of before that comes back becomes a worker.
    #[arg(
        long,
        conflicts_with_all = ["control_port", "data_path_port", "default_addr_pool", "default_addr_pool_mask_length"]
    )]
    pub force_new_cluster: bool,
    /// Address other nodes reach this one at; chosen when there is only one to choose from.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_addr: Option<IpAddr>,
    /// Port for control traffic between nodes.
    #[arg(long, value_name = "PORT", default_value_t = 2377)]
    pub control_port: u16,
    /// UDP port of the overlay networks.
    #[arg(long, value_name = "PORT", default_value_t = 4789)]
    pub data_path_port: u16,
    /// Range that subnets of new networks are cut from.
    #[arg(long, value_name = "SUBNET", default_value = "10.0.0.0/8")]
    pub default_addr_pool: Ipv4Net,
    /// Prefix length of the subnets that are cut from it.
    #[arg(long, value_name = "LENGTH", default_value_t = 24)]
    pub default_addr_pool_mask_length: u8,
}

/// How to join a cluster.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// What `skep swarm join-token` printed.
    #[arg(long, value_name = "TOKEN")]
    pub token: String,
    /// A manager of the cluster, as HOST or HOST:PORT.
    #[arg(value_name = "HOST:PORT", required = true)]
    pub remotes: Vec<String>,
    /// Address other nodes reach this one at; by default the one it reaches the manager from.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_addr: Option<IpAddr>,
    /// Port for control traffic between nodes.
    #[arg(long, value_name = "PORT", default_value_t = 2377)]
    pub control_port: u16,
    /// Labels of this node in the cluster, as NAME=VALUE.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
}

/// What a node is in the cluster.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleArg {
    /// Runs tasks.
    Worker,
    /// Runs tasks and takes part in decisions.
    Manager,
}

/// Which token to print.
#[derive(Args, Debug)]
pub struct JoinTokenArgs {
    /// What the machine is to be.
    #[arg(value_enum)]
    pub role: RoleArg,
    /// Only the token.
    #[arg(long, short)]
    pub quiet: bool,
    /// Make a new one first; the old one is worth nothing then.
    #[arg(long)]
    pub rotate: bool,
}

/// Settings of the whole cluster; what is not named stays as it is.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct ClusterArgs {
    /// A node lets hear of itself so often.
    #[arg(long, visible_alias = "dispatcher-heartbeat", value_name = "DURATION", value_parser = read::duration)]
    pub heartbeat_period: Option<Duration>,
    /// A node that was silent for so long is down, and its tasks are replaced.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub down_after: Option<Duration>,
    /// A node that was down for so long has its tasks given up: their addresses are used again.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub orphan_after: Option<Duration>,
    /// Ended tasks kept for each slot.
    #[arg(long, value_name = "NUMBER")]
    pub task_history_limit: Option<u32>,
    /// Certificates of nodes last so long, from their next renewal on.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub cert_expiry: Option<Duration>,
}

/// How to leave.
#[derive(Args, Debug)]
pub struct LeaveArgs {
    /// Leave also where the cluster would lose its quorum, or its last manager.
    #[arg(long, short)]
    pub force: bool,
}

/// The machines of the cluster.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// List the nodes.
    Ls(ListArgs),
    /// Show nodes in full; `self` is this one.
    Inspect(InspectArgs),
    /// List the tasks on nodes; this one by default.
    Ps(NodePsArgs),
    /// Change a node's role, labels or availability.
    Update(NodeUpdateArgs),
    /// Make workers managers: they take part in decisions.
    Promote(RoleArgs),
    /// Make managers workers: their containers run on.
    Demote(RoleArgs),
    /// Let a node's tasks go elsewhere, each once its replacement runs.
    Drain(DrainArgs),
    /// Remove nodes that left or are down.
    Rm(NodeRmArgs),
}

/// Whose tasks to list.
#[derive(Args, Debug)]
pub struct NodePsArgs {
    /// Ids, beginnings of ids, host names, or `self`.
    #[arg(default_value = "self", value_name = "NODE")]
    pub nodes: Vec<String>,
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Whether a node gets tasks.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvailabilityArg {
    /// It gets new tasks.
    Active,
    /// It keeps what it has and gets no new task.
    Pause,
    /// Its tasks go elsewhere.
    Drain,
}

/// Whose role to change.
#[derive(Args, Debug)]
pub struct RoleArgs {
    /// Ids, beginnings of ids, host names, or `self`.
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// What to change of a node.
#[derive(Args, Debug)]
pub struct NodeUpdateArgs {
    /// Id, beginning of an id, host name, or `self`.
    pub node: String,
    /// Whether it gets tasks.
    #[arg(long, value_enum)]
    pub availability: Option<AvailabilityArg>,
    /// What it is to be.
    #[arg(long, value_enum)]
    pub role: Option<RoleArg>,
    /// Set a label.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label_add: Vec<String>,
    /// Take a label away.
    #[arg(long, value_name = "NAME")]
    pub label_rm: Vec<String>,
}

/// How to drain a node.
///
/// Ends with 0 when the node is drained (or, without --wait, when the drain has begun), with 1 when it was
/// refused, and with 124 when time ran out; the drain goes on then.
#[derive(Args, Debug)]
pub struct DrainArgs {
    /// Id, beginning of an id, host name, or `self`.
    pub node: String,
    /// Wait until nothing runs there any more.
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this; 0s is for ever.
    #[arg(long, value_name = "DURATION", value_parser = read::duration, default_value = "0s", requires = "wait")]
    pub timeout: Duration,
    /// Also where tasks would be left without a place, and end all at once.
    #[arg(long, short)]
    pub force: bool,
}

/// Which nodes to remove.
#[derive(Args, Debug)]
pub struct NodeRmArgs {
    /// Ids, beginnings of ids, or host names.
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Also where the node is up; it is refused from then on.
    #[arg(long, short)]
    pub force: bool,
}
