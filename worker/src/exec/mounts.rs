//! From the mounts of an OCI bundle to steps of the launch plan. Pure, save that it looks whether
//! a bind's source is a directory.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use skep_shim::plan::Step;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a mount cannot be planned.
#[derive(Debug, Error)]
pub enum MountError {
    /// A zero byte inside.
    #[error("{0:?} contains a zero byte")]
    ZeroByte(String),
    /// It has to be absolute.
    #[error("the mount target {0:?} is not an absolute path")]
    Target(PathBuf),
    /// There is nothing to bind.
    #[error("cannot bind {source_path:?} to {target:?}: {reason}")]
    Source {
        /// What was to be bound.
        source_path: PathBuf,
        /// Where.
        target: PathBuf,
        /// Why not.
        reason: String,
    },
}

const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;

/// Our own word of an option list: what of a bind's source is bound, relative to it.
pub const BELOW: &str = "x-skep.below=";

/// What the words of an option list mean.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    attributes: u64,
    propagation: u64,
    propagation_recursive: bool,
    bind: bool,
    recursive: bool,
    /// What of a bind's source is bound.
    below: Option<String>,
    /// For the file system itself.
    own: Vec<(String, Option<String>)>,
}

/// Text that the kernel can take.
///
/// # Errors
/// [`MountError::ZeroByte`].
pub fn text(value: impl AsRef<std::ffi::OsStr>) -> Result<CString, MountError> {
    let value = value.as_ref();
    CString::new(value.as_bytes())
        .map_err(|_| MountError::ZeroByte(value.to_string_lossy().into_owned()))
}

/// The steps of one mount. `legacy` are the version 1 hierarchies to show for type `cgroup`; none
/// means version 2.
///
/// # Errors
/// [`MountError`].
pub fn steps(mount: &Mount, legacy: &[(String, Vec<String>)]) -> Result<Vec<Step>, MountError> {
    let path = mount.destination();
    if !path.is_absolute() {
        return Err(MountError::Target(path.clone()));
    }
    let options = parse(mount.options().as_deref().unwrap_or_default());
    let kind = mount.typ().as_deref().unwrap_or("bind");
    let target = text(path)?;
    if options.bind || kind == "bind" {
        return Ok(vec![bind(mount, &options, target)?]);
    }
    if kind == "cgroup" {
        return cgroup(path, &options, legacy);
    }
    let own = options
        .own
        .iter()
        .map(|(key, value)| Ok((text(key)?, value.as_ref().map(text).transpose()?)));
    Ok(vec![Step::Mount {
        kind: text(kind)?,
        options: own.collect::<Result<_, MountError>>()?,
        attributes: options.attributes,
        target,
    }])
}

fn bind(mount: &Mount, options: &Options, target: CString) -> Result<Step, MountError> {
    let source = mount.source().clone().unwrap_or_default();
    let directory = is_directory(&source, options.below.as_deref());
    let directory = directory.map_err(|error| MountError::Source {
        source_path: match &options.below {
            Some(below) => source.join(below),
            None => source.clone(),
        },
        target: mount.destination().clone(),
        reason: error.to_string(),
    })?;
    let asked = options.propagation != 0;
    Ok(Step::Bind {
        source: text(&source)?,
        below: options.below.as_ref().map(text).transpose()?,
        recursive: options.recursive,
        attributes: options.attributes,
        propagation: if asked {
            options.propagation
        } else {
            libc::MS_PRIVATE
        },
        propagation_recursive: if asked {
            options.propagation_recursive
        } else {
            options.recursive
        },
        directory,
        target,
    })
}

