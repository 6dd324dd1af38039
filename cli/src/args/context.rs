//! `skep context`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, ListArgs};

/// Clusters that are reached from outside of their nodes.
#[derive(Subcommand, Debug)]
pub enum ContextCommand {
    /// Keep where a cluster is and what lets this user in.
    Create(CreateArgs),
    /// List them; the one in use is marked.
    Ls(ListArgs),
    /// Use one from now on; "default" is the daemon of this machine.
    Use(NameArgs),
    /// Print the name of the one in use.
    Show,
    /// Show them in full; tokens are never shown.
    Inspect(InspectArgs),
    /// Remove them, with their tokens.
    Rm(RemoveArgs),
}

/// A context to make.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where managers of the cluster listen; tried in this order. The port is 2377 where none is named.
    #[arg(long = "host", value_name = "tcp://HOST[:PORT],…", required = true)]
    pub address: String,
    /// File with what "skep token create" printed; - is the standard input.
    #[arg(long, value_name = "FILE|-")]
    pub token: PathBuf,
    /// What it is, for people.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub description: String,
}

/// One context.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Contexts to show.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Their names; without any, the one in use.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// `json`, `table`, or a template such as `{{.Name}}`.
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    pub format: Format,
}

/// Contexts to remove.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// Their names.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Also the one in use; then the daemon of this machine is.
    #[arg(long, short)]
    pub force: bool,
}
