//! `skep system`.

use std::process::ExitCode;

use super::client::Client;
use super::{events, machine};
use crate::args::system::SystemCommand;

/// Does what `skep system …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: SystemCommand) -> anyhow::Result<ExitCode> {
    match command {
        SystemCommand::Events(args) => events::run(client, args).await,
        SystemCommand::Info(args) => machine::about(client, args).await,
        SystemCommand::Df(args) => machine::stored(client, args).await,
        SystemCommand::Prune(args) => machine::prune(client, args).await,
    }
}
