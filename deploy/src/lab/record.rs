//! What a lab remembers on disk, where, and the lock around it.
//!
//! The record is written before the first process starts, and whole or not at all. It is never needed
//! to end a lab: names of directories and cgroups follow from the lab's name alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::cgroups::Hierarchy;
use super::error::LabError;
use super::options::{NodeRole, Roots, check_name};
use super::{Cable, procs};

const RECORD: &str = "lab.json";
/// The daemon's output, in the node's store.
pub(crate) const LOG: &str = "daemon.log";
/// The daemon's own directory, in the node's store.
pub(crate) const DATA_ROOT: &str = "data";
/// A demo's `up` takes about a second; a busy machine some more.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Where one lab keeps itself.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) run_root: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) store_root: PathBuf,
    pub(crate) store: PathBuf,
}

/// A machine of the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) address: Ipv4Addr,
    pub(crate) cable: Cable,
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Switch,
    Outside,
    Node(NodeRole),
}

/// Everything about a lab that is not seen in the kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) name: String,
    pub(crate) third: u8,
    pub(crate) program: PathBuf,
    pub(crate) daemon: PathBuf,
    pub(crate) daemon_args: Vec<String>,
    pub(crate) store: PathBuf,
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) whole: bool,
}

impl Record {
    /// The format that this version writes and reads.
    pub(crate) const VERSION: u32 = 1;

    pub(crate) fn machine(&self, name: &str) -> Result<&Machine, LabError> {
        let found = self.machines.iter().find(|m| m.name == name);
        found.ok_or_else(|| LabError::NoNode {
            lab: self.name.clone(),
            node: name.into(),
            known: self
                .plugged()
                .map(|m| m.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Every machine that has a cable: all but the switch.
    pub(crate) fn plugged(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|m| m.kind != Kind::Switch)
    }

    pub(crate) fn switch(&self) -> Result<&Machine, LabError> {
        self.machine(super::up::SWITCH)
    }
}

impl Place {
    pub(crate) fn new(roots: &Roots, name: &str) -> Result<Self, LabError> {
        check_name(name)?;
        Ok(Self {
            name: name.into(),
            run_root: roots.run.clone(),
            run: roots.run.join(name),
            store_root: roots.store.clone(),
            store: roots.store.join(name),
        })
    }

    /// Small files of one machine: pid, control socket, its init's messages.
    pub(crate) fn run_of(&self, machine: &str) -> PathBuf {
        self.run.join(machine)
    }

    /// What of a node outlives a kill.
    pub(crate) fn store_of(&self, machine: &str) -> PathBuf {
        self.store.join(machine)
    }

    pub(crate) fn read(&self) -> Result<Record, LabError> {
        match read(&self.run) {
            Ok(record) => Ok(record),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.run.exists() => {
                Err(LabError::NoLab {
                    name: self.name.clone(),
                })
            }
            Err(e) => Err(LabError::HalfDead {
                name: self.name.clone(),
                what: format!("its record cannot be read: {e}"),
            }),
        }
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), LabError> {
        let act = || LabError::io(format!("write the record of lab {}", self.name));
        let next = self.run.join("lab.json.next");
        let text = serde_json::to_vec_pretty(record).map_err(|e| act()(io::Error::from(e)))?;
        let mut file = File::create(&next).map_err(act())?;
        file.write_all(&text).map_err(act())?;
        fs::rename(&next, self.run.join(RECORD)).map_err(act())
    }

    /// Keeps other lab commands out until the answer is dropped. Labs of one root take turns, since
    /// they choose ranges together.
    pub(crate) fn lock(&self) -> Result<File, LabError> {
        let act = || LabError::io(format!("lock {}", self.run_root.display()));
        let end = Instant::now() + LOCK_WAIT;
        while Instant::now() < end {
            fs::create_dir_all(&self.run_root).map_err(act())?;
            let file = match File::open(&self.run_root) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(act())?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // A `down` may have removed the directory that we hold.
                Ok(()) if is_at(&file, &self.run_root) => return Ok(file),
                Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => procs::pause(),
                Err(e) => return Err(act()(e.into())),
            }
        }
        let path = self.run_root.display().to_string();
        Err(LabError::Busy {
            path,
            seconds: LOCK_WAIT.as_secs(),
        })
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        _ => false,
    }
}

/// The record in a lab's run directory.
pub(crate) fn read(run: &Path) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&fs::read(run.join(RECORD))?)?;
    if record.version == Record::VERSION {
        return Ok(record);
    }
    Err(io::Error::other(format!(
        "it is of version {}, which this skep does not read",
        record.version
    )))
}

/// The labs of these roots, by name.
pub(crate) fn names(roots: &Roots) -> Result<Vec<String>, LabError> {
    let entries = match fs::read_dir(&roots.run) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(LabError::io(format!("read {}", roots.run.display())))?,
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}
