//! `skep stack`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{ListArgs, read};

/// Services that belong together, described by compose files.
#[derive(Subcommand, Debug)]
pub enum StackCommand {
    /// Make a stack, or change it to what its files say, and wait until it runs.
    Deploy(DeployArgs),
    /// Print what a deploy would change; the exit code is 2 if it would change something.
    Diff(DiffArgs),
    /// List the stacks.
    Ls(ListArgs),
    /// List the tasks of a stack.
    Ps(NamedArgs),
    /// List the services of a stack.
    Services(NamedArgs),
    /// Remove stacks: their services and networks.
    Rm(RmArgs),
    /// Print the compose files as one, merged and in long form.
    Config(ConfigArgs),
}

/// Which files describe a stack.
#[derive(Args, Debug, Clone)]
pub struct FileArgs {
    /// A compose file; a later one goes over an earlier one, `-` is the standard input
    /// [default: compose.yaml or docker-compose.yml here].
    #[arg(long = "compose-file", short = 'c', value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Variables for the files [default: .env beside the first one].
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// Also the services with this profile; `*` is all.
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
}

/// What to print.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// The files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Print nothing: only check.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What to make.
#[derive(Args, Debug)]
pub struct DeployArgs {
    /// Name of the stack; it stands before the names of all that belongs to it.
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// The files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Remove services of the stack that the files no longer name.
    #[arg(long)]
    pub prune: bool,
    /// Where the images come from.
    #[command(flatten)]
    pub origin: OriginArgs,
    /// Change nothing: print what would change, and end with 2 if something would.
    #[arg(long)]
    pub plan: bool,
    /// Do not wait until the services run; what depends on another is waited for nevertheless.
    #[arg(long, short)]
    pub detach: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Longest time to wait; then the exit code is 12 and the cluster goes on by itself [default: no bound].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub timeout: Option<Duration>,
}

/// When a manager asks a registry what the tag of an image means.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveArg {
    /// At each deploy.
    Always,
    /// When the service is new or its image has another name than before.
    Changed,
    /// Never: each node finds out for itself.
    Never,
}

/// Where the images of a stack come from.
#[derive(Args, Debug, Clone)]
pub struct OriginArgs {
    /// When to ask the registry what the tag of an image means.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "always")]
    pub resolve_image: ResolveArg,
    /// Give the logins for the images' registries to the nodes that run the services.
    #[arg(long)]
    pub with_registry_auth: bool,
}

/// What to compare.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Name of the stack.
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// The files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Also what `deploy --prune` would remove.
    #[arg(long)]
    pub prune: bool,
}

/// Whose services or tasks to list.
#[derive(Args, Debug)]
pub struct NamedArgs {
    /// Name of the stack.
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to remove.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Names of stacks.
    #[arg(required = true, value_name = "STACK")]
    pub stacks: Vec<String>,
    /// Do not wait until tasks have ended; networks that are still in use are left.
    #[arg(long, short)]
    pub detach: bool,
}
