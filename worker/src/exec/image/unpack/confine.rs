#![expect(unsafe_code, reason = "close_range has no safe wrapper")]
//! What the unpacking child gives away before it reads a hostile byte.
//!
//! Afterwards it sees no file but those below the layer's directory, no network, no other process's
//! namespaces, cannot start anything, and may not signal root's processes: it runs as nobody with the few
//! capabilities that making files of others takes.

use std::io;
use std::os::fd::OwnedFd;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, chdir, pivot_root, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

/// An identity that owns nothing.
const NOBODY: u32 = 65534;

/// Address space of the child: the largest zstd window (128 MiB), buffers and the program itself.
const MEMORY: u64 = 1 << 30;

/// Processor time, in seconds, after which a stream is taken for hostile.
const CPU_SECONDS: u64 = 3600;

/// Files open at once: three streams, the root, a few directories.
const OPEN_FILES: u64 = 64;

/// What could not be given away: then nothing is unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot confine the unpacking child: {act}: {source}")]
pub(super) struct ConfineError {
    act: &'static str,
    source: io::Error,
}

trait During<T> {
    fn during(self, act: &'static str) -> Result<T, ConfineError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, act: &'static str) -> Result<T, ConfineError> {
        self.map_err(|error| ConfineError {
            act,
            source: error.into(),
        })
    }
}

/// Gives all away and returns the working directory, which is the root now.
pub(super) fn confine(largest_file: u64) -> Result<OwnedFd, ConfineError> {
    close_others()?;
    enter_target()?;
    bound_resources(largest_file)?;
    drop_rights()?;
    rustix::process::umask(Mode::empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).during("open the root")
}

fn close_others() -> Result<(), ConfineError> {
    // SAFETY: nothing in this process owns a descriptor above the three streams yet.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).during("close inherited files")
    }
}

/// Makes the working directory the only file system there is.
fn enter_target() -> Result<(), ConfineError> {
    let apart = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(apart).during("unshare")?;
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).during("make mounts private")?;
    let bind = MsFlags::MS_BIND;
    mount(Some("."), ".", none, bind, none).during("bind the target")?;
    // The name "." still means what was below the new mount: the bind is entered by its path.
    let target = nix::unistd::getcwd().during("name the target")?;
    chdir(&target).during("enter the target")?;
    let flags = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NODEV;
    mount(none, ".", none, flags, none).during("restrict the target's mount")?;
    pivot_root(".", ".").during("pivot into the target")?;
    umount2(".", MntFlags::MNT_DETACH).during("leave the host's files")?;
    chdir("/").during("enter the new root")
}

fn bound_resources(largest_file: u64) -> Result<(), ConfineError> {
    let bounds = [
        (Resource::RLIMIT_FSIZE, largest_file),
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_CPU, CPU_SECONDS),
        (Resource::RLIMIT_NOFILE, OPEN_FILES),
        (Resource::RLIMIT_NPROC, 0),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, bound) in bounds {
        setrlimit(resource, bound, bound).during("set a resource limit")?;
    }
    Ok(())
}

fn drop_rights() -> Result<(), ConfineError> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP;
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not know.
            Err(rustix::io::Errno::INVAL) | Ok(()) => {}
            Err(error) => return Err(error).during("drop a capability"),
        }
    }
    set_keep_capabilities(true).during("keep capabilities over a change of user")?;
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).during("leave all groups")?;
    setresgid(group, group, group).during("change the group")?;
    setresuid(user, user, user).during("change the user")?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).during("reduce capabilities")?;
    set_no_new_privs(true).during("renounce new privileges")
}
