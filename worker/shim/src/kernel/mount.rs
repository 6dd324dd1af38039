//! Mounts by descriptor, and paths that cannot leave a root.
#![expect(unsafe_code, reason = "these are the system calls themselves")]

use super::{Result, done, owned};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const AT_RECURSIVE: u32 = 0x8000;
const AT_EMPTY_PATH: u32 = 0x1000;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// Opened for writing it refuses: the mount is read-only.
pub const MOUNT_ATTR_RDONLY: u64 = 1;
/// Set-user-id bits mean nothing.
pub const MOUNT_ATTR_NOSUID: u64 = 2;
/// Device nodes cannot be opened.
pub const MOUNT_ATTR_NODEV: u64 = 4;
/// Nothing can be executed.
pub const MOUNT_ATTR_NOEXEC: u64 = 8;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Opens a path below `root` as if `root` were the root directory: no link and no `..` leads out,
/// and no link of procfs is followed.
pub fn open_in(root: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    let how = [
        u64::try_from(flags | libc::O_CLOEXEC).unwrap_or(0),
        u64::from(mode),
        libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
    ];
    // SAFETY: `how` has the layout and size of the kernel's struct open_how.
    owned(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        )
    })
}

/// Makes a directory in `parent`; `name` has no slash.
pub fn make_directory(parent: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the name is a C string.
    done(i64::from(unsafe {
        libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), mode)
    }))
}

/// Makes a node in `parent`; the creation mask applies.
pub fn make_node(parent: BorrowedFd<'_>, name: &CStr, mode: u32, device: u64) -> Result<()> {
    // SAFETY: the name is a C string.
    done(i64::from(unsafe {
        libc::mknodat(parent.as_raw_fd(), name.as_ptr(), mode, device)
    }))
}

/// Gives a name in `parent` to an owner, without following it.
pub fn own(parent: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name is a C string.
    done(i64::from(unsafe {
        libc::fchownat(parent.as_raw_fd(), name.as_ptr(), uid, gid, flags)
    }))
}

/// Makes a symbolic link in `parent`.
pub fn make_link(parent: BorrowedFd<'_>, name: &CStr, text: &CStr) -> Result<()> {
    // SAFETY: both are C strings.
    done(i64::from(unsafe {
        libc::symlinkat(text.as_ptr(), parent.as_raw_fd(), name.as_ptr())
    }))
}

/// True if the descriptor is a directory.
pub fn is_directory(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(kind(fd)? == libc::S_IFDIR)
}

/// True if the descriptor is a regular file.
pub fn is_file(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(kind(fd)? == libc::S_IFREG)
}

fn kind(fd: BorrowedFd<'_>) -> Result<libc::mode_t> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the struct; it is read only after success.
    done(i64::from(unsafe {
        libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr())
    }))?;
    // SAFETY: fstat succeeded.
    Ok(unsafe { stat.assume_init() }.st_mode & libc::S_IFMT)
}

/// A file system context of the given type.
pub fn begin(kind: &CStr) -> Result<OwnedFd> {
    // SAFETY: the type is a C string.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// Sets a parameter of a context; without a value it is a flag.
pub fn configure(context: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let (command, value) = match value {
        Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
        None => (FSCONFIG_SET_FLAG, std::ptr::null()),
    };
    // SAFETY: key and value are C strings or null, as the command wants them.
    done(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            key.as_ptr(),
            value,
            0,
        )
    })
}

/// Makes the file system of a context and a mount of it that is nowhere yet.
pub fn finish(context: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
    let (fd, none) = (context.as_raw_fd(), std::ptr::null::<libc::c_char>());
    // SAFETY: this command takes no key and no value.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes) })
}

/// A copy of the mount at a path of the caller's namespace, attached nowhere yet.
pub fn copy(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A copy of the mount that a descriptor stands on.
pub fn copy_of(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | AT_EMPTY_PATH
        | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, fd.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Changes attributes and propagation (zero leaves it) of a mount, or of all mounts below it.
pub fn change(fd: BorrowedFd<'_>, set: u64, propagation: u64, recursive: bool) -> Result<()> {
    let attr = MountAttr {
        set,
        clear: 0,
        propagation,
        userns_fd: 0,
    };
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` has the layout and size of the kernel's struct mount_attr.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
}

/// Attaches a mount that is nowhere yet.
pub fn attach(mount: BorrowedFd<'_>, at: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: both paths are empty C strings.
    done(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            at.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
}

/// The old mount call, for overlayfs on kernels whose context takes no long list of layers.
pub fn mount_overlay(at: &CStr, options: &CStr) -> Result<()> {
    let (kind, flags) = (c"overlay".as_ptr(), 0);
    // SAFETY: all are C strings; overlayfs reads its options as one.
    done(i64::from(unsafe {
        libc::mount(kind, at.as_ptr(), kind, flags, options.as_ptr().cast())
    }))
}

/// Cuts all mounts of this namespace off from those of the host.
pub fn isolate_mounts() -> Result<()> {
    let (root, none) = (c"/".as_ptr(), std::ptr::null());
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: a change of propagation reads the target alone.
    done(i64::from(unsafe {
        libc::mount(none, root, none, flags, std::ptr::null())
    }))
}

/// Makes the working directory, which is a mount point, the root, and lets go of the old one.
pub fn pivot_here() -> Result<()> {
    let here = c".".as_ptr();
    // SAFETY: C strings. The old root lands on top of the new one and is what is detached.
    done(unsafe { libc::syscall(libc::SYS_pivot_root, here, here) })?;
    // SAFETY: as above.
    done(i64::from(unsafe { libc::umount2(here, libc::MNT_DETACH) }))?;
    enter_path(c"/")
}

/// Changes the working directory to an open one.
pub fn enter(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is involved.
    done(i64::from(unsafe { libc::fchdir(fd.as_raw_fd()) }))
}

/// Changes the working directory.
pub fn enter_path(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string.
    done(i64::from(unsafe { libc::chdir(path.as_ptr()) }))
}

/// True if the working directory can be reached from the root.
pub fn is_inside_root() -> bool {
    let mut buffer = [0_u8; 4096];
    // SAFETY: the buffer is valid for its length.
    let ret = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    ret > 0 && buffer[0] == b'/'
}
