//! `skep service` and `skep task`.

mod container;
mod create;
mod placement;
mod rollout;
mod update;
mod update_container;
mod update_placement;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::read;
use super::streams::{ExecArgs, LogsArgs};
use super::{InspectArgs, ListArgs, RemoveArgs};

pub use container::{ContainerArgs, HealthArgs};
pub use create::{ConditionArg, CreateArgs};
pub use placement::{EndpointArg, ModeArg, PlacementArgs};
pub use rollout::{
    EXIT_CODES, RollbackArgs, RolloutArgs, RolloutCommand, RolloutHistoryArgs, RolloutResumeArgs,
    RolloutTurnArgs, RolloutWaitArgs,
};
pub use update::UpdateArgs;
pub use update_container::UpdateContainerArgs;
pub use update_placement::UpdatePlacementArgs;

/// What the cluster runs.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Make a service and wait until it runs.
    Create(Box<CreateArgs>),
    /// List the services.
    Ls(ListArgs),
    /// List the tasks of services.
    Ps(PsArgs),
    /// Show what the tasks of services, or single tasks, write.
    Logs(LogsArgs),
    /// Show services in full.
    Inspect(InspectArgs),
    /// Change a service, replace its tasks bit by bit, and wait for the end of it.
    Update(Box<UpdateArgs>),
    /// Take a service back to the revision before, and wait for the end of it.
    Rollback(RollbackArgs),
    /// Change how many replicas services have, and wait until they run.
    Scale(ScaleArgs),
    /// Remove services with all their tasks.
    Rm(RemoveArgs),
}

/// Single runs of a service.
#[derive(Subcommand, Debug)]
pub enum TaskCommand {
    /// List the tasks of the whole cluster.
    Ls(ListArgs),
    /// Show tasks in full.
    Inspect(InspectArgs),
    /// Show what tasks write.
    Logs(LogsArgs),
    /// Run a program in the container of a task, wherever it is.
    Exec(ExecArgs),
    /// Say why a task does not run: every node, every filter, and the smallest change that would place it.
    Why(WhyArgs),
}

/// Which task does not run.
#[derive(Args, Debug)]
pub struct WhyArgs {
    /// Id, or the beginning of one.
    pub task: String,
    /// In which form.
    #[arg(long, value_enum, default_value = "table")]
    pub format: super::Format,
}

/// How to wait for a service.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct WaitArgs {
    /// Do not wait until the service runs.
    #[arg(long, short)]
    pub detach: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Give up waiting after this time, with exit code 12; what was begun goes on [default: wait on].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub timeout: Option<Duration>,
    /// How to show progress [default: tty on a terminal, else lines].
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<OutputArg>,
}

/// How to show progress.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputArg {
    /// Bars that are redrawn.
    Tty,
    /// A line for each event, for logs.
    Lines,
    /// An object for each event on the standard output, one to a line.
    Json,
}

/// Whose tasks to list.
#[derive(Args, Debug)]
pub struct PsArgs {
    /// Ids, beginnings of ids, or names.
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// How many replicas services are to have.
#[derive(Args, Debug)]
pub struct ScaleArgs {
    /// SERVICE=REPLICAS
    #[arg(required = true, value_name = "SERVICE=REPLICAS", value_parser = read::scale)]
    pub services: Vec<(String, u32)>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}