/// Whether what is to be bound is a directory. What is below the source is resolved as the supervisor does it,
/// so that no link of a volume leads out of it.
fn is_directory(source: &Path, below: Option<&str>) -> std::io::Result<bool> {
    let Some(below) = below else {
        return Ok(std::fs::metadata(source)?.is_dir());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(source, flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(root, below, flags, Mode::empty(), resolve)?;
    Ok(std::fs::File::from(found).metadata()?.is_dir())
}

fn cgroup(
    path: &Path,
    options: &Options,
    legacy: &[(String, Vec<String>)],
) -> Result<Vec<Step>, MountError> {
    let attributes = options.attributes;
    let new = |kind: &str, options: &[String], target: &Path| -> Result<Step, MountError> {
        let flags = options.iter().map(|name| Ok((text(name)?, None)));
        let options = flags.collect::<Result<_, MountError>>()?;
        Ok(Step::Mount {
            kind: text(kind)?,
            options,
            attributes,
            target: text(target)?,
        })
    };
    if legacy.is_empty() {
        return Ok(vec![new("cgroup2", &[], path)?]);
    }
    let mode = (text("mode")?, Some(text("755")?));
    let writable = attributes & !RDONLY;
    let mut steps = vec![Step::Mount {
        kind: text("tmpfs")?,
        options: vec![mode],
        attributes: writable,
        target: text(path)?,
    }];
    for (name, controllers) in legacy {
        steps.push(new("cgroup", controllers, &path.join(name))?);
    }
    if attributes & RDONLY != 0 {
        steps.push(Step::Seal(text(path)?));
    }
    Ok(steps)
}

fn parse(words: &[String]) -> Options {
    let mut parsed = Options::default();
    for word in words {
        let set = |attributes: &mut u64, bit: u64| *attributes |= bit;
        match word.as_str() {
            "ro" => set(&mut parsed.attributes, RDONLY),
            "nosuid" => set(&mut parsed.attributes, NOSUID),
            "nodev" => set(&mut parsed.attributes, NODEV),
            "noexec" => set(&mut parsed.attributes, NOEXEC),
            "noatime" => set(&mut parsed.attributes, NOATIME),
            "strictatime" => set(&mut parsed.attributes, STRICTATIME),
            "rw" => parsed.attributes &= !RDONLY,
            "suid" => parsed.attributes &= !NOSUID,
            "dev" => parsed.attributes &= !NODEV,
            "exec" => parsed.attributes &= !NOEXEC,
            "relatime" | "defaults" => {}
            "bind" => parsed.bind = true,
            "rbind" => (parsed.bind, parsed.recursive) = (true, true),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                parsed.propagation_recursive = word.starts_with('r');
                parsed.propagation = match word.trim_start_matches('r') {
                    "shared" => libc::MS_SHARED,
                    "slave" => libc::MS_SLAVE,
                    _ => libc::MS_PRIVATE,
                };
            }
            other if other.starts_with(BELOW) => {
                parsed.below = other.strip_prefix(BELOW).map(str::to_owned);
            }
            other => parsed.own.push(match other.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (other.to_owned(), None),
            }),
        }
    }
    parsed
}

/// The nodes and links that every container's own /dev has.
///
/// # Errors
/// None in practice: all text is ours.
pub fn standard_devices() -> Result<Vec<Step>, MountError> {
    let nodes = [
        ("/dev/null", 1, 3),
        ("/dev/zero", 1, 5),
        ("/dev/full", 1, 7),
        ("/dev/random", 1, 8),
        ("/dev/urandom", 1, 9),
        ("/dev/tty", 5, 0),
    ];
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/core", "/proc/kcore"),
    ];
    let mut steps = Vec::new();
    for (path, major, minor) in nodes {
        let mode = libc::S_IFCHR | 0o666;
        let device = libc::makedev(major, minor);
        steps.push(Step::Node {
            target: text(path)?,
            mode,
            device,
            uid: 0,
            gid: 0,
        });
    }
    for (path, to) in links {
        steps.push(Step::Symlink {
            target: text(path)?,
            text: text(to)?,
        });
    }
    Ok(steps)
}

/// The file on which the supervisor mounts the terminal of a container that has one.
///
/// # Errors
/// None in practice: all text is ours.
pub fn console() -> Result<Step, MountError> {
    Ok(Step::Node {
        target: text("/dev/console")?,
        mode: libc::S_IFREG | 0o600,
        device: 0,
        uid: 0,
        gid: 0,
    })
}

/// The node of a device that the bundle names.
///
/// # Errors
/// [`MountError::ZeroByte`].
pub fn device(device: &LinuxDevice) -> Result<Step, MountError> {
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        _ => libc::S_IFCHR,
    };
    let number = |number: i64| u32::try_from(number).unwrap_or(0);
    Ok(Step::Node {
        target: text(device.path())?,
        mode: kind | device.file_mode().unwrap_or(0o666) & 0o7777,
        device: libc::makedev(number(device.major()), number(device.minor())),
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
