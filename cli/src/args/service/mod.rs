//! `skep service` and `skep task`.

mod container;
mod create;

use clap::{Args, Subcommand};

use super::read;
use super::{InspectArgs, ListArgs, RemoveArgs};

pub use container::{ContainerArgs, HealthArgs};
pub use create::{ConditionArg, CreateArgs};

/// What the cluster runs.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Make a service and wait until it runs.
    Create(Box<CreateArgs>),
    /// List the services.
    Ls(ListArgs),
    /// List the tasks of services.
    Ps(PsArgs),
    /// Show services in full.
    Inspect(InspectArgs),
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
}

/// How to wait for a service.
#[derive(Args, Debug, Clone, Copy)]
pub struct WaitArgs {
    /// Do not wait until the service runs.
    #[arg(long, short)]
    pub detach: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
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
