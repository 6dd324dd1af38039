//! `skep stack`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Services that belong together, described by compose files.
#[derive(Subcommand, Debug)]
pub enum StackCommand {
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
