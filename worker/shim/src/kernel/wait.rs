//! Making a child, waiting for events, learning how it ended.
#![expect(unsafe_code, reason = "these are the system calls themselves")]

use super::{Errno, Result, check, done, last};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// On which side of a clone we woke up.
pub enum Side {
    /// In the new process.
    Child,
    /// In the old one.
    Parent {
        /// The new process, in the namespace of the old one.
        pid: i32,
        /// It, for ever: its number may be used again.
        pidfd: OwnedFd,
    },
}

/// Makes a child in new namespaces, and in the given version 2 cgroup.
///
/// The caller has one thread; the child owns a copy of its memory.
pub fn clone(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
    let mut pidfd: libc::c_int = -1;
    let pidfd_flag = u64::from(libc::CLONE_PIDFD.unsigned_abs());
    let cgroup_flag = if cgroup.is_some() {
        CLONE_INTO_CGROUP
    } else {
        0
    };
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
    // set_tid_size, cgroup: the fields of struct clone_args.
    let mut args = [0_u64; 11];
    args[0] = namespaces | pidfd_flag | cgroup_flag;
    args[1] = u64::try_from((&raw mut pidfd).expose_provenance()).unwrap_or(0);
    args[4] = u64::from(libc::SIGCHLD.unsigned_abs());
    args[10] = cgroup.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0));
    // SAFETY: without CLONE_VM this is a fork; `args` has the layout of struct clone_args and the
    // kernel writes the pidfd into a live variable.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    if ret == 0 {
        return Ok(Side::Child);
    }
    let pid = i32::try_from(check(ret)?).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: the kernel has just handed this descriptor to us alone. It was written behind the
    // compiler's back through the address above.
    let pidfd = unsafe { OwnedFd::from_raw_fd(std::ptr::read_volatile(&raw const pidfd)) };
    Ok(Side::Parent { pid, pidfd })
}

/// Sends a signal to the process behind a pidfd.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no siginfo is given.
    done(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    })
}

/// Ends a child that has not been reaped, and its process group.
pub fn end_group(pid: i32, pidfd: BorrowedFd<'_>) {
    // SAFETY: no memory is involved. The number cannot belong to another group: its leader is not reaped.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
    // It may not have come to a session of its own.
    let _ = signal(pidfd, libc::SIGKILL);
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Reaps the child behind a pidfd, waiting for it if it lives.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<End> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(|_| Errno(libc::EBADF))?;
    loop {
        // SAFETY: siginfo is plain old bytes; the kernel fills it.
        let mut found = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
        // SAFETY: the struct lives and is borrowed mutably.
        let ret = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut found, libc::WEXITED) };
        if ret == 0 {
            // SAFETY: after success of waitid the child's fields are the ones filled.
            let status = unsafe { found.si_status() };
            let by_itself = found.si_code == libc::CLD_EXITED;
            return Ok(if by_itself {
                End::Code(status)
            } else {
                End::Signal(status)
            });
        }
        if last() != Errno(libc::EINTR) {
            return Err(last());
        }
    }
}

/// What is waited for on one descriptor, and whether it came.
pub type Watch = libc::pollfd;

/// Watches a descriptor for something to read (or its end).
pub fn watch(fd: BorrowedFd<'_>) -> Watch {
    Watch {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }
}

/// Waits for one of the watched descriptors, at most `milliseconds` (-1: without end).
pub fn poll(watches: &mut [Watch], milliseconds: i32) -> Result<()> {
    let count = libc::nfds_t::try_from(watches.len()).unwrap_or(0);
    loop {
        // SAFETY: the array is valid for its length and borrowed mutably.
        let ret = unsafe { libc::poll(watches.as_mut_ptr(), count, milliseconds) };
        if ret >= 0 {
            return Ok(());
        }
        if last() != Errno(libc::EINTR) {
            return Err(last());
        }
    }
}
