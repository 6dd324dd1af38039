//! Files of memory in a container: shown, and replaced at once, from outside.
//!
//! They lie in a ramfs, which is never written to a swap device and which no mount of the node shows: it is made in a
//! mount namespace of a thread that lives for this alone. Each file is a mount of its own in the container, and its
//! file system is read-only as a whole, so that nothing inside can change it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, fchmod, fstatfs, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, fspick, mount_change, move_mount, open_tree, unmount,
};
use skep_proto::file::FileKind;

use super::{ExecError, GivenFile};

/// Of a ramfs, as statfs(2) tells it.
const RAMFS: u64 = 0x8584_58f6;

/// What could not be done, and why not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {object}: {source}")]
struct Refused {
    act: &'static str,
    object: String,
    source: io::Error,
}

trait During<T> {
    fn during(self, act: &'static str, object: &str) -> Result<T, Refused>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, act: &'static str, object: &str) -> Result<T, Refused> {
        self.map_err(|error| Refused {
            act,
            object: object.to_owned(),
            source: error.into(),
        })
    }
}

/// The mounts that a process sees. Whoever asks has to make sure afterwards that the process is still the one it
/// meant: a number is given again.
///
/// # Errors
/// When there is no such process.
pub(super) fn open(pid: i32) -> Result<File, ExecError> {
    let path = format!("/proc/{pid}/ns/mnt");
    let opened = File::open(&path).during("open", &path);
    opened.map_err(|error| ExecError::from_chain(&error))
}

/// Shows files in a container, each on what is mounted at its target. Blocks shortly.
///
/// # Errors
/// When the kernel refuses a step; files before the one that is named are shown then.
pub(super) fn show(inside: &File, files: &[GivenFile]) -> Result<(), ExecError> {
    on_thread(inside, files).map_err(|error| ExecError::from_chain(&error))
}

/// A thread that enters a mount namespace cannot be used for anything else afterwards.
fn on_thread(inside: &File, files: &[GivenFile]) -> Result<(), Refused> {
    let ended = || Refused {
        act: "end",
        object: "the thread that shows files".to_owned(),
        source: io::Error::other("it panicked"),
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("skep-files".to_owned());
        let thread = thread.spawn_scoped(scope, || show_inside(inside, files));
        let thread = thread.during("begin", "the thread that shows files")?;
        thread.join().unwrap_or_else(|_| Err(ended()))
    })
}

fn show_inside(inside: &File, files: &[GivenFile]) -> Result<(), Refused> {
    let own = "a mount namespace";
    unshare(CloneFlags::CLONE_NEWNS).during("make", own)?;
    let apart = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", apart).during("cut off", own)?;
    let mut trees = Vec::new();
    for kind in FileKind::ALL {
        let of_kind: Vec<&GivenFile> = files.iter().filter(|file| file.kind == kind).collect();
        if !of_kind.is_empty() {
            trees.extend(hold(kind, &of_kind)?);
        }
    }
    // The namespace of before ends here, and with it the only mount that shows all of a file system.
    setns(inside.as_fd(), CloneFlags::CLONE_NEWNS).during("enter", "the container's mounts")?;
    for (target, tree) in trees {
        put(&tree, &target)?;
    }
    Ok(())
}

/// A file system that holds `files`, and a detached mount of each.
fn hold(kind: FileKind, files: &[&GivenFile]) -> Result<Vec<(String, OwnedFd)>, Refused> {
    let memory = "a file system of memory";
    let context = fsopen("ramfs", FsOpenFlags::FSOPEN_CLOEXEC).during("make", memory)?;
    fsconfig_set_string(context.as_fd(), "source", "skep").during("name", memory)?;
    fsconfig_create(context.as_fd()).during("make", memory)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if kind == FileKind::Secret {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    let root = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes);
    let root = root.during("mount", memory)?;
    // Only a part of what is mounted somewhere can be had by itself.
    let from_itself = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(root.as_fd(), "", CWD, "/", from_itself).during("mount", memory)?;
    for (number, file) in files.iter().enumerate() {
        write(&root, &number.to_string(), file).during("write", &file.target)?;
    }
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let again = fspick(root.as_fd(), "", flags).during("seal", memory)?;
    fsconfig_set_flag(again.as_fd(), "ro").during("seal", memory)?;
    fsconfig_reconfigure(again.as_fd()).during("seal", memory)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let trees = files.iter().enumerate().map(|(number, file)| {
        let tree = open_tree(root.as_fd(), number.to_string(), clone);
        Ok((file.target.clone(), tree.during("take", &file.target)?))
    });
    trees.collect()
}

fn write(root: &OwnedFd, name: &str, file: &GivenFile) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut opened = File::from(openat(root, name, flags, Mode::empty())?);
    opened.write_all(file.content.bytes())?;
    let (owner, group) = (Uid::from_raw(file.uid), Gid::from_raw(file.gid));
    chownat(root, name, Some(owner), Some(group), AtFlags::empty())?;
    fchmod(&opened, Mode::from_raw_mode(file.mode))?;
    Ok(())
}

/// Mounts a file on its target. One of ours is replaced: the new one is put beneath it and then it goes, so that there
/// always is one. A kernel before 6.5 cannot do that: there the new one lies on top.
fn put(tree: &OwnedFd, target: &str) -> Result<(), Refused> {
    let from_itself = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let there = openat(CWD, target, flags, Mode::empty()).during("find", target)?;
    let ours = fstatfs(&there).is_ok_and(|at| u64::try_from(at.f_type) == Ok(RAMFS));
    if ours {
        let beneath = from_itself | MoveMountFlags::MOVE_MOUNT_BENEATH;
        if move_mount(tree.as_fd(), "", CWD, target, beneath).is_ok() {
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            return unmount(target, flags).during("take away the old", target);
        }
    }
    move_mount(tree.as_fd(), "", CWD, target, from_itself).during("show", target)
}
