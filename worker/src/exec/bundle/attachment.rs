//! Mounts and devices besides the standard ones, as OCI writes them. Pure.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount};
use skep_proto::spec::Propagation;

use crate::exec::mounts::BELOW;

/// A mount besides the standard ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A file or directory of the host.
    Bind(Bind),
    /// Memory.
    Tmpfs {
        /// In the container.
        target: PathBuf,
        /// At most so many bytes; half of the machine's memory if not given.
        bytes: Option<u64>,
        /// Permission bits; 0o1777 if not given.
        mode: Option<u32>,
        /// True if the container may not write to it.
        read_only: bool,
    },
}

impl Attachment {
    /// Where it shows in the container.
    pub fn target(&self) -> PathBuf {
        match self {
            Self::Bind(bind) => bind.target.clone(),
            Self::Tmpfs { target, .. } => target.clone(),
        }
    }
}

/// A file or directory of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// What of it is bound, relative; links are resolved as if `source` were the root.
    pub below: Option<String>,
    /// In the container.
    pub target: PathBuf,
    /// True if the container may not write to it, nor to what is mounted below it.
    pub read_only: bool,
    /// Also what is mounted below it.
    pub recursive: bool,
    /// How later mounts pass between host and container.
    pub propagation: Propagation,
}

impl Bind {
    /// With all that is below, and nothing that is mounted later.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            below: None,
            target: target.into(),
            read_only: false,
            recursive: true,
            propagation: Propagation::Rprivate,
        }
    }
}

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// In the container.
    pub path: PathBuf,
    /// Whether it is one of blocks; otherwise one of characters.
    pub block: bool,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Of `r`, `w` and `m`.
    pub access: String,
}

impl Device {
    fn kind(&self) -> LinuxDeviceType {
        if self.block {
            LinuxDeviceType::B
        } else {
            LinuxDeviceType::C
        }
    }

    pub(super) fn node(&self) -> LinuxDevice {
        let mut device = LinuxDevice::default();
        device
            .set_path(self.path.clone())
            .set_typ(self.kind())
            .set_major(self.major.into())
            .set_minor(self.minor.into())
            .set_file_mode(Some(self.mode))
            .set_uid(Some(self.uid))
            .set_gid(Some(self.gid));
        device
    }

    pub(super) fn rule(&self) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(self.kind()))
            .set_major(Some(self.major.into()))
            .set_minor(Some(self.minor.into()))
            .set_access(Some(self.access.clone()));
        rule
    }
}

pub(super) fn mount(kind: &str, source: PathBuf, target: PathBuf, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source))
        .set_destination(target)
        .set_options(Some(options));
    mount
}

pub(super) fn attachment(one: &Attachment) -> Mount {
    let word = |word: &str| word.to_owned();
    let access = |read_only: bool| word(if read_only { "ro" } else { "rw" });
    match one {
        Attachment::Bind(bind) => {
            let propagation = match bind.propagation {
                Propagation::Private => "private",
                Propagation::Rprivate => "rprivate",
                Propagation::Shared => "shared",
                Propagation::Rshared => "rshared",
                Propagation::Slave => "slave",
                Propagation::Rslave => "rslave",
            };
            let depth = if bind.recursive { "rbind" } else { "bind" };
            let mut options = vec![word(depth), word(propagation), access(bind.read_only)];
            options.extend(bind.below.as_ref().map(|below| format!("{BELOW}{below}")));
            mount("bind", bind.source.clone(), bind.target.clone(), options)
        }
        Attachment::Tmpfs {
            target,
            bytes,
            mode,
            read_only,
        } => {
            let mut options = vec![word("nosuid"), word("nodev"), word("noexec")];
            options.push(access(*read_only));
            options.extend(bytes.map(|bytes| format!("size={bytes}")));
            options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            mount("tmpfs", "tmpfs".into(), target.clone(), options)
        }
    }
}
