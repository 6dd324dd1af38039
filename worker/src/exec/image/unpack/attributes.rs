//! Owners, modes, times and extended attributes of what was unpacked.

use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fsetxattr, futimens, utimensat,
};
use rustix::io::{Errno, Result};

use super::reader::Entry;

/// Extended attributes that mean the same on every node. Others (labels of a security module, overlayfs'
/// own) belong to the machine and are left out.
const XATTRS: [&[u8]; 3] = [b"user.", b"security.capability", b"system.posix_acl_"];

/// Times of an entry: unpacking counts as access.
pub(super) fn times(entry: &Entry) -> Timestamps {
    let (seconds, nanos) = entry.mtime;
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanos),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn owners(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
    )
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode & 0o7777)
}

/// Of an open file or directory. Owner first, since a change of owner clears set-id bits and capabilities.
pub(super) fn set_open(file: impl AsFd, entry: &Entry) -> Result<()> {
    let (uid, gid) = owners(entry);
    fchown(&file, uid, gid)?;
    fchmod(&file, mode(entry))?;
    for (name, value) in &entry.xattrs {
        if !XATTRS.iter().any(|known| name.starts_with(known)) {
            continue;
        }
        match fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Times of an open file.
pub(super) fn set_times(file: impl AsFd, times: &Timestamps) -> Result<()> {
    futimens(file, times)
}

/// Of a device or a pipe, by name in its directory.
pub(super) fn set_node(directory: impl AsFd, name: &[u8], entry: &Entry) -> Result<()> {
    let (uid, gid) = owners(entry);
    chownat(&directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    chmodat(&directory, name, mode(entry), AtFlags::empty())?;
    utimensat(&directory, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
}

/// Of a symbolic link: it has no mode.
pub(super) fn set_link(directory: impl AsFd, name: &[u8], entry: &Entry) -> Result<()> {
    let (uid, gid) = owners(entry);
    chownat(&directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(&directory, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
}
