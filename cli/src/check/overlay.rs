//! Whether overlayfs works on the disk that images will be on: mounted on a descriptor, so that no mount is left.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use super::Finding;

/// Directories of probes are named so, and carry the process's number.
const PREFIX: &str = ".skep-check-";

pub(super) fn finding(data_root: &Path, kind: &str) -> Finding {
    let check = "overlay";
    let place = existing(data_root);
    match attempt(place, kind) {
        Ok(()) => Finding::ok(check, format!("copies on write on {}", place.display())),
        Err((act, error)) => {
            let mend = match error.raw_os_error() {
                Some(libc::ENODEV) => "modprobe overlay".to_owned(),
                Some(libc::ENOSYS) => "boot Linux 5.2 or newer".to_owned(),
                Some(libc::EPERM | libc::EACCES) => "run it as root".to_owned(),
                _ => format!(
                    "give skep a --data-root on ext4, xfs or btrfs; look with: findmnt -T {}",
                    place.display()
                ),
            };
            let found = format!("{act} on {}: {error}; images need it", place.display());
            Finding::missing(check, found, mend)
        }
    }
}

/// The path, or the nearest directory above it that is there.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|each| each.is_dir())
        .unwrap_or(Path::new("/"))
}

type Tried<T> = Result<T, (&'static str, io::Error)>;

fn attempt(place: &Path, kind: &str) -> Tried<()> {
    sweep(place);
    let made = Made(place.join(format!("{PREFIX}{}", std::process::id())));
    let of = |act| move |error: io::Error| (act, error);
    for name in ["lower", "upper", "work"] {
        fs::create_dir_all(made.0.join(name)).map_err(of("cannot make a directory"))?;
    }
    fs::write(made.0.join("lower/file"), "below\n").map_err(of("cannot write"))?;
    let mount = mounted(&made.0, kind).map_err(of("cannot mount overlayfs"))?;
    let file = openat(
        &mount,
        "file",
        OFlags::WRONLY | OFlags::APPEND,
        Mode::empty(),
    );
    let mut file = fs::File::from(
        file.map_err(io::Error::from)
            .map_err(of("cannot copy up"))?,
    );
    file.write_all(b"above\n")
        .map_err(of("cannot write through overlayfs"))?;
    drop((file, mount));
    let above = fs::read_to_string(made.0.join("upper/file")).map_err(of("cannot read back"))?;
    let below = fs::read_to_string(made.0.join("lower/file")).map_err(of("cannot read back"))?;
    if (above.as_str(), below.as_str()) == ("below\nabove\n", "below\n") {
        Ok(())
    } else {
        Err(("wrong bytes", io::Error::from(io::ErrorKind::InvalidData)))
    }
}

/// A mount that is on no path: it ends with its descriptor.
fn mounted(directory: &Path, kind: &str) -> io::Result<OwnedFd> {
    let system = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, name) in [
        ("lowerdir", "lower"),
        ("upperdir", "upper"),
        ("workdir", "work"),
    ] {
        fsconfig_set_string(&system, key, directory.join(name))?;
    }
    fsconfig_create(&system)?;
    Ok(fsmount(
        &system,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

/// A directory that goes with the value.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next check.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Removes directories of checks that were killed.
fn sweep(place: &Path) {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
