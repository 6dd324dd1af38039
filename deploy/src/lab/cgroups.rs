//! The lab's cgroups: `skep-lab-NAME/MACHINE` in every hierarchy that is mounted, v1 or v2.
//!
//! They do two things: a daemon finds a subtree of its own in its node, and `down` finds every
//! process of a lab by name alone. No limit is set here, and no process of others is moved.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::LabError;
use super::procs::{self, Proc};

/// Where a v2 machine's init and the commands run in it live, so that the node's root stays free of
/// processes and can enable controllers for its children.
const LEAF: &str = "init";
/// What a daemon needs on v2.
const WANTED: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];
/// Killed processes leave their cgroup within milliseconds; a machine that swaps needs longer.
const EMPTY_WAIT: Duration = Duration::from_secs(20);

/// One mounted tree of cgroups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) kind: Version,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    /// The mount options that name it: `cpu,cpuacct` or `none,name=systemd`.
    V1(String),
    V2,
}

impl Hierarchy {
    fn group(&self, lab: &str) -> PathBuf {
        self.mount.join(format!("skep-lab-{lab}"))
    }

    fn is_cpuset(&self) -> bool {
        matches!(&self.kind, Version::V1(options) if options.split(',').any(|o| o == "cpuset"))
    }

    /// The file through which a process enters: `tasks` on v1, since a write to `cgroup.procs` there
    /// waits for every other thread of the machine to come to rest.
    fn door(&self) -> &'static str {
        if self.kind == Version::V2 {
            "cgroup.procs"
        } else {
            "tasks"
        }
    }
}

/// The hierarchies of this machine that can be written.
pub(crate) fn mounted() -> Result<Vec<Hierarchy>, LabError> {
    let text =
        fs::read_to_string("/proc/self/mountinfo").map_err(LabError::io("read the mounts"))?;
    let found = parse(&text);
    if !found.is_empty() {
        return Ok(found);
    }
    Err(LabError::Missing {
        feature: "a writable cgroup hierarchy".into(),
        advice: "mount one: `mount -t cgroup2 none /sys/fs/cgroup`".into(),
    })
}

/// Reads mountinfo (proc(5)); a hierarchy mounted twice counts once.
pub(crate) fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (left, right): (Vec<&str>, Vec<&str>) =
            (left.split(' ').collect(), right.split(' ').collect());
        let (Some(mount), Some(flags)) = (left.get(4), left.get(5)) else {
            continue;
        };
        let options = right.get(2).copied().unwrap_or_default();
        let kind = match right.first() {
            Some(&"cgroup") => Version::V1(naming(options)),
            Some(&"cgroup2") => Version::V2,
            _ => continue,
        };
        let writable = flags.split(',').any(|f| f == "rw");
        if writable && !found.iter().any(|h| h.kind == kind) {
            found.push(Hierarchy {
                mount: mount.into(),
                kind,
            });
        }
    }
    found
}

/// Of a v1 superblock's options, those that name the hierarchy.
fn naming(options: &str) -> String {
    let others = [
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    let kept: Vec<&str> = options
        .split(',')
        .filter(|o| !others.contains(o) && !o.starts_with("release_agent="))
        .collect();
    if kept.iter().all(|o| o.starts_with("name=")) {
        return format!("none,{}", kept.join(","));
    }
    kept.join(",")
}

/// Makes the lab's own group in every hierarchy.
pub(crate) fn make_lab(all: &[Hierarchy], lab: &str) -> Result<(), LabError> {
    let v2_alone = all.iter().all(|h| h.kind == Version::V2);
    for h in all {
        if v2_alone {
            // A container's root refuses this (it holds processes); the node then has what there is.
            let _ = enable(&h.mount);
        }
        make(h, &h.group(lab))?;
        if h.kind == Version::V2 {
            enable(&h.group(lab)).map_err(LabError::io("enable cgroup controllers for the lab"))?;
        }
    }
    Ok(())
}

/// Makes one machine's groups.
pub(crate) fn make_machine(all: &[Hierarchy], lab: &str, machine: &str) -> Result<(), LabError> {
    for h in all {
        let group = h.group(lab).join(machine);
        make(h, &group)?;
        if h.kind == Version::V2 {
            make(h, &group.join(LEAF))?;
        }
    }
    Ok(())
}

fn make(h: &Hierarchy, group: &Path) -> Result<(), LabError> {
    let act = || LabError::io(format!("make the cgroup {}", group.display()));
    fs::create_dir(group).map_err(act())?;
    if h.is_cpuset() {
        // A new v1 cpuset is empty and would take no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = group.parent().unwrap_or(group).join(file);
            let value = fs::read_to_string(above).map_err(act())?;
            fs::write(group.join(file), value.trim()).map_err(act())?;
        }
    }
    Ok(())
}

