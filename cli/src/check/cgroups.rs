//! Control groups: the layout, the controllers, and whether a group can be made in each hierarchy.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use skep_worker::exec::cgroup::{Hierarchies, Layout};

use super::Finding;

/// Groups of probes are named so, and carry the process's number.
const PREFIX: &str = "skep-check-";
/// What containers are held with; without them no limit is kept.
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];
/// What single options need: version 2's name, version 1's, and the options.
const WISHED: [(&str, &str, &str); 2] = [
    ("cpuset", "cpuset", "--cpuset-cpus"),
    ("io", "blkio", "block io weights and rates"),
];

pub(super) fn findings() -> Vec<Finding> {
    match Hierarchies::detect() {
        Ok(found) => of(&found),
        Err(error) => vec![Finding::missing(
            "cgroups",
            error.to_string(),
            "mount -t cgroup2 none /sys/fs/cgroup",
        )],
    }
}

pub(super) fn of(found: &Hierarchies) -> Vec<Finding> {
    let has = |v2: &str, v1: &str| found.is_unified(v2) || found.legacy.contains_key(v1);
    let names = || {
        let unified = found.unified_controllers.iter().map(String::as_str);
        let legacy = found.legacy.keys().map(String::as_str);
        let all: BTreeSet<&str> = unified.chain(legacy).collect();
        all.into_iter().collect::<Vec<_>>().join(" ")
    };
    let layout = match found.layout() {
        Layout::Unified => Finding::ok("cgroups", format!("version 2 with {}", names())),
        Layout::Hybrid => Finding::degraded(
            "cgroups",
            format!(
                "version 1 beside version 2 (hybrid) with {}; containers start slower",
                names()
            ),
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
        Layout::Legacy => Finding::degraded(
            "cgroups",
            format!("version 1 with {}; containers start slower", names()),
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
    };
    let mut all = vec![layout];
    for name in NEEDED.into_iter().filter(|name| !has(name, name)) {
        all.push(Finding::missing(
            format!("{name} controller"),
            "not there: such limits are not kept",
            format!("boot with cgroup_enable={name}, or a kernel that has it"),
        ));
    }
    for (v2, v1, options) in WISHED.into_iter().filter(|(v2, v1, _)| !has(v2, v1)) {
        all.push(Finding::degraded(
            format!("{v2} controller"),
            format!("not there: {options} are refused"),
            format!("boot with cgroup_enable={v1}, or a kernel that has it"),
        ));
    }
    let roots: BTreeSet<&PathBuf> = found.unified.iter().chain(found.legacy.values()).collect();
    all.extend(roots.into_iter().filter_map(|root| cannot_make(root)));
    all
}

/// What keeps a group from being made there.
fn cannot_make(root: &Path) -> Option<Finding> {
    sweep(root);
    let path = root.join(format!("{PREFIX}{}", std::process::id()));
    let tried = fs::create_dir(&path).and_then(|()| {
        let whole = path.join("cgroup.procs").exists();
        fs::remove_dir(&path)?;
        if whole {
            Ok(())
        } else {
            Err(io::Error::other("what was made there is no control group"))
        }
    });
    let error = tried.err()?;
    Some(Finding::missing(
        format!("groups in {}", root.display()),
        format!("{error}: containers cannot be held"),
        format!("mount -o remount,rw {}", root.display()),
    ))
}

/// Removes groups of checks that were killed.
fn sweep(root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir(entry.path()));
        }
    }
}
