//! `skep stack`.

mod files;

use std::process::ExitCode;

use crate::args::stack::{ConfigArgs, StackCommand};
use crate::output;

/// Does what `skep stack …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(_host: Option<&str>, command: StackCommand) -> anyhow::Result<ExitCode> {
    match command {
        StackCommand::Config(args) => config(&args),
    }
}

/// Needs no cluster.
fn config(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let project = files::read(&args.files)?;
    // Values are understood only when they are turned into specs.
    files::wanted("stack", &project)?;
    if !args.quiet {
        output::line(project.canonical().trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
