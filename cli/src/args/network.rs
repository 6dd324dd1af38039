//! `skep network` and `skep image`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::Ipv4Net;

use super::{InspectArgs, ListArgs, RemoveArgs};

/// What connects the tasks.
#[derive(Subcommand, Debug)]
pub enum NetworkCommand {
    /// Make an overlay network.
    Create(CreateArgs),
    /// List the networks.
    Ls(ListArgs),
    /// Show networks in full.
    Inspect(InspectArgs),
    /// Remove networks that nothing uses.
    Rm(RemoveArgs),
}

/// A network to make.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name.
    pub name: String,
    /// The driver: overlay is the one there is.
    #[arg(long, short, default_value = "overlay", value_parser = ["overlay"])]
    pub driver: String,
    /// Its range [default: cut from the cluster's pool].
    #[arg(long, value_name = "SUBNET")]
    pub subnet: Option<Ipv4Net>,
    /// Address kept for the gateway [default: the first of the range].
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<Ipv4Addr>,
    /// No way out through the host.
    #[arg(long)]
    pub internal: bool,
    /// Label it.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
}

/// What containers are made from.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Load an archive: an OCI layout, or what `docker save` wrote.
    Load(LoadArgs),
    /// Make an image of the root file system in a tar archive.
    Import(ImportArgs),
    /// List the images known in the cluster.
    Ls(ListArgs),
}

/// An archive to load.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// The archive; the standard input by default.
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Only the names.
    #[arg(long, short)]
    pub quiet: bool,
}

/// A root file system to make an image of.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The archive; `-` is the standard input.
    pub file: PathBuf,
    /// Name of the image, with its tag.
    pub name: String,
}
