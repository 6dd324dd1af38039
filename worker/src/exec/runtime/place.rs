//! Where a container's files are, and the record that a later daemon finds.

use crate::exec::cgroup::Group;
use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The two directories of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Gone after a restart of the machine: socket and mount point.
    pub volatile: PathBuf,
    /// Stays: record, log, how it ended.
    pub lasting: PathBuf,
}

/// What a later daemon must know of a container. A newer release only adds fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The shape of this record.
    pub version: u16,
    /// The container's id.
    pub id: String,
    /// What whoever made it wanted to be kept.
    pub labels: BTreeMap<String, String>,
    /// What asks it to end.
    pub stop_signal: i32,
    /// Its memory limit, for the reason that a user reads.
    pub memory_limit: Option<u64>,
    /// Its control groups.
    pub group: Group,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What further programs begin with; absent in records of releases that ran none.
    #[serde(default)]
    pub program: Option<Base>,
    /// True if its output is not kept.
    #[serde(default)]
    pub logless: bool,
}

/// What further programs in a container have of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The container's own program and arguments; absent in records of earlier releases.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Base {
    /// Of a bundle's own program.
    pub fn of(process: &Process) -> Self {
        let user = process.user();
        Self {
            args: process.args().clone().unwrap_or_default(),
            env: process.env().clone().unwrap_or_default(),
            cwd: process.cwd().clone(),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
        }
    }
}

/// The shape of [`Record`] that is written.
pub const RECORD_VERSION: u16 = 1;

impl Place {
    /// The place of a container below the two roots.
    pub fn new(exec_root: &Path, state_root: &Path, id: &str) -> Self {
        Self {
            volatile: exec_root.join(id),
            lasting: state_root.join(id),
        }
    }

    /// Where its supervisor listens.
    pub fn socket(&self) -> PathBuf {
        self.volatile.join("sock")
    }

    /// Where its root is mounted, inside its own mount namespace.
    pub fn mount_point(&self) -> PathBuf {
        self.volatile.join("root")
    }

    /// The note that it exists.
    pub fn created(&self) -> PathBuf {
        self.volatile.join("created")
    }

    /// The note how it ended.
    pub fn ended(&self) -> PathBuf {
        self.lasting.join("ended")
    }

    /// Its output.
    pub fn log(&self) -> PathBuf {
        self.lasting.join("log")
    }

    fn record(&self) -> PathBuf {
        self.lasting.join("record")
    }

    /// Makes both directories, for root alone. The lasting one must be new.
    pub fn make(&self) -> io::Result<()> {
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).create(&self.lasting)?;
        // A supervisor that was killed leaves this one behind.
        remove(&self.volatile)?;
        private.create(&self.volatile)?;
        private.create(self.mount_point())
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let unfinished = self.lasting.join("record.new");
        std::fs::write(&unfinished, serde_json::to_vec(record)?)?;
        std::fs::rename(unfinished, self.record())
    }

    /// Reads the record.
    pub fn read(&self) -> io::Result<Record> {
        Ok(serde_json::from_slice(&std::fs::read(self.record())?)?)
    }

    /// Removes all of it. That something is gone already is no error.
    pub fn clear(&self) -> io::Result<()> {
        remove(&self.volatile)?;
        remove(&self.lasting)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
