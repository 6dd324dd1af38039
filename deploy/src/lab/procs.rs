//! Names a process so that a reused pid is never mistaken for it, ends it, and waits for its end.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process: its pid, and the time it began in ticks since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proc {
    pub(crate) pid: i32,
    started: u64,
}

impl Proc {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self {
            pid,
            started: stat(pid)?.1,
        })
    }

    pub(crate) fn is_alive(self) -> bool {
        matches!(stat(self.pid), Ok((state, started)) if started == self.started && !"ZX".contains(state))
    }

    /// Sends SIGKILL and waits for the end; a process that has ended before is no error.
    pub(crate) fn kill(self, limit: Duration) -> io::Result<()> {
        let Some(fd) = self.pin()? else { return Ok(()) };
        match pidfd_send_signal(&fd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(e.into()),
        }
        if is_ready(&fd, limit)? {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("pid {} survives SIGKILL", self.pid),
        ))
    }

    /// A descriptor that can only mean this process; none if it has ended.
    fn pin(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        Ok(self.is_alive().then_some(fd))
    }
}

/// State letter and start time from `/proc/PID/stat`; the name in brackets may hold anything.
fn stat(pid: i32) -> io::Result<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let tail = text
        .rsplit_once(')')
        .map(|(_, tail)| tail)
        .unwrap_or_default();
    let words: Vec<&str> = tail.split_whitespace().collect();
    // Fields 3 and 22 of proc(5); the tail begins with field 3.
    let state = words.first().and_then(|w| w.chars().next());
    let started = words.get(19).and_then(|w| w.parse().ok());
    state
        .zip(started)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be read")))
}

fn is_ready(fd: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))? > 0)
}

/// The step of a bounded wait for something that has no descriptor to poll.
pub(crate) fn pause() {
    let step = Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    let _ = poll(&mut [], Some(&step));
}

/// Looks again and again until `met` is true or the time is over; gives what it was at the end.
pub(crate) fn wait_until(limit: Duration, mut met: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if met() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause();
    }
}
