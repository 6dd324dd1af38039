//! What can be typed: the command line's grammar, with Docker's names. Reads only, decides nothing.

pub mod check;
pub mod context;
pub mod drill;
pub mod events;
pub mod file;
pub mod image;
pub mod network;
pub mod read;
pub mod service;
pub mod shell;
pub mod stack;
pub mod streams;
pub mod swarm;
pub mod system;
pub mod token;
pub mod volume;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use crate::output::Format;

/// A clustered container scheduler: services, replicas, overlay networks, one binary.
#[derive(Parser, Debug)]
#[command(
    name = "skep",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The daemon to talk to [default: unix:///run/skep/skep.sock], or managers of a cluster, as in
    /// tcp://M1,M2:2377, with a token in SKEP_TOKEN.
    #[arg(long, short = 'H', env = "SKEP_HOST", value_name = "ADDRESS")]
    pub host: Option<String>,
    /// The context to use, in place of SKEP_HOST, SKEP_CONTEXT and the one that is in use; see skep context.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the daemon listens for its users by default.
pub const DEFAULT_HOST: &str = "unix:///run/skep/skep.sock";

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the daemon of this node.
    Daemon(DaemonArgs),
    /// Make, join and leave a cluster.
    #[command(subcommand)]
    Swarm(swarm::SwarmCommand),
    /// The machines of the cluster.
    #[command(subcommand)]
    Node(swarm::NodeCommand),
    /// What the cluster runs.
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// What becomes of services that are being updated.
    #[command(subcommand)]
    Rollout(service::RolloutCommand),
    /// Single runs of a service.
    #[command(subcommand)]
    Task(service::TaskCommand),
    /// The containers of this node.
    #[command(subcommand)]
    Container(streams::ContainerCommand),
    /// What lets users in from outside of the nodes.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Clusters that are reached from outside of their nodes.
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// What connects the tasks.
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// What containers need and nobody else may see.
    #[command(subcommand)]
    Secret(file::FileCommand),
    /// Files that containers are given.
    #[command(subcommand)]
    Config(file::FileCommand),
    /// What outlives containers, on this node.
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// What containers are made from.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Services that belong together, described by compose files.
    #[command(subcommand)]
    Stack(Box<stack::StackCommand>),
    /// Log in to a registry.
    Login(image::LoginArgs),
    /// Log out of a registry.
    Logout(image::LogoutArgs),
    /// Show what happens in the cluster, as it happens.
    Events(events::EventsArgs),
    /// This node and what it holds.
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Make something fail on purpose, for a bounded time, and measure how the cluster takes it.
    #[command(subcommand)]
    Drill(drill::DrillCommand),
    /// A whole cluster on this machine, to learn, test and drill.
    Lab(crate::lab::LabArgs),
    /// Show a whole cluster at work on this machine, in under a minute.
    Demo(DemoArgs),
    /// See whether this machine has what a node needs, and what mends it where not.
    Check(check::CheckArgs),
    /// Print what a shell completes commands and options with.
    Completion(shell::CompletionArgs),
    /// Print the manual page, or write the pages of all commands.
    Man(shell::ManArgs),
}

/// How to show how a cluster works.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Leave the cluster up to play with.
    #[arg(long)]
    pub keep: bool,
}

/// How to run the daemon. What stands here wins over the configuration file.
#[derive(Args, Debug, Default)]
pub struct DaemonArgs {
    /// Configuration file (TOML); the default is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where it listens for its users [default: unix:///run/skep/skep.sock].
    #[arg(long, short = 'H', value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Where everything that must last is kept [default: /var/lib/skep].
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Where everything that may go with a reboot is kept [default: /run/skep].
    #[arg(long, value_name = "DIR")]
    pub exec_root: Option<PathBuf>,
    /// Labels of this machine, for constraints on engine.labels.NAME.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// What this machine has of other things that tasks can reserve.
    #[arg(long, value_name = "KIND=AMOUNT")]
    pub node_generic_resource: Vec<String>,
    /// Serve metrics for Prometheus at http://ADDRESS/metrics, such as 127.0.0.1:9323 [default: off].
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_addr: Option<std::net::SocketAddr>,
    /// Least important lines that are logged: error, warn, info, debug or trace [default: info]; more levels for
    /// single parts may follow, as in info,openraft=debug.
    #[arg(long, value_name = "LEVEL", env = "SKEP_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// Log to this file instead of the standard error output.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// A registry, or a range of addresses, that may speak plain http or have a certificate of nobody.
    #[arg(long, value_name = "HOST[:PORT]|RANGE")]
    pub insecure_registry: Vec<String>,
    /// Ask this first for images of docker.io, or of the registry that is named.
    #[arg(long, value_name = "[REGISTRY=]URL")]
    pub registry_mirror: Vec<String>,
}

/// How to print a list.
#[derive(Args, Debug, Clone)]
pub struct ListArgs {
    /// `table`, `json`, a template such as `{{.Name}}`, or `table {{.ID}}\t{{.Name}}`.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Only what fits: name=web, label=tier=front. One key given twice: either; several keys: all.
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Only the ids.
    #[arg(long, short, conflicts_with = "format")]
    pub quiet: bool,
    /// Whole ids and messages.
    #[arg(long)]
    pub no_trunc: bool,
}

/// Objects to show in full.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Ids, beginnings of ids, or names.
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<String>,
    /// `json`, `table`, or a template such as `{{.Spec.Name}}`.
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    pub format: Format,
    /// For people, in indented lines.
    #[arg(long, conflicts_with = "format")]
    pub pretty: bool,
}

impl InspectArgs {
    /// The form that was asked for.
    pub fn form(&self) -> Format {
        if self.pretty {
            Format::Table
        } else {
            self.format.clone()
        }
    }
}

/// Objects to remove.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// Ids, beginnings of ids, or names.
    #[arg(required = true, value_name = "OBJECT")]
    pub objects: Vec<String>,
}
