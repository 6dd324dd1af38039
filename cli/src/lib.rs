//! The one binary `skep`: arguments, output, and the daemon.
//!
//! `args` is what can be typed, `output` how it is shown, `commands` turn one into calls of the daemon and
//! its answers into the other. `daemon` is the only place that wires manager, worker and netd together.

pub mod args;
pub mod check;
pub mod commands;
pub mod daemon;
pub mod demo;
pub mod lab;
pub mod login;
pub mod output;
pub mod reach;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use args::{Cli, Command};
use reach::Said;

/// Reads the command line, does what it says and gives the exit code.
pub fn run() -> ExitCode {
    // Parts of a lab and the child that unpacks layers are this program too.
    if let Some(code) = skep_deploy::lab::entry() {
        return code;
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((word, rest)) = arguments.split_first()
        && word == skep_worker::HIDDEN_WORD
    {
        return skep_worker::unpack_main(rest);
    }
    if arguments.first().is_some_and(|word| word == check::ALONE) {
        return check::user_namespace_main();
    }
    match obey(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::notice(&format!("Error: {error:#}"));
            commands::client::code_of(&error)
        }
    }
}

fn obey(cli: Cli) -> anyhow::Result<ExitCode> {
    let host = cli.host.as_deref();
    let said = Said::of(cli.context, cli.host.clone());
    match cli.command {
        Command::Daemon(args) => daemon::run(daemon::config::read(args, host)?),
        Command::Lab(args) => lab::run(args),
        Command::Demo(args) => demo::run(args.keep),
        Command::Check(args) => check::run(args),
        Command::Completion(args) => commands::shell::complete(args),
        Command::Man(args) => commands::shell::manual(&args),
        Command::Context(command) => commands::context::run(command, &said),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start")?;
            runtime.block_on(commands::run(command, &said))
        }
    }
}
