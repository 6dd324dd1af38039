//! What a lab is asked to be. Pure: nothing here looks at the machine, save for the path of the
//! running program.

use std::path::PathBuf;

use super::error::LabError;
use super::mounts;

/// Addresses .1 to .200 of the switch's range are for nodes.
pub(crate) const MOST_NODES: usize = 200;

/// What a node is made for. The lab only remembers it; forming the cluster is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Takes part in Raft.
    Manager,
    /// Only runs tasks.
    Worker,
}

/// Where labs keep themselves; other roots than the default make labs that do not know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// What does not outlive the machine: record, sockets, pids.
    pub run: PathBuf,
    /// The nodes' stores and logs.
    pub store: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            run: "/run/skep-lab".into(),
            store: "/var/lib/skep-lab".into(),
        }
    }
}

/// The program that each node runs, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonOptions {
    /// The binary; in the node it is `/run/lab/bin/` + its file name, first in PATH.
    pub program: PathBuf,
    /// Its arguments. `{data}`, `{exec}`, `{socket}`, `{log}`, `{node}` and `{address}` are replaced.
    pub args: Vec<String>,
}

/// What [`super::Lab::up`] makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabOptions {
    /// 1 to 32 of a-z, 0-9 and '-'.
    pub name: String,
    /// One role for each node, in the order of their names.
    pub nodes: Vec<NodeRole>,
    /// A program whose `main` begins with [`super::entry`]: the lab runs itself through it.
    pub program: PathBuf,
    /// What runs in the nodes.
    pub daemon: DaemonOptions,
    /// Where the lab keeps itself.
    pub roots: Roots,
}

impl LabOptions {
    /// Managers first, then workers, with the running program as the lab's own and as the daemon.
    pub fn new(name: &str, managers: usize, workers: usize) -> Result<Self, LabError> {
        let program = std::env::current_exe().map_err(LabError::io("find the running program"))?;
        let mut nodes = vec![NodeRole::Manager; managers.min(MOST_NODES + 1)];
        nodes.extend(vec![NodeRole::Worker; workers.min(MOST_NODES + 1)]);
        let daemon = DaemonOptions {
            program: program.clone(),
            args: default_args(),
        };
        Ok(Self {
            name: name.into(),
            nodes,
            program,
            daemon,
            roots: Roots::default(),
        })
    }

    pub(crate) fn check(&self) -> Result<(), LabError> {
        check_name(&self.name)?;
        if self.nodes.is_empty() || self.nodes.len() > MOST_NODES {
            return Err(LabError::BadCount {
                asked: self.nodes.len(),
                most: MOST_NODES,
            });
        }
        Ok(())
    }
}

fn default_args() -> Vec<String> {
    let args = [
        "daemon",
        "--data-root",
        "{data}",
        "--exec-root",
        "{exec}",
        "--host",
        "unix://{socket}",
    ];
    args.map(String::from).to_vec()
}

pub(crate) fn check_name(name: &str) -> Result<(), LabError> {
    let fits = (1..=32).contains(&name.len())
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        Ok(())
    } else {
        Err(LabError::BadName { name: name.into() })
    }
}

/// The daemon's arguments for one node.
pub(crate) fn fill(args: &[String], node: &str, address: std::net::Ipv4Addr) -> Vec<String> {
    let address = address.to_string();
    let words = [
        ("{data}", mounts::DATA_ROOT),
        ("{exec}", mounts::EXEC),
        ("{socket}", mounts::SOCKET),
        ("{log}", mounts::LOG),
        ("{node}", node),
        ("{address}", &address),
    ];
    let fill_one = |arg: &String| {
        words.iter().fold(arg.clone(), |filled, (word, value)| {
            filled.replace(word, value)
        })
    };
    args.iter().map(fill_one).collect()
}
