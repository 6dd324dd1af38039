//! `skep completion` and `skep man`: what a shell and `man` know of skep, from the grammar that is parsed.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::{generate, shells};

use crate::args::Cli;
use crate::args::shell::{CompletionArgs, ManArgs, Shell};

/// The program's name, as it is typed.
const NAME: &str = "skep";

/// Prints the script for a shell.
///
/// # Errors
/// What the system says when it cannot write.
pub fn complete(args: CompletionArgs) -> anyhow::Result<ExitCode> {
    print(&script(args.shell))
}

/// Prints skep's manual page, or writes those of all commands.
///
/// # Errors
/// Names the file that cannot be written.
pub fn manual(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .context("cannot write the manual page")?;
        return print(&page);
    };
    pages(directory)?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, NAME, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, NAME, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, NAME, &mut script),
    }
    script
}

/// Writes `skep.1`, `skep-service.1`, `skep-service-update.1` and so on.
fn pages(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write manual pages into {}", directory.display()))
}

/// A reader that has gone away is no error.
fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
#[path = "shell_tests.rs"]
mod tests;
