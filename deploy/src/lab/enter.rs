//! Runs a command inside a machine: enters its cgroups and namespaces, starts the command as a child,
//! passes signals on, and ends as the child ended.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::record::{Place, Record};
use super::{cgroups, life, machine, mounts};

/// What a shell would say for that end.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|s| s.saturating_add(128)));
    code.and_then(|c| u8::try_from(c).ok()).unwrap_or(u8::MAX)
}

pub(crate) fn enter(
    place: &Place,
    record: &Record,
    name: &str,
    argv: &[OsString],
) -> Result<ExitCode, String> {
    let [_, ..] = argv else {
        return Err("there is no command to run".into());
    };
    let target = record
        .machine(name)
        .and_then(|m| life::alive(place, m))
        .map_err(|e| e.to_string())?;
    let spaces = open_all(target.pid).map_err(|e| format!("open the namespaces of {name}: {e}"))?;
    cgroups::enter(&record.hierarchies, &record.name, name)
        .map_err(|e| format!("enter the cgroups of {name}: {e}"))?;
    let here = std::env::current_dir().ok();
    for (space, kind) in &spaces {
        setns(space, *kind).map_err(|e| format!("enter a namespace of {name}: {e}"))?;
    }
    let watched = watched();
    watched
        .thread_block()
        .map_err(|e| format!("block signals: {e}"))?;
    let child = command(argv, here.as_deref())
        .spawn()
        .map_err(|e| format!("start a process: {e}"))?;
    let status = accompany(child, &watched).map_err(|e| format!("wait for the command: {e}"))?;
    Ok(ExitCode::from(code_of(status)))
}

/// The mount namespace comes last: `/proc` is the host's until then.
fn open_all(pid: i32) -> io::Result<Vec<(File, CloneFlags)>> {
    let kinds = [
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    let open = |(name, kind)| File::open(format!("/proc/{pid}/ns/{name}")).map(|file| (file, kind));
    kinds.into_iter().map(open).collect()
}

fn command(argv: &[OsString], here: Option<&Path>) -> Command {
    let mut command = machine::runner(true);
    command
        .args(argv)
        .env("SKEP_HOST", format!("unix://{}", mounts::SOCKET));
    command.env("PATH", path());
    // The caller's directory, where the machine shows it too.
    command.current_dir(here.filter(|dir| dir.is_dir()).unwrap_or(Path::new("/")));
    command
}

/// The node's own binaries come first.
pub(crate) fn path() -> OsString {
    let inherited =
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let mut path = OsString::from(mounts::BIN);
    path.push(":");
    path.push(inherited);
    path
}

fn watched() -> SigSet {
    [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
    ]
    .into_iter()
    .collect()
}

/// Waits for the child and sends it what we are sent. A key on the terminal reaches the child without
/// us; only what another process sends is passed on.
fn accompany(mut child: Child, watched: &SigSet) -> io::Result<ExitStatus> {
    let signals = SignalFd::with_flags(watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the child has no pid"))?;
    let pinned = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let mut fds = [
            PollFd::new(&pinned, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        while let Some(got) = signals.read_signal()? {
            let number = i32::try_from(got.ssi_signo).unwrap_or_default();
            if got.ssi_code <= 0
                && let Some(signal) = rustix::process::Signal::from_named_raw(number)
            {
                let _ = pidfd_send_signal(&pinned, signal);
            }
        }
    }
}
