//! Who a process is: namespaces, names, ids, capabilities, limits, filters.
#![expect(unsafe_code, reason = "these are the system calls themselves")]

use super::{Errno, Result, done};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0)
}

/// Enters the namespace behind a descriptor.
pub fn join(namespace: BorrowedFd<'_>, kind: i32) -> Result<()> {
    // SAFETY: no memory is involved; the caller has one thread.
    done(i64::from(unsafe {
        libc::setns(namespace.as_raw_fd(), kind)
    }))
}

/// Leaves a namespace for a new one.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: no memory is involved; the caller has one thread.
    done(i64::from(unsafe { libc::unshare(flags) }))
}

/// Begins a session of its own.
pub fn own_session() -> Result<()> {
    // SAFETY: always sound.
    done(i64::from(unsafe { libc::setsid() }))
}

/// Sets the host name of the UTS namespace.
pub fn set_hostname(name: &CStr) -> Result<()> {
    // SAFETY: the pointer is valid for the given length.
    done(i64::from(unsafe {
        libc::sethostname(name.as_ptr(), name.to_bytes().len())
    }))
}

/// Sets the NIS domain name of the UTS namespace.
pub fn set_domainname(name: &CStr) -> Result<()> {
    // SAFETY: the pointer is valid for the given length.
    done(i64::from(unsafe {
        libc::setdomainname(name.as_ptr(), name.to_bytes().len())
    }))
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    // SAFETY: always sound.
    unsafe { libc::umask(mask) };
}

/// Sets the soft and the hard limit of a resource.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads one rlimit64.
    done(i64::from(unsafe {
        libc::prlimit64(0, resource, &raw const limit, std::ptr::null_mut())
    }))
}

fn prctl(option: i32, argument: u64, second: u64) -> Result<()> {
    // SAFETY: the options used here take numbers only.
    done(i64::from(unsafe {
        libc::prctl(option, argument, second, 0_u64, 0_u64)
    }))
}

/// Names the calling thread, as process lists show it.
pub fn set_name(name: &CStr) {
    // SAFETY: the kernel reads at most sixteen bytes of a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0_u64, 0_u64, 0_u64) };
}

/// Wants SIGKILL when the parent ends. Changing ids clears it again.
pub fn die_with_parent() -> Result<()> {
    prctl(
        libc::PR_SET_PDEATHSIG,
        u64::from(libc::SIGKILL.unsigned_abs()),
        0,
    )
}

/// Makes the calling process and its children opaque: nobody without CAP_SYS_PTRACE looks into what they
/// have open, map or run, until they exec.
pub fn hide() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Keeps permitted capabilities while the user changes.
pub fn keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// Never again gains a privilege by exec.
pub fn no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Takes every capability that is not in `keep` out of the bounding set.
pub fn bound_capabilities(keep: u64) -> Result<()> {
    for number in 0..64_u32 {
        if keep & (1 << number) != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, u64::from(number), 0) {
            Ok(()) => {}
            // The first number the kernel does not know ends the list.
            Err(Errno(libc::EINVAL)) => break,
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Sets the ambient set to exactly `keep`, which must be inheritable and permitted.
pub fn set_ambient(keep: u64) -> Result<()> {
    let command = |act: i32| u64::from(act.unsigned_abs());
    prctl(
        libc::PR_CAP_AMBIENT,
        command(libc::PR_CAP_AMBIENT_CLEAR_ALL),
        0,
    )?;
    for number in (0..64_u32).filter(|number| keep & (1 << number) != 0) {
        prctl(
            libc::PR_CAP_AMBIENT,
            command(libc::PR_CAP_AMBIENT_RAISE),
            u64::from(number),
        )?;
    }
    Ok(())
}

/// Sets the three sets of the calling thread.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let words = [0, 32].map(|shift| CapWords {
        effective: low(effective >> shift),
        permitted: low(permitted >> shift),
        inheritable: low(inheritable >> shift),
    });
    // SAFETY: version 3 reads a header and two records of three words.
    done(unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) })
}

/// The permitted set of the calling thread.
pub fn permitted_capabilities() -> Result<u64> {
    let header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut words = [CapWords {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: version 3 reads a header and fills two records of three words.
    done(unsafe { libc::syscall(libc::SYS_capget, &raw const header, words.as_mut_ptr()) })?;
    Ok(u64::from(words[0].permitted) | u64::from(words[1].permitted) << 32)
}

/// Sets supplementary groups, group and user, in this order.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    // SAFETY: the array is valid for its length.
    done(i64::from(unsafe {
        libc::setgroups(groups.len(), groups.as_ptr())
    }))?;
    // SAFETY: numbers only; raw calls, since there is one thread.
    done(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: as above.
    done(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Installs a system call filter: a classic BPF program of eight-byte instructions.
pub fn filter_calls(program: &[u8], flags: u64) -> Result<()> {
    let length = u16::try_from(program.len() / 8).map_err(|_| Errno(libc::EINVAL))?;
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let description = libc::sock_fprog {
        len: length,
        filter,
    };
    // SAFETY: the kernel copies `length` instructions of eight bytes and needs no alignment.
    done(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const description,
        )
    })
}

/// Gives the signals that a supervisor ignores their default meaning back.
pub fn default_signals(signals: &[i32]) {
    for signal in signals {
        // SAFETY: the default action needs no code of ours.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
}

/// Ignores signals.
pub fn ignore_signals(signals: &[i32]) {
    for signal in signals {
        // SAFETY: ignoring needs no code of ours.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}
