//! The launch plan: what the supervisor and the container's first process do, in order.
//!
//! It is flat on purpose: every path is a C string ready for the kernel, every list is in the order
//! of execution. Whoever compiles it (the daemon) decides; whoever follows it (the child after
//! clone, which must not allocate) only obeys. A plan is read only by the supervisor that the same
//! daemon carries, so its shape may change with [`VERSION`].

use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString};

/// The shape of the plan. A supervisor refuses any other.
pub const VERSION: u16 = 3;

/// Most binds of one container that stay tied to the host's mounts.
pub const MOST_TIED: usize = 32;

/// Everything for one container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaunchPlan {
    /// Always [`VERSION`].
    pub version: u16,
    /// The container's id, for messages only.
    pub id: String,
    /// Where the supervisor listens and leaves its notes.
    pub notes: Notes,
    /// cgroup files into which the supervisor writes `0`, to leave its service's groups.
    pub supervisor_groups: Vec<CString>,
    /// `CLONE_NEW*` flags for the container's first process.
    pub namespaces: u64,
    /// A network namespace to join, as a path; it excludes `CLONE_NEWNET`.
    pub join_network: Option<CString>,
    /// The container's cgroups.
    pub groups: Groups,
    /// The root file system.
    pub root: Root,
    /// What the child does inside its new namespaces before it changes its root.
    pub steps: Vec<Step>,
    /// True if the root mount becomes read-only after the steps.
    pub root_read_only: bool,
    /// What becomes of the child at last.
    pub program: Program,
    /// True if its input and output are a terminal of its own.
    pub terminal: bool,
    /// Where its output goes; nowhere if not given.
    pub log: Option<Log>,
}

/// Paths on the host that outlive the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notes {
    /// The control socket; its directory is private to root.
    pub socket: String,
    /// Written once the container exists: a [`crate::protocol::Note`].
    pub created: String,
    /// Written once it has ended; this one decides what a later daemon believes.
    pub ended: String,
}

/// The cgroups of the container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Groups {
    /// A directory in the version 2 tree, entered at clone.
    pub unified: Option<CString>,
    /// `tasks` files of version 1 hierarchies, into which the child writes `0`.
    pub tasks: Vec<CString>,
    /// The file that counts kills for lack of memory, by a line `oom_kill N`.
    pub oom: Option<String>,
    /// True if the child gets a cgroup namespace of its own.
    pub private: bool,
}

/// How the root comes to be. Both are mounted only inside the container's mount namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Root {
    /// A directory as it is.
    Directory(CString),
    /// Layers, the topmost first, below a writable one.
    Overlay {
        /// Read-only layers, topmost first; at least one.
        lower: Vec<CString>,
        /// Receives what the container writes.
        upper: CString,
        /// Overlayfs' scratch directory, on the file system of `upper`.
        work: CString,
        /// The directory to mount it on, in the container's mount namespace.
        at: CString,
    },
}

/// One act of the child. Targets are absolute paths inside the container and are resolved under
/// its root, so no link of the image leads out. Missing targets are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Mount a new file system instance.
    Mount {
        /// Its type, such as `proc`.
        kind: CString,
        /// Parameters; one without a value is a flag.
        options: Vec<(CString, Option<CString>)>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
        /// Where.
        target: CString,
    },
    /// Bind a file or directory of the host.
    Bind {
        /// On the host.
        source: CString,
        /// What of it is bound, relative; links inside it are resolved as if `source` were the root.
        below: Option<CString>,
        /// With everything mounted below it.
        recursive: bool,
        /// `MOUNT_ATTR_*` to set on all of it.
        attributes: u64,
        /// `MS_SHARED`, `MS_SLAVE` or `MS_PRIVATE`; all but the last keep the tie to the host's mounts.
        propagation: u64,
        /// True if the propagation is also that of the mounts below.
        propagation_recursive: bool,
        /// True if the source is a directory.
        directory: bool,
        /// Where.
        target: CString,
    },
    /// Make a device node or a FIFO.
    Node {
        /// Where.
        target: CString,
        /// File type and permission bits.
        mode: u32,
        /// Device number as `makedev` gives it.
        device: u64,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Make a symbolic link; one that is there already stays.
    Symlink {
        /// The link.
        target: CString,
        /// What it says.
        text: CString,
    },
    /// Make the path unreadable: nothing to see in a directory, an empty file otherwise.
    Mask(CString),
    /// Make everything below the path read-only. A missing path is left alone.
    ReadOnly(CString),
    /// Make the one mount at the path read-only, and none below it.
    Seal(CString),
    /// Write a value to a kernel parameter; the target is a path below `/proc/sys`.
    Sysctl {
        /// The file.
        target: CString,
        /// What to write.
        value: CString,
    },
    /// Set the host name.
    Hostname(CString),
    /// Set the NIS domain name.
    Domainname(CString),
}

/// What the child turns into.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// Paths to try in turn for exec.
    pub candidates: Vec<CString>,
    /// Arguments, from the zeroth.
    pub args: Vec<CString>,
    /// `NAME=value`.
    pub env: Vec<CString>,
    /// Working directory; made if missing.
    pub cwd: CString,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets as bit masks.
    pub capabilities: Capabilities,
    /// `(resource, soft, hard)` for setrlimit.
    pub limits: Vec<(u32, u64, u64)>,
    /// The kernel's preference when it is short of memory.
    pub oom_score: i32,
    /// True if no exec may gain privileges.
    pub no_new_privileges: bool,
    /// A classic BPF program, eight bytes an instruction; empty for none.
    pub seccomp: Vec<u8>,
    /// Flags for the seccomp system call.
    pub seccomp_flags: u64,
}

/// Bit `n` is capability number `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What can ever be had.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What exec of a file with capabilities may keep.
    pub inheritable: u64,
    /// What exec keeps for users other than root.
    pub ambient: u64,
}

/// The log file and its bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Log {
    /// The file that is written; older ones end in `.1`, `.2` and so on.
    pub path: String,
    /// Bytes after which a new file is begun.
    pub max_bytes: u64,
    /// How many files there are at most; at least one.
    pub max_files: u32,
}

impl Step {
    /// What the step is about, for an error message.
    #[must_use]
    pub fn describe(&self) -> String {
        let show = |text: &CStr| text.to_string_lossy().into_owned();
        match self {
            Self::Mount { kind, target, .. } => format!("mount {} on {}", show(kind), show(target)),
            Self::Bind { source, target, .. } => {
                format!("bind {} to {}", show(source), show(target))
            }
            Self::Node { target, .. } => format!("make device {}", show(target)),
            Self::Symlink { target, .. } => format!("make link {}", show(target)),
            Self::Mask(path) => format!("mask {}", show(path)),
            Self::ReadOnly(path) | Self::Seal(path) => format!("make {} read-only", show(path)),
            Self::Sysctl { target, value } => format!("write {} to {}", show(value), show(target)),
            Self::Hostname(name) => format!("set the host name {}", show(name)),
            Self::Domainname(name) => format!("set the domain name {}", show(name)),
        }
    }
}
