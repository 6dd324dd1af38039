//! The lab: a whole cluster on one machine, made of namespaces and nothing else.
//!
//! Every node is a program of the user's choice (the daemon) under a small PID 1 of ours, in network,
//! mount, PID, UTS, IPC and cgroup namespaces of its own, with a cable to a switch that lives in a
//! namespace too. One more machine, `outside`, hangs on the same switch and runs no daemon.
//!
//! A lab is held by its processes alone: no namespace is bound to a file and no interface is made on
//! the machine, so what is left after a crash is processes in cgroups with a known name, and files
//! below two directories. [`Lab::down`] needs nothing else to find them.
//!
//! It never prints, never changes the machine's own network, and never ends a process that is not in
//! a cgroup of the lab.

mod cgroups;
mod control;
mod down;
mod enter;
mod error;
mod init;
mod life;
mod links;
mod machine;
mod mounts;
mod options;
mod procs;
mod ranges;
mod record;
mod up;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub use error::LabError;
pub use machine::entry;
pub use options::{DaemonOptions, LabOptions, NodeRole, Roots};

use record::Place;

/// The machine that is no node: asks published ports as a client of the cluster would.
pub const OUTSIDE: &str = "outside";

/// A lab that is up. Dropping it leaves the lab as it is: only [`Lab::down`] ends it.
#[derive(Debug, Clone)]
pub struct Lab {
    place: Place,
}

/// What one machine of a lab is doing now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeStatus {
    /// `node-1` … `node-N`, or `outside`.
    pub name: String,
    /// What the node was made for; none for `outside`.
    pub role: Option<NodeRole>,
    /// Its address on the switch.
    pub address: Ipv4Addr,
    /// Whether its PID 1 lives.
    pub power: Power,
    /// Whether its cable is in the switch.
    pub cable: Cable,
    /// What its daemon does.
    pub daemon: DaemonStatus,
}

/// Whether a machine runs at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Its PID 1 lives.
    On,
    /// It was killed, or never started.
    Off,
}

/// Whether a machine's cable is in the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cable {
    /// Frames pass.
    Plugged,
    /// The far end hangs in the air: the node sees a carrier and hears nothing.
    Cut,
}

/// What a node's daemon does.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonStatus {
    /// It runs; the number is its pid inside the node.
    Running(u32),
    /// It is not running; the text says how the last one ended, if there was one.
    Stopped(Option<String>),
    /// The machine is off, or runs no daemon by nature.
    Absent,
}

/// One line of [`Lab::ls`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LabStatus {
    /// The lab's name.
    pub name: String,
    /// Its nodes and `outside`; empty when the lab was left half made.
    pub nodes: Vec<NodeStatus>,
    /// Whether `up` came to its end; if not, only `down` is of use.
    pub whole: bool,
}

impl Lab {
    /// Makes a lab and starts its daemons; does not wait for what the daemons do.
    ///
    /// When a step fails, what was made is taken away again before the error is given.
    pub fn up(options: &LabOptions) -> Result<Lab, LabError> {
        up::up(options).map(|place| Lab { place })
    }

    /// The lab of that name, in the default directories.
    pub fn open(name: &str) -> Result<Lab, LabError> {
        Lab::open_in(&Roots::default(), name)
    }

    /// The lab of that name, in directories of the caller's choice.
    pub fn open_in(roots: &Roots, name: &str) -> Result<Lab, LabError> {
        let place = Place::new(roots, name)?;
        place.read()?;
        Ok(Lab { place })
    }

    /// All labs of the default directories, by name.
    pub fn ls() -> Result<Vec<LabStatus>, LabError> {
        Lab::ls_in(&Roots::default())
    }

    /// All labs of these directories, by name; half made ones too.
    pub fn ls_in(roots: &Roots) -> Result<Vec<LabStatus>, LabError> {
        let mut found = Vec::new();
        for name in record::names(roots)? {
            let place = Place::new(roots, &name)?;
            let (nodes, whole) = match place.read() {
                Ok(record) => (life::statuses(&place, &record), record.whole),
                Err(_) => (Vec::new(), false),
            };
            found.push(LabStatus { name, nodes, whole });
        }
        Ok(found)
    }

    /// Ends a lab and everything of it, whatever state it is in; works from the name alone.
    pub fn down(self) -> Result<(), LabError> {
        down::down(&self.place)
    }

