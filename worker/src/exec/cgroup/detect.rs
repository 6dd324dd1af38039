//! Where the kernel's control groups are mounted on this machine. Reads, never mounts.

use super::CgroupError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where each controller lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// The version 2 tree, if it is mounted, with controllers or without.
    pub unified: Option<PathBuf>,
    /// Controllers of the version 2 tree.
    pub unified_controllers: Vec<String>,
    /// Version 1 hierarchies by controller; `name=systemd` is one that has none.
    pub legacy: BTreeMap<String, PathBuf>,
}

/// Which versions a machine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 2 alone.
    Unified,
    /// Version 1 alone.
    Legacy,
    /// Controllers in version 1 hierarchies beside a version 2 tree.
    Hybrid,
}

impl Hierarchies {
    /// Looks at this machine.
    ///
    /// # Errors
    /// [`CgroupError::None`] if there is no control group at all, or if the mounts cannot be read.
    pub fn detect() -> Result<Self, CgroupError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| CgroupError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let mut found = Self::parse(&read(Path::new("/proc/self/mountinfo"))?);
        if let Some(unified) = &found.unified {
            let controllers = read(&unified.join("cgroup.controllers"))?;
            found.unified_controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
        if found.unified.is_none() && found.legacy.is_empty() {
            return Err(CgroupError::None);
        }
        Ok(found)
    }

    /// What a `mountinfo` says; the controllers of the version 2 tree are not in it.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, system)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = mount.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut system = system.split(' ');
            match (system.next(), system.nth(1)) {
                (Some("cgroup2"), _) => {
                    found.unified.get_or_insert(point);
                }
                (Some("cgroup"), Some(options)) => {
                    let controllers = options
                        .split(',')
                        .filter(|word| KNOWN.contains(word) || *word == "name=systemd");
                    for controller in controllers {
                        found
                            .legacy
                            .entry(controller.to_owned())
                            .or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Which versions are used.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match (
            &self.unified,
            self.legacy
                .keys()
                .any(|name| KNOWN.contains(&name.as_str())),
        ) {
            (Some(_), true) => Layout::Hybrid,
            (Some(_), false) => Layout::Unified,
            (None, _) => Layout::Legacy,
        }
    }

    /// True if the version 2 tree has this controller.
    #[must_use]
    pub fn is_unified(&self, controller: &str) -> bool {
        self.unified_controllers
            .iter()
            .any(|known| known == controller)
    }
}

/// Controllers that containers are held with.
const KNOWN: &[&str] = &[
    "memory", "cpu", "cpuacct", "cpuset", "pids", "freezer", "devices", "blkio",
];
