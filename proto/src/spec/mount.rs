//! File systems inside a container. Names and defaults are Docker's.

use std::collections::BTreeMap;

/// A file system inside a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// What it is.
    pub source: MountSource,
    /// Absolute path inside; made when missing.
    pub target: String,
    /// It cannot be written.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountSource {
    /// A directory or file of the node.
    Bind {
        /// Absolute; it must exist on the node.
        path: String,
        /// How later mounts pass between node and container.
        propagation: Propagation,
        /// Also what is mounted below it.
        recursive: bool,
    },
    /// A volume of the node.
    Volume(VolumeUse),
    /// Memory.
    Tmpfs {
        /// Bytes; the default is no bound but memory.
        size: Option<u64>,
        /// Permission bits of its root; the default is 1777.
        mode: u32,
    },
}

/// The use of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeUse {
    /// Its name; `None` is a new one for each task, removed with it.
    pub name: Option<String>,
    /// Do not fill a new volume with what the image has at the target.
    pub no_copy: bool,
    /// A directory of the volume instead of its root, relative.
    pub subpath: Option<String>,
    /// The task waits for a node that has the volume, once there is one.
    pub sticky: bool,
    /// Driver of a volume that is made; the default is `local`.
    pub driver: Option<String>,
    /// Options for it: `type`, `device` and `o` make `local` mount a file system such as nfs.
    pub options: BTreeMap<String, String>,
    /// Labels of a volume that is made.
    pub labels: BTreeMap<String, String>,
}

/// How later mounts pass between a bind mount and its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Propagation {
    /// Not, nor what is mounted below; the default is the recursive form.
    Private,
    /// Not; the default.
    #[default]
    Rprivate,
    /// Both ways.
    Shared,
    /// Both ways, with what is below.
    Rshared,
    /// Inwards.
    Slave,
    /// Inwards, with what is below.
    Rslave,
}
