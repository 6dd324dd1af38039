//! Namespaces, seccomp and the system calls that containers are made with.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::process::PidfdFlags;

use super::{Finding, State, apart, kernel};

/// The word by which this program starts itself to try a user namespace, for which it must have one thread.
pub const ALONE: &str = "skep-check-user-namespace";

/// Namespaces that every container has.
const NAMESPACES: [(&str, &str, CloneFlags); 6] = [
    ("pid", "PID_NS", CloneFlags::CLONE_NEWPID),
    ("network", "NET_NS", CloneFlags::CLONE_NEWNET),
    ("mount", "NAMESPACES", CloneFlags::CLONE_NEWNS),
    ("uts", "UTS_NS", CloneFlags::CLONE_NEWUTS),
    ("ipc", "IPC_NS", CloneFlags::CLONE_NEWIPC),
    ("cgroup", "CGROUPS", CloneFlags::CLONE_NEWCGROUP),
];

pub(super) fn findings() -> Vec<Finding> {
    let mut all: Vec<Finding> = NAMESPACES
        .into_iter()
        .map(|(name, option, flag)| namespace(name, option, apart(flag, || Ok(()))))
        .collect();
    all.push(user_namespace(OsStr::new("/proc/self/exe")));
    all.push(seccomp(apart(CloneFlags::empty(), kernel::filter_calls)));
    all.push(clone3(kernel::clones_into_groups()));
    all.push(pidfd());
    all.push(openat2());
    all
}

pub(super) fn namespace(name: &str, option: &str, tried: io::Result<()>) -> Finding {
    let check = format!("{name} namespace");
    match tried {
        Ok(()) => Finding::ok(check, "can be made"),
        Err(error) => {
            let mend = match error.raw_os_error() {
                Some(libc::EPERM) => "run it as root, outside of a container".to_owned(),
                Some(libc::ENOSPC) => {
                    let kind = match name {
                        "network" => "net",
                        "mount" => "mnt",
                        other => other,
                    };
                    format!("sysctl -w user.max_{kind}_namespaces=10000")
                }
                _ => format!("boot a kernel with CONFIG_{option}=y"),
            };
            Finding::missing(
                check,
                format!("{error}: no container runs without it"),
                mend,
            )
        }
    }
}

/// What `ALONE` does: it ends with the kernel's answer, 0 for yes.
pub fn user_namespace_main() -> ExitCode {
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => u8::try_from(error as i32).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// `program` is this one.
pub(super) fn user_namespace(program: &OsStr) -> Finding {
    let check = "user namespace";
    let ended = Command::new(program).arg(ALONE).status();
    let answer = ended.map(|status| status.code());
    match answer {
        Ok(Some(0)) => Finding::ok(check, "can be made"),
        Ok(Some(code)) => Finding::degraded(
            check,
            format!(
                "{}: no container can have one",
                io::Error::from_raw_os_error(code)
            ),
            "sysctl -w user.max_user_namespaces=10000, or boot a kernel with CONFIG_USER_NS=y",
        ),
        Ok(None) | Err(_) => Finding::degraded(
            check,
            "could not be tried: this program cannot start itself",
            "mount /proc",
        ),
    }
}

pub(super) fn seccomp(tried: io::Result<()>) -> Finding {
    match tried {
        Ok(()) => Finding::ok("seccomp", "filters are taken"),
        Err(error) => Finding::missing(
            "seccomp",
            format!("{error}: containers are not started without their filter"),
            "boot a kernel with CONFIG_SECCOMP_FILTER=y",
        ),
    }
}

pub(super) fn clone3(tried: io::Result<bool>) -> Finding {
    match tried {
        Ok(true) => Finding::ok("clone3", "begins processes in their control group"),
        Ok(false) => Finding::degraded(
            "clone3",
            "does not begin processes in a control group, which cgroup v2 needs; v1 does without",
            "boot Linux 5.7 or newer",
        ),
        Err(error) => Finding::missing(
            "clone3",
            format!("{error}: no container can be started"),
            "boot Linux 5.7 or newer; in a container, let its seccomp policy allow clone3",
        ),
    }
}

fn pidfd() -> Finding {
    let own = rustix::process::getpid();
    match rustix::process::pidfd_open(own, PidfdFlags::empty()) {
        Ok(_) => Finding::ok("pidfd", "processes have descriptors"),
        Err(error) => Finding::missing(
            "pidfd",
            format!("{error}: supervisors cannot watch containers"),
            "boot Linux 5.3 or newer",
        ),
    }
}

fn openat2() -> Finding {
    let opened = rustix::fs::openat2(
        rustix::fs::CWD,
        "/",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    );
    match opened {
        Ok(_) => Finding::ok("openat2", "paths are resolved under a root"),
        Err(error) => Finding {
            check: "openat2".to_owned(),
            state: State::Missing,
            found: format!("{error}: paths in containers cannot be resolved safely"),
            mend: Some("boot Linux 5.6 or newer".to_owned()),
        },
    }
}
