//! `skep volume`.

use clap::{Args, Subcommand};

use super::{InspectArgs, ListArgs};

/// What outlives containers, on this node.
#[derive(Subcommand, Debug)]
pub enum VolumeCommand {
    /// Make a volume.
    Create(CreateArgs),
    /// List the volumes.
    Ls(ListArgs),
    /// Show volumes in full.
    Inspect(InspectArgs),
    /// Remove volumes with their content.
    Rm(RmArgs),
    /// Remove the volumes without a name that nothing uses.
    Prune(PruneArgs),
}

/// A volume to make.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name; made up when not given.
    #[arg(value_name = "VOLUME")]
    pub name: Option<String>,
    /// Who keeps it.
    #[arg(long, short, default_value = "local", value_name = "NAME")]
    pub driver: String,
    /// What the local driver is to mount: type=nfs, device=:/export, o=addr=10.0.0.1,rw.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub opt: Vec<String>,
    /// Label it.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
}

/// Volumes to remove.
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Names.
    #[arg(required = true, value_name = "VOLUME")]
    pub volumes: Vec<String>,
    /// One that is not there is no error.
    #[arg(long, short)]
    pub force: bool,
}

/// What to remove.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Also those with a name.
    #[arg(long, short)]
    pub all: bool,
    /// Only those with this label, or without: label=NAME[=VALUE], label!=NAME[=VALUE].
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Do not ask first.
    #[arg(long, short)]
    pub force: bool,
}
