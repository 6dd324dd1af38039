//! Questions to the kernel that no safe wrapper asks.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::io;

/// A group's descriptor can be given to clone3 (Linux 5.7).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The kernel's clock is not disciplined (`STA_UNSYNC`).
const UNSYNCHRONISED: i32 = 0x40;
/// What adjtimex answers then (`TIME_ERROR`).
const WRONG_TIME: i32 = 5;
/// A filter of one instruction: every call is allowed.
static ALLOW: [libc::sock_filter; 1] = [libc::sock_filter {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: libc::SECCOMP_RET_ALLOW,
}];

/// Whether someone keeps this machine's clock right, as the kernel has been told.
pub(super) fn is_synchronised() -> io::Result<bool> {
    // SAFETY: all bytes zero is a timex, and its modes of 0 say that nothing is set.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex that lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state != WRONG_TIME && timex.status & UNSYNCHRONISED == 0)
}

/// Puts a filter that allows everything on the calling thread, which should end soon.
pub(super) fn filter_calls() -> io::Result<()> {
    let program = libc::sock_fprog {
        len: 1,
        filter: ALLOW.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its one instruction live through the call, and the kernel only reads them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether clone3 begins a process right in its control group. The group that is named does not exist, so that no
/// process is ever begun.
pub(super) fn clones_into_groups() -> io::Result<bool> {
    // SAFETY: all bytes zero is a clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = 17;
    // A descriptor that is never open: the limit is far below.
    args.cgroup = 0x7fff_ffff;
    // SAFETY: the arguments live through the call; as their descriptor is not open the kernel refuses before a
    // child exists. Should one exist all the same it leaves at once, without touching memory that threads share.
    unsafe {
        let child = libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        );
        if child == 0 {
            libc::_exit(0);
        }
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EBADF) => Ok(true),
        error if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG)) => Ok(false),
        error => Err(error),
    }
}