/// Gives the children of a v2 group every controller that the group has and a daemon needs.
fn enable(group: &Path) -> io::Result<()> {
    let present = fs::read_to_string(group.join("cgroup.controllers"))?;
    let control = group.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control)?;
    for word in present.split_whitespace().filter(|w| WANTED.contains(w)) {
        if !enabled.split_whitespace().any(|e| e == word) {
            fs::write(&control, format!("+{word}"))?;
        }
    }
    Ok(())
}

/// Moves the calling process to the root of a machine's groups, where its cgroup namespace begins.
pub(crate) fn enter_root(all: &[Hierarchy], lab: &str, machine: &str) -> io::Result<()> {
    all.iter()
        .try_for_each(|h| fs::write(h.group(lab).join(machine).join(h.door()), "0"))
}

/// Moves the calling process out of the root again where the root must be empty, and lets the root
/// give controllers to its children.
pub(crate) fn settle(all: &[Hierarchy], lab: &str, machine: &str) -> io::Result<()> {
    for h in all.iter().filter(|h| h.kind == Version::V2) {
        let group = h.group(lab).join(machine);
        fs::write(group.join(LEAF).join(h.door()), "0")?;
        enable(&group)?;
    }
    Ok(())
}

/// Moves the calling process to where a machine's own processes are.
pub(crate) fn enter(all: &[Hierarchy], lab: &str, machine: &str) -> io::Result<()> {
    for h in all {
        let group = h.group(lab).join(machine);
        let group = if h.kind == Version::V2 {
            group.join(LEAF)
        } else {
            group
        };
        fs::write(group.join(h.door()), "0")?;
    }
    Ok(())
}

/// Ends every process in one machine's groups, or in the whole lab's, and removes the groups.
pub(crate) fn clear(all: &[Hierarchy], lab: &str, machine: Option<&str>) -> Result<(), LabError> {
    let tops: Vec<PathBuf> = all
        .iter()
        .map(|h| machine.map_or_else(|| h.group(lab), |m| h.group(lab).join(m)))
        .filter(|top| top.exists())
        .collect();
    let gone = procs::wait_until(EMPTY_WAIT, || {
        tops.iter().for_each(|top| end_all(top));
        tops.iter().all(|top| remove(top).is_ok())
    });
    if gone {
        return Ok(());
    }
    let left = tops.iter().find(|top| top.exists());
    let what = left.map_or_else(String::new, |top| {
        format!("the cgroup {} to be empty", top.display())
    });
    Err(LabError::Late {
        what,
        seconds: EMPTY_WAIT.as_secs(),
    })
}

fn end_all(group: &Path) {
    // A frozen process does not die: thaw first. Files that this version lacks are no error.
    let _ = fs::write(group.join("freezer.state"), "THAWED");
    let _ = fs::write(group.join("cgroup.freeze"), "0");
    for pid in pids(group) {
        // Our own pid stands here if a lab command runs in a lab; it must live to finish.
        if u32::try_from(pid) != Ok(std::process::id())
            && let Ok(found) = Proc::of(pid)
        {
            let _ = found.kill(Duration::from_secs(1));
        }
    }
    children(group).iter().for_each(|child| end_all(child));
}

fn pids(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .collect()
}

fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else {
        return Vec::new();
    };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|t| t.is_dir());
    entries
        .filter_map(Result::ok)
        .filter(is_dir)
        .map(|entry| entry.path())
        .collect()
}

fn remove(group: &Path) -> io::Result<()> {
    for child in children(group) {
        remove(&child)?;
    }
    match fs::remove_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, expected: &[(&str, Version)]) {
        let expected: Vec<Hierarchy> = expected
            .iter()
            .map(|(m, kind)| Hierarchy {
                mount: m.into(),
                kind: kind.clone(),
            })
            .collect();
        assert_eq!(parse(mountinfo), expected);
    }

    #[test]
    fn a_hybrid_machine_has_both_versions() {
        check(
            "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
            &[
                ("/sys/fs/cgroup/cpu", Version::V1("cpu,cpuacct".into())),
                (
                    "/sys/fs/cgroup/systemd",
                    Version::V1("none,name=systemd".into()),
                ),
                ("/sys/fs/cgroup/unified", Version::V2),
            ],
        );
    }

    #[test]
    fn a_second_or_read_only_mount_does_not_count() {
        check(
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n\
             31 23 0:26 / /mnt/again rw - cgroup2 cgroup2 rw\n\
             32 23 0:27 / /mnt/cpu ro - cgroup cgroup rw,cpu\n",
            &[("/sys/fs/cgroup", Version::V2)],
        );
    }
}
