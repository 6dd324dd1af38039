//! `skep network`.

use std::net::Ipv4Addr;

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
