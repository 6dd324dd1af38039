//! `skep system`.

use clap::{Args, Subcommand};

use super::events::EventsArgs;
use super::{Format, ListArgs};

/// This node and what it holds.
#[derive(Subcommand, Debug)]
pub enum SystemCommand {
    /// Show what happens in the cluster, as it happens.
    Events(EventsArgs),
    /// Show this node: its place in the cluster, its machine, what its kernel has.
    Info(AboutArgs),
    /// Show what this node stores.
    Df(DfArgs),
    /// Remove what nothing uses on this node.
    Prune(PruneArgs),
}

/// How to show what is stored.
#[derive(Args, Debug)]
pub struct DfArgs {
    /// What each image, container and volume takes.
    #[arg(long, short)]
    pub verbose: bool,
    /// How to print it.
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to remove.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Also images that have a name.
    #[arg(long, short)]
    pub all: bool,
    /// Also anonymous volumes, with their content.
    #[arg(long)]
    pub volumes: bool,
    /// Do not ask first.
    #[arg(long, short)]
    pub force: bool,
}

/// How to show it.
#[derive(Args, Debug)]
pub struct AboutArgs {
    /// `json`, or a template such as `{{.Swarm.NodeID}}`.
    #[arg(long, short, value_name = "FORMAT")]
    pub format: Option<Format>,
}
