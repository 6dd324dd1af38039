//! Control groups: one group per container below a parent, in every hierarchy that counts.
//!
//! Version 2 is the product; version 1 and the hybrid layout work with the same limits. It never
//! mounts, never moves a process (the child enters by itself) and touches nothing outside the
//! parent it was given, save to hand controllers down to it.

mod detect;
mod devices;
mod kernel;
mod limits;
#[cfg(test)]
mod tests;
mod usage;

pub use detect::{Hierarchies, Layout};
pub use devices::{DeviceRule, Kind};
pub use limits::Limits;
pub use usage::Usage;

use skep_shim::plan;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Where supervisors live, beside the groups of containers.
const SUPERVISORS: &str = "_supervisors";
/// Version 1 hierarchies that every container gets a group in.
const ALWAYS: &[&str] = &[
    "memory", "cpu", "cpuacct", "pids", "freezer", "devices", "blkio",
];
/// Controllers that are handed down in the version 2 tree.
const HANDED_DOWN: &[&str] = &["memory", "cpu", "pids", "cpuset", "io"];

/// Why a control group cannot be made or changed.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// Nothing is mounted.
    #[error("no control groups are mounted; mount cgroup2 on /sys/fs/cgroup")]
    None,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A limit cannot be set.
    #[error("cannot write {value:?} to {path}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// A group cannot be made.
    #[error("cannot make the control group {path}")]
    Make {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not take the device program.
    #[error("cannot restrict the devices of {path}")]
    Devices {
        /// Of which group.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A limit was asked for and no controller offers it.
    #[error("this machine has no {0} controller, which the container's limits need")]
    Missing(&'static str),
    /// Processes do not end, or the kernel holds on to the group.
    #[error("the control group {path} is still in use after {after:?}")]
    Busy {
        /// Which one.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
}

/// All groups below one parent.
#[derive(Clone, Debug)]
pub struct Cgroups {
    hierarchies: Hierarchies,
    parent: PathBuf,
}

/// The groups of one container.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    unified: Option<PathBuf>,
    /// True if limits and counters are those of version 2.
    counts_unified: bool,
    legacy: Vec<(String, PathBuf)>,
}

/// What a container uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of memory, the page cache included.
    pub memory_bytes: u64,
    /// Processor time since its beginning.
    pub cpu: Duration,
    /// Processes and threads.
    pub pids: u64,
    /// Processes killed because the memory limit was reached.
    pub oom_kills: u64,
}

impl Cgroups {
    /// Uses the machine's hierarchies; `parent` is a path below their roots, such as `skep`.
    ///
    /// # Errors
    /// As [`Hierarchies::detect`], or if the parent cannot be made.
    pub fn open(parent: &Path) -> Result<Self, CgroupError> {
        Self::with(Hierarchies::detect()?, parent)
    }

    /// Uses the given hierarchies.
    ///
    /// # Errors
    /// If the parent cannot be made.
    pub fn with(hierarchies: Hierarchies, parent: &Path) -> Result<Self, CgroupError> {
        let parent = parent.strip_prefix("/").unwrap_or(parent).to_owned();
        let groups = Self {
            hierarchies,
            parent,
        };
        groups.make_parent()?;
        Ok(groups)
    }

    fn make_parent(&self) -> Result<(), CgroupError> {
        for root in self.hierarchies.legacy.values() {
            make(&root.join(&self.parent).join(SUPERVISORS))?;
        }
        if let Some(unified) = &self.hierarchies.unified {
            let mut path = unified.clone();
            self.hand_down(&path);
            for name in &self.parent {
                path.push(name);
                make(&path)?;
                self.hand_down(&path);
            }
            make(&path.join(SUPERVISORS))?;
        }
        Ok(())
    }

    /// Lets the children of a version 2 group have controllers. What is missing shows when a
    /// limit is set.
    fn hand_down(&self, group: &Path) {
        let known = HANDED_DOWN
            .iter()
            .filter(|name| self.hierarchies.is_unified(name));
        for controller in known {
            let _ = std::fs::write(
                group.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
    }

    /// Which versions this machine uses.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.hierarchies.layout()
    }

    /// Files into which a supervisor writes `0` to leave the daemon's groups: only where the
    /// daemon is in a group that a service manager could end as a whole.
    #[must_use]
    pub fn supervisor_files(&self, own: &str) -> Vec<PathBuf> {
        let elsewhere = |controller: &str| {
            own.lines()
                .filter_map(|line| line.split_once(':')?.1.split_once(':'))
                .any(|(names, path)| names.split(',').any(|name| name == controller) && path != "/")
        };
        let below = |root: &Path| root.join(&self.parent).join(SUPERVISORS);
        let legacy = self
            .hierarchies
            .legacy
            .iter()
            .filter(|(name, _)| elsewhere(name));
        let mut files: Vec<_> = legacy.map(|(_, root)| below(root).join("tasks")).collect();
        files.sort();
        files.dedup();
        if let Some(unified) = self.hierarchies.unified.as_ref().filter(|_| elsewhere("")) {
            files.push(below(unified).join("cgroup.procs"));
        }
        files
    }

    /// The version 1 hierarchies that a container may see, by directory name and controllers;
    /// none if version 2 counts.
    #[must_use]
    pub fn visible(&self) -> Vec<(String, Vec<String>)> {
        let mut by_path = std::collections::BTreeMap::<&Path, Vec<String>>::new();
        for name in ["cpu", "cpuacct", "memory", "pids"] {
            if let Some(path) = self.hierarchies.legacy.get(name) {
                by_path.entry(path).or_default().push(name.to_owned());
            }
        }
        by_path
            .into_values()
            .map(|names| (names.join(","), names))
            .collect()
    }

    /// Makes the groups of a container and sets its limits.
    ///
    /// # Errors
    /// [`CgroupError`]; what had been made is removed again.
    pub fn make(&self, id: &str, limits: &Limits) -> Result<Group, CgroupError> {
        let group = self.group(id, limits);
        group.create(limits).inspect_err(|_| {
            let _ = group.try_remove();
        })?;
        Ok(group)
    }

    /// Removes the groups of a container of which nothing else is known, if no process is in them.
    pub fn discard(&self, id: &str) {
        let every = Limits {
            cpus: Some(String::new()),
            ..Limits::default()
        };
        self.group(id, &every).discard();
    }

    fn group(&self, id: &str, limits: &Limits) -> Group {
        let place = |root: &Path| root.join(&self.parent).join(id);
        let wanted =
            |name: &str| ALWAYS.contains(&name) || (name == "cpuset" && limits.wants_cpuset());
        let legacy = self
            .hierarchies
            .legacy
            .iter()
            .filter(|(name, _)| wanted(name));
        Group {
            unified: self.hierarchies.unified.as_deref().map(place),
            counts_unified: self.hierarchies.is_unified("memory"),
            legacy: legacy
                .map(|(name, root)| (name.clone(), place(root)))
                .collect(),
        }
    }
}

impl Group {
    fn create(&self, limits: &Limits) -> Result<(), CgroupError> {
        for path in self.paths() {
            make(path)?;
        }
        limits.apply(self)
    }

    /// Every directory, each once.
    fn paths(&self) -> Vec<&Path> {
        let mut paths: Vec<_> = self.legacy.iter().map(|(_, path)| path.as_path()).collect();
        paths.extend(self.unified.as_deref());
        paths.sort();
        paths.dedup();
        paths
    }

    pub(super) fn legacy(&self, controller: &str) -> Option<&Path> {
        self.legacy
            .iter()
            .find(|(name, _)| name == controller)
            .map(|(_, path)| path.as_path())
    }

    /// What the supervisor needs to put a container into these groups.
    #[must_use]
    pub fn plan(&self) -> plan::Groups {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        let mut tasks: Vec<_> = self
            .legacy
            .iter()
            .map(|(_, path)| text(&path.join("tasks")))
            .collect();
        tasks.sort();
        tasks.dedup();
        let oom = if self.counts_unified {
            self.unified.as_ref().map(|path| path.join("memory.events"))
        } else {
            self.legacy("memory")
                .map(|path| path.join("memory.oom_control"))
        };
        plan::Groups {
            unified: self.unified.as_deref().map(text),
            tasks,
            oom: oom.map(|path| path.to_string_lossy().into_owned()),
            private: true,
        }
    }

    /// Kills every process of the container, at once where the kernel can (version 2), or by
    /// freezing and signalling.
    ///
    /// # Errors
    /// If processes are still there after the deadline.
    pub async fn kill(&self, deadline: Duration) -> Result<(), CgroupError> {
        let until = Instant::now() + deadline;
        loop {
            let group = self.clone();
            let alive = tokio::task::spawn_blocking(move || group.kill_once()).await;
            if !alive.unwrap_or(true) {
                return Ok(());
            }
            self.pause(until, deadline).await?;
        }
    }

    async fn pause(&self, until: Instant, deadline: Duration) -> Result<(), CgroupError> {
        if Instant::now() >= until {
            let path = self
                .paths()
                .first()
                .map(|path| path.to_path_buf())
                .unwrap_or_default();
            return Err(CgroupError::Busy {
                path,
                after: deadline,
            });
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(())
    }

    /// True if something was still alive.
    fn kill_once(&self) -> bool {
        if let Some(unified) = &self.unified
            && std::fs::write(unified.join("cgroup.kill"), "1").is_ok()
        {
            return !self.pids().is_empty();
        }
        let _ = self.set_frozen(true);
        let pids = self.pids();
        for pid in &pids {
            let _ = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
        }
        let _ = self.set_frozen(false);
        !pids.is_empty()
    }

    fn pids(&self) -> Vec<rustix::process::Pid> {
        let path = self.unified.as_deref().or_else(|| self.legacy("freezer"));
        let path = path
            .or_else(|| self.legacy("pids"))
            .map(|path| path.join("cgroup.procs"));
        let text = path
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        let numbers = text.lines().filter_map(|line| line.parse().ok());
        numbers.filter_map(rustix::process::Pid::from_raw).collect()
    }

    /// The processes in it.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let pids = self.pids();
        pids.into_iter()
            .map(|pid| pid.as_raw_nonzero().get())
            .collect()
    }

    /// Freezes or thaws all processes; they stop soon after, not at once.
    ///
    /// # Errors
    /// If the kernel refuses, or has no freezer.
    pub fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        if let Some(freezer) = self.legacy("freezer") {
            return write(
                &freezer.join("freezer.state"),
                if frozen { "FROZEN" } else { "THAWED" },
            );
        }
        let unified = self
            .unified
            .as_ref()
            .ok_or(CgroupError::Missing("freezer"))?;
        write(
            &unified.join("cgroup.freeze"),
            if frozen { "1" } else { "0" },
        )
    }

    /// True if its processes are frozen, or about to be.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let file = match (self.legacy("freezer"), &self.unified) {
            (Some(freezer), _) => freezer.join("freezer.state"),
            (None, Some(unified)) => unified.join("cgroup.freeze"),
            (None, None) => return false,
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        matches!(text.trim(), "FROZEN" | "FREEZING" | "1")
    }

    /// What the container uses now. What cannot be read counts as zero.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let read = |path: Option<PathBuf>| {
            path.and_then(|path| std::fs::read_to_string(path).ok())
                .unwrap_or_default()
        };
        let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
        let field = |text: String, name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value.parse().ok())
        };
        let old = |controller: &str, file: &str| Some(self.legacy(controller)?.join(file));
        let new = |file: &str| Some(self.unified.as_ref()?.join(file));
        if self.counts_unified {
            let micros = field(read(new("cpu.stat")), "usage_usec").unwrap_or(0);
            return Stats {
                memory_bytes: number(read(new("memory.current"))),
                cpu: Duration::from_micros(micros),
                pids: number(read(new("pids.current"))),
                oom_kills: field(read(new("memory.events")), "oom_kill").unwrap_or(0),
            };
        }
        let oom = read(old("memory", "memory.oom_control"));
        Stats {
            memory_bytes: number(read(old("memory", "memory.usage_in_bytes"))),
            cpu: Duration::from_nanos(number(read(old("cpuacct", "cpuacct.usage")))),
            pids: number(read(old("pids", "pids.current"))),
            oom_kills: field(oom, "oom_kill").unwrap_or(0),
        }
    }

    /// Removes the groups, trying again while the kernel is still letting go of the last process.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] after the deadline.
    pub async fn remove(&self, deadline: Duration) -> Result<(), CgroupError> {
        let until = Instant::now() + deadline;
        loop {
            let group = self.clone();
            let removed = tokio::task::spawn_blocking(move || group.try_remove()).await;
            if removed.unwrap_or(false) {
                return Ok(());
            }
            self.pause(until, deadline).await?;
        }
    }

    /// Removes the groups of a container that never had a process, as far as that goes.
    pub fn discard(&self) {
        let _ = self.try_remove();
    }

    /// True if nothing is left.
    fn try_remove(&self) -> bool {
        let gone = |path: &&Path| match std::fs::remove_dir(path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.paths().iter().filter(|path| !gone(path)).count() == 0
    }
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    std::fs::write(path, value).map_err(|source| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    })
}

fn make(path: &Path) -> Result<(), CgroupError> {
    std::fs::create_dir_all(path).map_err(|source| CgroupError::Make {
        path: path.to_owned(),
        source,
    })
}
