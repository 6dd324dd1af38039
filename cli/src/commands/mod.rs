//! Turns what was typed into calls of the daemon, and its answers into what is shown.

pub mod client;
pub mod container;
pub mod context;
pub mod docker;
mod drain;
pub mod drill;
pub mod events;
pub mod exec;
pub mod file;
pub mod image;
pub mod logs;
pub mod machine;
pub mod network;
pub mod node;
pub mod rollout;
pub mod rows;
pub mod service;
pub mod shell;
pub mod stack;
pub mod swarm;
pub mod system;
pub mod task;
pub mod token;
mod usage;
pub mod verdict;
pub mod volume;
pub mod watch;
mod why;

use std::collections::BTreeMap;
use std::process::ExitCode;

use skep_proto::file::FileKind;

use crate::args::service::{ServiceCommand, WaitArgs};
use crate::args::{Command, read};
use crate::login;
use crate::reach::Said;
use client::Client;

/// Does what a command says that needs a running daemon.
///
/// # Errors
/// What the user is to read: thing, reason, way out.
pub async fn run(command: Command, said: &Said) -> anyhow::Result<ExitCode> {
    if let Command::Stack(command) = command {
        return stack::run(said, *command).await;
    }
    let client = match Client::connect(said).await {
        Ok(client) => client,
        Err(error) if tells_its_end(&command) => {
            let text = format!("{error:#}");
            let end = match client::reaches_nobody(&error) {
                true => verdict::End::NoAnswer(text),
                false => verdict::End::Refused(text),
            };
            return watch::tell("", &end, WaitArgs::default());
        }
        Err(error) => return Err(error),
    };
    match command {
        Command::Swarm(command) => swarm::run(&client, command).await,
        Command::Node(command) => node::run(&client, command).await,
        Command::Service(command) => service::run(&client, command).await,
        Command::Rollout(command) => rollout::run(&client, command).await,
        Command::Task(command) => task::run(&client, command).await,
        Command::Container(command) => container::run(&client, command).await,
        Command::Token(command) => token::run(&client, command).await,
        Command::Network(command) => network::run(&client, command).await,
        Command::Secret(command) => file::run(&client, FileKind::Secret, command).await,
        Command::Config(command) => file::run(&client, FileKind::Config, command).await,
        Command::Volume(command) => volume::run(&client, command).await,
        Command::Image(command) => image::run(&client, command).await,
        Command::Login(args) => login::log_in(&client, args).await,
        Command::Drill(command) => drill::run(&client, command).await,
        Command::Events(args) => events::run(&client, args).await,
        Command::System(command) => system::run(&client, command).await,
        // These need no daemon, or have been done.
        Command::Stack(_)
        | Command::Daemon(_)
        | Command::Demo(_)
        | Command::Lab(_)
        | Command::Check(_)
        | Command::Context(_)
        | Command::Completion(_)
        | Command::Man(_) => Ok(ExitCode::SUCCESS),
        Command::Logout(args) => login::log_out(&args),
    }
}

/// Whether the exit code of a command says how a rollout ended.
fn tells_its_end(command: &Command) -> bool {
    matches!(
        command,
        Command::Rollout(_)
            | Command::Drill(_)
            | Command::Service(ServiceCommand::Update(_) | ServiceCommand::Rollback(_))
    )
}

/// `NAME=VALUE` options as a map; a later one wins.
fn labels(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    texts
        .iter()
        .map(|text| read::label(text).map_err(anyhow::Error::msg))
        .collect()
}

/// Does `each` for every object, goes on after an error, and fails at the end if one failed.
async fn for_each<F, Fut>(objects: &[String], mut each: F) -> anyhow::Result<ExitCode>
where
    F: FnMut(String) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut code = ExitCode::SUCCESS;
    for object in objects {
        if let Err(error) = each(object.clone()).await {
            crate::output::notice(&format!("Error: {error:#}"));
            code = client::code_of(&error);
        }
    }
    Ok(code)
}
