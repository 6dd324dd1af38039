//! `skep system`.

use clap::Subcommand;

use super::events::EventsArgs;

/// This node and what it holds.
#[derive(Subcommand, Debug)]
pub enum SystemCommand {
    /// Show what happens in the cluster, as it happens.
    Events(EventsArgs),
}
