//! `skep secret` and `skep config`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{InspectArgs, ListArgs, RemoveArgs, read};

/// Files that containers are given.
#[derive(Subcommand, Debug)]
pub enum FileCommand {
    /// Keep the content of a file, or of the standard input (-), in the cluster.
    Create(CreateArgs),
    /// List them.
    Ls(ListArgs),
    /// Show them in full; the content of a secret is never shown.
    Inspect(InspectArgs),
    /// Remove those that no service uses.
    Rm(RemoveArgs),
    /// Put a new content in the place of the one before.
    Rotate(RotateArgs),
}

/// One to make.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name.
    pub name: String,
    /// Where its content is; - is the standard input.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Label it.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
}

/// One that gets another content.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// Its id, the beginning of it, or its name.
    pub name: String,
    /// Where the new content is; - is the standard input.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Send this signal to the first process of each container, after its file was replaced.
    #[arg(long, value_name = "SIGNAL", value_parser = read::signal, conflicts_with = "rolling")]
    pub signal: Option<i32>,
    /// Leave containers that run as they are, and update the services that use it.
    #[arg(long)]
    pub rolling: bool,
}
