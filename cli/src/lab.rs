//! `skep lab`: a whole cluster on this machine. Reads arguments, shows answers; the lab itself is
//! made by `skep_deploy`, and its cluster by the same commands that a user would type.

mod form;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use skep_deploy::lab::{
    Cable, DaemonStatus, Lab, LabError, LabOptions, LabStatus, NodeStatus, Power, Roots,
};

use crate::args::ListArgs;
use crate::output::{self, Column};

pub use form::{form, pause, skep};

/// The lab's name where none is given.
const DEFAULT_NAME: &str = "lab";

/// Make a whole cluster on this machine, break it, and take it away.
#[derive(Args, Debug)]
pub struct LabArgs {
    /// Which lab [default: `lab`, or the only one there is].
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    /// What to do with it.
    #[command(subcommand)]
    command: LabCommand,
}

/// What to do with a lab.
#[derive(Subcommand, Debug)]
enum LabCommand {
    /// Make a lab and a cluster in it.
    Up(UpArgs),
    /// List the labs and their nodes.
    Ls(ListArgs),
    /// Run a command in a node, or in `outside`; `skep` there talks to that node.
    Exec {
        /// node-1 … node-N, or outside.
        node: String,
        /// The command.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// End a node as a power cut would, or only its daemon.
    Kill {
        /// Which node.
        node: String,
        /// The daemon alone; containers go on.
        #[arg(long)]
        daemon: bool,
    },
    /// Bring back a node that was killed, or its daemon.
    Start {
        /// Which node.
        node: String,
    },
    /// Take a node's cable out of the switch.
    Cut {
        /// Which node.
        node: String,
    },
    /// Put a node's cable back.
    Heal {
        /// Which node.
        node: String,
    },
    /// Print what a node's daemon logged.
    Logs {
        /// Which node.
        node: String,
    },
    /// End a lab; nothing of it is left.
    Down,
}

/// How large a lab to make.
#[derive(Args, Debug)]
struct UpArgs {
    /// How many managers.
    #[arg(long, default_value_t = 3, value_name = "NUMBER")]
    managers: usize,
    /// How many workers besides.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    workers: usize,
    /// Start the daemons and make no cluster.
    #[arg(long)]
    bare: bool,
}

/// Does what `skep lab …` says.
///
/// # Errors
/// What the user is to read.
pub fn run(args: LabArgs) -> anyhow::Result<ExitCode> {
    let name = args.name.as_deref();
    match args.command {
        LabCommand::Up(up_args) => up(name.unwrap_or(DEFAULT_NAME), &up_args)?,
        LabCommand::Ls(list) => ls(&list)?,
        LabCommand::Exec { node, command } => {
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            return Ok(ExitCode::from(open(name)?.exec_interactive(&node, &argv)?));
        }
        LabCommand::Kill { node, daemon: true } => open(name)?.kill_daemon(&node)?,
        LabCommand::Kill {
            node,
            daemon: false,
        } => open(name)?.kill(&node)?,
        LabCommand::Start { node } => open(name)?.start(&node)?,
        LabCommand::Cut { node } => open(name)?.cut(&node)?,
        LabCommand::Heal { node } => open(name)?.heal(&node)?,
        LabCommand::Logs { node } => logs(&open(name)?.logs(&node)?)?,
        LabCommand::Down => Lab::down_in(&Roots::default(), &chosen(name)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The lab's name: the one given, the default one, or the only one there is.
fn chosen(name: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let names: Vec<String> = Lab::ls()?.into_iter().map(|lab| lab.name).collect();
    match names.as_slice() {
        names if names.iter().any(|n| n == DEFAULT_NAME) => Ok(DEFAULT_NAME.to_owned()),
        [only] => Ok(only.clone()),
        [] => Err(LabError::NoLab {
            name: DEFAULT_NAME.to_owned(),
        }
        .into()),
        several => bail!(
            "there are several labs, name one with --name: {}",
            several.join(", ")
        ),
    }
}

fn open(name: Option<&str>) -> anyhow::Result<Lab> {
    Ok(Lab::open(&chosen(name)?)?)
}

fn up(name: &str, args: &UpArgs) -> anyhow::Result<()> {
    let lab = Lab::up(&LabOptions::new(name, args.managers, args.workers)?)?;
    output::notice(&format!(
        "lab {name}: {} machines are up",
        args.managers + args.workers
    ));
    if !args.bare {
        form(&lab, output::notice).with_context(|| {
            format!(
                "the machines are up, the cluster is not; `skep lab down --name {name}` ends them"
            )
        })?;
    }
    output::line(&format!(
        "lab {name} is up. Try:\n\n    skep lab exec --name {name} node-1 -- skep node ls\n    \
         skep lab down --name {name}"
    ))?;
    Ok(())
}

fn logs(text: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A node of a lab in a list.
#[derive(Serialize, Debug)]
struct Row {
    lab: String,
    name: String,
    role: String,
    address: String,
    state: String,
    cable: String,
    daemon: String,
}

const COLUMNS: [Column<Row>; 7] = [
    ("LAB", |row, _| row.lab.clone()),
    ("NODE", |row, _| row.name.clone()),
    ("ROLE", |row, _| row.role.clone()),
    ("ADDRESS", |row, _| row.address.clone()),
    ("STATE", |row, _| row.state.clone()),
    ("CABLE", |row, _| row.cable.clone()),
    ("DAEMON", |row, _| row.daemon.clone()),
];

fn ls(args: &ListArgs) -> anyhow::Result<()> {
    let labs = Lab::ls()?;
    for lab in labs.iter().filter(|lab| !lab.whole) {
        let name = &lab.name;
        output::notice(&format!(
            "lab {name} is half made: `skep lab down --name {name}` cleans it"
        ));
    }
    let rows: Vec<Row> = labs.iter().flat_map(rows_of).collect();
    output::list(&rows, &COLUMNS, |row| &row.name, args)
}

fn rows_of(lab: &LabStatus) -> impl Iterator<Item = Row> {
    lab.nodes.iter().map(|node| row(&lab.name, node))
}

fn row(lab: &str, node: &NodeStatus) -> Row {
    let word = |role| match role {
        skep_deploy::lab::NodeRole::Manager => "manager",
        skep_deploy::lab::NodeRole::Worker => "worker",
    };
    Row {
        lab: lab.to_owned(),
        name: node.name.clone(),
        role: node.role.map_or("client", word).to_owned(),
        address: node.address.to_string(),
        state: if node.power == Power::On { "on" } else { "off" }.to_owned(),
        cable: if node.cable == Cable::Plugged {
            "plugged"
        } else {
            "cut"
        }
        .to_owned(),
        daemon: match &node.daemon {
            DaemonStatus::Running(pid) => format!("running (pid {pid})"),
            DaemonStatus::Stopped(Some(why)) => why.clone(),
            DaemonStatus::Stopped(None) => "never started".to_owned(),
            DaemonStatus::Absent => String::new(),
        },
    }
}
