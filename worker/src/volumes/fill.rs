//! Gives a new volume what the image has at its target: owners, modes, times, extended attributes, links, devices.
//!
//! Every step is by descriptor and follows no link, so that whoever writes into the volume meanwhile cannot lead it
//! astray. Repeated, it goes over what is there.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

/// Directories within each other; each holds two descriptors while it is copied.
const DEEPEST: usize = 256;
/// Overlayfs' own marks, which are the layer's and not the file's.
const OVERLAYS: &[u8] = b"trusted.overlay.";

/// Copies what `image` has at `target` into `content`. False if there is no such directory in the image.
pub(super) fn fill(image: BorrowedFd<'_>, target: &str, content: &Path) -> io::Result<bool> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let from = match rustix::fs::openat2(image, target, DIRECTORY, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        other => other?,
    };
    let to = rustix::fs::open(content, DIRECTORY, Mode::empty())?;
    let mut copier = Copier {
        root: to.as_fd(),
        links: HashMap::new(),
    };
    copier.directory(&from, &to, Path::new(""), 0)?;
    attributes(&from, &to, &rustix::fs::fstat(&from)?)?;
    rustix::fs::syncfs(&to)?;
    Ok(true)
}

/// Whether a directory holds nothing, save what a file system keeps in its root for itself.
pub(super) fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

struct Copier<'r> {
    root: BorrowedFd<'r>,
    /// Where a file with several names was put first.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copier<'_> {
    fn directory(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEEPEST {
            let reason = format!("{}: more than {DEEPEST} directories deep", path.display());
            return Err(io::Error::other(reason));
        }
        for entry in Dir::read_from(from)? {
            let name = entry?.file_name().to_owned();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let copied = self.entry(from, to, &name, &path, depth);
            copied.map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            match rustix::fs::mkdirat(to, name, Mode::RWXU) {
                Err(Errno::EXIST) | Ok(()) => {}
                Err(errno) => return Err(errno.into()),
            }
            let inner_from = rustix::fs::openat(from, name, DIRECTORY, Mode::empty())?;
            let inner_to = rustix::fs::openat(to, name, DIRECTORY, Mode::empty())?;
            self.directory(&inner_from, &inner_to, path, depth + 1)?;
            return attributes(&inner_from, &inner_to, &stat);
        }
        match rustix::fs::unlinkat(to, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
        match kind {
            FileType::RegularFile => self.file(from, to, name, path, &stat),
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&text, to, name)?;
                without_opening(to, name, &stat)
            }
            // A whiteout: something that is not there.
            FileType::CharacterDevice if stat.st_rdev == 0 => Ok(()),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
                rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
                without_opening(to, name, &stat)
            }
            // Sockets belong to programs that do not run yet.
            _ => Ok(()),
        }
    }

    fn file(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        stat: &Stat,
    ) -> io::Result<()> {
        if stat.st_nlink > 1 {
            let first = self.links.get(&(stat.st_dev, stat.st_ino));
            if let Some(first) = first {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let parent = first.parent().filter(|parent| *parent != Path::new(""));
                let parent = parent.unwrap_or(Path::new("."));
                let there = rustix::fs::openat2(self.root, parent, flags, Mode::empty(), resolve)?;
                let last = first.file_name().unwrap_or_default();
                rustix::fs::linkat(there, last, to, name, AtFlags::empty())?;
                return Ok(());
            }
            self.links
                .insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let made = rustix::fs::openat(to, name, flags | OFlags::CLOEXEC, Mode::RUSR)?;
        let mut made = File::from(made);
        io::copy(&mut source, &mut made)?;
        attributes(&OwnedFd::from(source), &OwnedFd::from(made), stat)
    }
}

/// Owner first: a change of owner takes set-user-id bits and capabilities away.
fn attributes(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(to, uid, gid)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    for name in names(from)? {
        if name.to_bytes().starts_with(OVERLAYS) {
            continue;
        }
        let mut value = vec![0; rustix::fs::fgetxattr_query(from, &name)?];
        let length = rustix::fs::fgetxattr(from, &name, value.as_mut_slice())?;
        value.truncate(length);
        match rustix::fs::fsetxattr(to, &name, &value, XattrFlags::empty()) {
            // The volume's file system has no place for it, as nfs has none for most.
            Err(Errno::OPNOTSUPP) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

fn without_opening(to: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(to, name, uid, gid, flags)?;
    Ok(rustix::fs::utimensat(to, name, &times(stat), flags)?)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Names of a file's extended attributes.
fn names(of: &OwnedFd) -> io::Result<Vec<CString>> {
    let length = match rustix::fs::flistxattr_query(of) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut list = vec![0; length];
    let length = match length {
        0 => 0,
        _ => rustix::fs::flistxattr(of, list.as_mut_slice())?,
    };
    let names = list
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    names
        .map(|name| CString::new(name).map_err(io::Error::from))
        .collect()
}