    /// Like [`Lab::down`], for a lab that cannot be opened because `up` was interrupted.
    pub fn down_in(roots: &Roots, name: &str) -> Result<(), LabError> {
        down::down(&Place::new(roots, name)?)
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Every node, then `outside`, as they are now.
    pub fn nodes(&self) -> Result<Vec<NodeStatus>, LabError> {
        Ok(life::statuses(&self.place, &self.place.read()?))
    }

    /// A node's address on the switch.
    pub fn address(&self, node: &str) -> Result<Ipv4Addr, LabError> {
        Ok(self.place.read()?.machine(node)?.address)
    }

    /// A command that will run `argv` inside the node (or `outside`): namespaces, cgroup, PATH and
    /// `SKEP_HOST` are the node's; standard streams are the caller's to set. It ends with the exit
    /// code of `argv`, 128 + the signal's number if one ended it, 127 if there is no such program.
    /// When the command is killed, what runs inside is killed too.
    pub fn command(&self, node: &str, argv: &[&str]) -> Result<Command, LabError> {
        let record = self.place.read()?;
        life::alive(&self.place, record.machine(node)?)?;
        let mut command = Command::new(&record.program);
        command
            .arg(machine::WORD)
            .arg("enter")
            .arg(&self.place.run)
            .arg(node)
            .arg("--")
            .args(argv);
        Ok(command)
    }

    /// Runs `argv` inside the node to its end, with no input, and gives what it wrote.
    pub fn exec(&self, node: &str, argv: &[&str]) -> Result<Output, LabError> {
        let mut command = self.command(node, argv)?;
        command
            .stdin(Stdio::null())
            .output()
            .map_err(LabError::io(format!("run in {node}")))
    }

    /// Runs `argv` inside the node on the caller's own terminal and gives its exit code.
    pub fn exec_interactive(&self, node: &str, argv: &[&str]) -> Result<u8, LabError> {
        let mut command = self.command(node, argv)?;
        let status = command
            .status()
            .map_err(LabError::io(format!("run in {node}")))?;
        Ok(enter::code_of(status))
    }

    /// Starts `argv` inside the node and lets it run, its streams piped.
    pub fn spawn(&self, node: &str, argv: &[&str]) -> Result<Child, LabError> {
        let mut command = self.command(node, argv)?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .spawn()
            .map_err(LabError::io(format!("start a command in {node}")))
    }

    /// Where the daemon's binary is, inside every machine of the lab.
    pub fn program(&self) -> Result<PathBuf, LabError> {
        let daemon = self.place.read()?.daemon;
        Ok(Path::new(mounts::BIN).join(daemon.file_name().unwrap_or_default()))
    }

    /// Runs `work` on a thread in the machine's network and waits for it: sockets that it opens stay
    /// there and may be given back. Files are the caller's, not the machine's.
    pub fn in_network<T: Send>(
        &self,
        node: &str,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, LabError> {
        let init = life::alive(&self.place, self.place.read()?.machine(node)?)?;
        links::inside(
            &links::open(&format!("/proc/{}/ns/net", init.pid))?,
            node,
            work,
        )
    }

    /// Like [`Lab::in_network`], in the network of a process of the node (a container's, say), by its
    /// pid as the node counts.
    pub fn in_network_of<T: Send>(
        &self,
        node: &str,
        pid: u32,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, LabError> {
        let init = life::alive(&self.place, self.place.read()?.machine(node)?)?;
        let path = format!("/proc/{}/root/proc/{pid}/ns/net", init.pid);
        links::inside(&links::open(&path)?, node, work)
    }

    /// A power cut: the cable goes first, then everything in the node at once. Its store stays.
    pub fn kill(&self, node: &str) -> Result<(), LabError> {
        life::kill(&self.place, node)
    }

    /// SIGKILL to the daemon alone; whatever else runs in the node goes on.
    pub fn kill_daemon(&self, node: &str) -> Result<(), LabError> {
        life::signal_daemon(&self.place, node, rustix::process::Signal::KILL)
    }

    /// SIGTERM to the daemon alone, and a wait for its end.
    pub fn stop_daemon(&self, node: &str) -> Result<(), LabError> {
        life::signal_daemon(&self.place, node, rustix::process::Signal::TERM)
    }

    /// What brings back either kill: a new machine on the old store, or only the daemon.
    pub fn start(&self, node: &str) -> Result<(), LabError> {
        life::start(&self.place, node)
    }

    /// Takes the node's cable out of the switch: silence both ways, and the node keeps its carrier.
    pub fn cut(&self, node: &str) -> Result<(), LabError> {
        life::set_cable(&self.place, node, Cable::Cut)
    }

    /// Puts the cable back.
    pub fn heal(&self, node: &str) -> Result<(), LabError> {
        life::set_cable(&self.place, node, Cable::Plugged)
    }

    /// What the node's daemon wrote so far, over all its starts.
    pub fn logs(&self, node: &str) -> Result<Vec<u8>, LabError> {
        let path = self.log_path(node)?;
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(LabError::io(format!("read {}", path.display()))),
        }
    }

    /// The file behind [`Lab::logs`], for a reader that follows it.
    pub fn log_path(&self, node: &str) -> Result<PathBuf, LabError> {
        let record = self.place.read()?;
        record.machine(node)?;
        Ok(self.place.store_of(node).join(record::LOG))
    }

    /// The daemon's socket as a path that this machine can connect to. It holds until the node is
    /// killed; the daemon may not have made it yet.
    pub fn socket(&self, node: &str) -> Result<PathBuf, LabError> {
        let record = self.place.read()?;
        let pid = life::alive(&self.place, record.machine(node)?)?.pid;
        let inside = Path::new(mounts::SOCKET)
            .strip_prefix("/")
            .unwrap_or(Path::new(""));
        Ok(PathBuf::from(format!("/proc/{pid}/root")).join(inside))
    }
}
