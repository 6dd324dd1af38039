//! `skep system`.

use std::process::ExitCode;

use super::client::Client;
use super::events;
use crate::args::system::SystemCommand;

/// Does what `skep system …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: SystemCommand) -> anyhow::Result<ExitCode> {
    match command {
        SystemCommand::Events(args) => events::run(client, args).await,
    }
}
