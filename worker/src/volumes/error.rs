//! Why something could not be done to a volume, for a person.

use std::io;
use std::path::{Path, PathBuf};

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is none of that name here.
    #[error("there is no volume {0} on this node; skep volume ls shows those there are")]
    Unknown(String),
    /// A name that no volume can have.
    #[error(transparent)]
    Invalid(#[from] skep_proto::validate::Invalid),
    /// There is one of that name, which is another.
    #[error(
        "volume {name} is on this node already, with other options ({held}): remove it or use another name"
    )]
    Other {
        /// Which.
        name: String,
        /// What it was made with.
        held: String,
    },
    /// Somebody uses it.
    #[error("volume {name} is used by {users}: remove the service or task first")]
    InUse {
        /// Which.
        name: String,
        /// Names of tasks, with commas.
        users: String,
    },
    /// A part of it that is not there.
    #[error("volume {name} has no directory {subpath}: make it in the volume first")]
    Subpath {
        /// Which.
        name: String,
        /// What was asked for.
        subpath: String,
    },
    /// What it stands for cannot be mounted.
    #[error(
        "cannot mount volume {name} (type {kind}, device {device}, options \"{options}\"): {reason}"
    )]
    Mount {
        /// Which.
        name: String,
        /// The file system's type.
        kind: String,
        /// What is mounted.
        device: String,
        /// How.
        options: String,
        /// Why not.
        reason: String,
    },
    /// A record that a later release wrote, or a damaged one.
    #[error("the record of volume {name} cannot be read ({reason}): {path} has its content")]
    Unreadable {
        /// Which.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// Where it lies.
        path: PathBuf,
    },
    /// The disk says no.
    #[error("cannot {act} {path}: {source}")]
    Files {
        /// What was tried.
        act: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Says what was being done when a file could not be used.
pub(super) trait Doing<T> {
    fn doing(self, act: &'static str, path: &Path) -> Result<T, VolumeError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, act: &'static str, path: &Path) -> Result<T, VolumeError> {
        self.map_err(|source| VolumeError::Files {
            act,
            path: path.to_owned(),
            source: source.into(),
        })
    }
}
