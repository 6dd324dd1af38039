//! `skep service update`: what is not named stays as it is.

use std::time::Duration;

use clap::Args;
use skep_proto::constraint::Constraint;
use skep_proto::spec::{PortSpec, Protocol};

use super::{
    ConditionArg, EXIT_CODES, RolloutArgs, UpdateContainerArgs, UpdatePlacementArgs, WaitArgs,
};
use crate::args::image::OriginArgs;
use crate::args::read;
use crate::args::streams::LogDriverArgs;

/// A service to change.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct UpdateArgs {
    /// Id, beginning of an id, or name.
    pub service: String,
    /// The image.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Where the image comes from.
    #[command(flatten)]
    pub origin: OriginArgs,
    /// What to run instead of the image's command, as one text; "" is the image's.
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true, value_parser = read::container::command)]
    pub args: Option<read::container::Words>,
    /// How many tasks.
    #[arg(long, value_name = "NUMBER")]
    pub replicas: Option<u32>,
    /// Make new tasks though nothing has changed.
    #[arg(long)]
    pub force: bool,
    /// Set an environment variable; NAME alone takes the value from here.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env_add: Vec<String>,
    /// Remove an environment variable.
    #[arg(long, value_name = "NAME")]
    pub env_rm: Vec<String>,
    /// Label the service.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label_add: Vec<String>,
    /// Remove a label of the service.
    #[arg(long, value_name = "NAME")]
    pub label_rm: Vec<String>,
    /// Label its containers.
    #[arg(long, value_name = "NAME=VALUE")]
    pub container_label_add: Vec<String>,
    /// Remove a label of its containers.
    #[arg(long, value_name = "NAME")]
    pub container_label_rm: Vec<String>,
    /// Host name inside the containers; "" is made up.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Publish a port, as --publish of create.
    #[arg(long, value_name = "PORT", value_parser = read::port)]
    pub publish_add: Vec<PortSpec>,
    /// Publish a port of the containers no longer: TARGET or TARGET/udp.
    #[arg(long, value_name = "TARGET", value_parser = read::target_port)]
    pub publish_rm: Vec<(u16, Protocol)>,
    /// Attach to a network: NAME, or name=NAME,alias=ALIAS.
    #[arg(long, value_name = "NETWORK", value_parser = read::network)]
    pub network_add: Vec<read::NetworkArg>,
    /// Detach from a network.
    #[arg(long, value_name = "NETWORK")]
    pub network_rm: Vec<String>,
    /// Nodes must meet this besides.
    #[arg(long, value_name = "EXPRESSION")]
    pub constraint_add: Vec<Constraint>,
    /// Nodes need not meet this any more.
    #[arg(long, value_name = "EXPRESSION")]
    pub constraint_rm: Vec<Constraint>,
    /// Most processor time, in cores; 0 is no limit.
    #[arg(long, value_name = "CORES", value_parser = read::cpus)]
    pub limit_cpu: Option<u64>,
    /// Most memory, such as 64m; 0 is no limit.
    #[arg(long, value_name = "BYTES", value_parser = read::bytes)]
    pub limit_memory: Option<u64>,
    /// Most processes and threads; 0 is no limit.
    #[arg(long, value_name = "NUMBER")]
    pub limit_pids: Option<u64>,
    /// Processor time a node must have free, in cores.
    #[arg(long, value_name = "CORES", value_parser = read::cpus)]
    pub reserve_cpu: Option<u64>,
    /// Memory a node must have free, such as 64m.
    #[arg(long, value_name = "BYTES", value_parser = read::bytes)]
    pub reserve_memory: Option<u64>,
    /// After which ends a task is started again.
    #[arg(long, value_enum)]
    pub restart_condition: Option<ConditionArg>,
    /// From the end of a task to the next attempt.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub restart_delay: Option<Duration>,
    /// Most attempts; 0 is no bound.
    #[arg(long, value_name = "NUMBER")]
    pub restart_max_attempts: Option<u32>,
    /// Time in which attempts are counted; 0s is for ever.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub restart_window: Option<Duration>,
    /// Signal that stops a task.
    #[arg(long, value_name = "SIGNAL", value_parser = read::signal)]
    pub stop_signal: Option<i32>,
    /// From the stop signal to SIGKILL.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub stop_grace_period: Option<Duration>,
    /// What its containers are.
    #[command(flatten)]
    pub container: UpdateContainerArgs,
    /// How its output is kept; --log-driver "" is the default again.
    #[command(flatten)]
    pub log: LogDriverArgs,
    /// Where its tasks go.
    #[command(flatten)]
    pub placement: UpdatePlacementArgs,
    /// How tasks are replaced.
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// Go back to the revision before; as service rollback.
    #[arg(long)]
    pub rollback: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub plan: bool,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}
