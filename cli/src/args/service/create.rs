//! `skep service create`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ContainerArgs, HealthArgs, PlacementArgs, RolloutArgs, WaitArgs};
use crate::args::image::OriginArgs;
use crate::args::read;
use crate::args::streams::LogDriverArgs;

/// After which ends a task is started again.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionArg {
    /// Never.
    None,
    /// When it failed.
    OnFailure,
    /// However it ended.
    Any,
}

/// A service to make.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The image.
    pub image: String,
    /// What to run instead of the image's command.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARG"
    )]
    pub args: Vec<String>,
    /// Name of the service; made up when not given.
    #[arg(long)]
    pub name: Option<String>,
    /// How many tasks, and where they go.
    #[command(flatten)]
    pub placement: PlacementArgs,
    /// Set an environment variable; NAME alone takes the value from here.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Label the service.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Label its containers.
    #[arg(long, value_name = "NAME=VALUE")]
    pub container_label: Vec<String>,
    /// Host name inside the containers.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Publish a port: `PUBLISHED:TARGET`, `TARGET` or `TARGET/udp`, or `published=,target=,protocol=,mode=`.
    #[arg(long, short, value_name = "PORT", value_parser = read::port)]
    pub publish: Vec<skep_proto::spec::PortSpec>,
    /// Attach to a network: NAME, or name=NAME,alias=ALIAS.
    #[arg(long, value_name = "NETWORK", value_parser = read::network)]
    pub network: Vec<read::NetworkArg>,
    /// Nodes must meet this, such as node.role==worker or node.labels.disk!=ssd.
    #[arg(long, value_name = "EXPRESSION")]
    pub constraint: Vec<skep_proto::constraint::Constraint>,
    /// Most processor time, in cores.
    #[arg(long, value_name = "CORES", value_parser = read::cpus)]
    pub limit_cpu: Option<u64>,
    /// Most memory, such as 64m; a task over it is killed.
    #[arg(long, value_name = "BYTES", value_parser = read::bytes)]
    pub limit_memory: Option<u64>,
    /// Most processes and threads.
    #[arg(long, value_name = "NUMBER")]
    pub limit_pids: Option<u64>,
    /// Processor time a node must have free, in cores.
    #[arg(long, value_name = "CORES", value_parser = read::cpus)]
    pub reserve_cpu: Option<u64>,
    /// Memory a node must have free, such as 64m.
    #[arg(long, value_name = "BYTES", value_parser = read::bytes)]
    pub reserve_memory: Option<u64>,
    /// After which ends a task is started again.
    #[arg(long, value_enum, default_value = "any")]
    pub restart_condition: ConditionArg,
    /// From the end of a task to the next attempt.
    #[arg(long, value_name = "DURATION", value_parser = read::duration, default_value = "5s")]
    pub restart_delay: Duration,
    /// Most attempts [default: no bound].
    #[arg(long, value_name = "NUMBER")]
    pub restart_max_attempts: Option<u32>,
    /// Time in which attempts are counted; 0s is for ever.
    #[arg(long, value_name = "DURATION", value_parser = read::duration, default_value = "0s")]
    pub restart_window: Duration,
    /// Signal that stops a task [default: the image's, then SIGTERM].
    #[arg(long, value_name = "SIGNAL", value_parser = read::signal)]
    pub stop_signal: Option<i32>,
    /// From the stop signal to SIGKILL.
    #[arg(long, value_name = "DURATION", value_parser = read::duration, default_value = "10s")]
    pub stop_grace_period: Duration,
    /// Where its image comes from.
    #[command(flatten)]
    pub origin: OriginArgs,
    /// What its containers are.
    #[command(flatten)]
    pub container: ContainerArgs,
    /// Whether they are well.
    #[command(flatten)]
    pub health: HealthArgs,
    /// How its tasks are replaced later.
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Give its tasks a terminal for their output, into which nobody types.
    #[arg(long, short)]
    pub tty: bool,
    /// How its output is kept.
    #[command(flatten)]
    pub log: LogDriverArgs,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}
