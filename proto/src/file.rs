//! Secrets and configs as the cluster keeps them: content under a name, with revisions. Pure.
//!
//! Both are files that containers are given. A secret's content is never shown to a user and never printed; it
//! goes only to nodes with a task that uses it. What a service uses is pinned to a revision; a revision made in
//! place takes over from the one before, one that rolls out does not.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ids::{ConfigId, SecretId};
use crate::time::WallTime;

use std::collections::BTreeMap;

/// Most bytes of a secret: Docker's 500 KiB.
pub const LARGEST_SECRET: usize = 500 * 1024;
/// Most bytes of a config: Docker's 1,000 KiB.
pub const LARGEST_CONFIG: usize = 1000 * 1024;
/// Revisions that are told of a file besides those whose content is kept.
pub const FILE_REVISIONS_TOLD: usize = 12;

/// What kind of file it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// Its content is never shown.
    Secret,
    /// Its content is shown to users.
    Config,
}

impl FileKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Secret, Self::Config];

    /// Most bytes of content.
    pub const fn most(self) -> usize {
        match self {
            Self::Secret => LARGEST_SECRET,
            Self::Config => LARGEST_CONFIG,
        }
    }

    /// Where a file of this name shows in a container by default.
    pub fn target(self, name: &str) -> String {
        match self {
            Self::Secret => format!("/run/secrets/{name}"),
            Self::Config => format!("/{name}"),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Config => "config",
        })
    }
}

/// A secret or a config.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileId {
    /// A secret.
    Secret(SecretId),
    /// A config.
    Config(ConfigId),
}

impl FileId {
    /// The id of this kind with these bits.
    pub const fn new(kind: FileKind, bits: u128) -> Self {
        match kind {
            FileKind::Secret => Self::Secret(SecretId::new(bits)),
            FileKind::Config => Self::Config(ConfigId::new(bits)),
        }
    }

    /// Which kind it is.
    pub const fn kind(self) -> FileKind {
        match self {
            Self::Secret(_) => FileKind::Secret,
            Self::Config(_) => FileKind::Config,
        }
    }
}

impl From<SecretId> for FileId {
    fn from(id: SecretId) -> Self {
        Self::Secret(id)
    }
}

impl From<ConfigId> for FileId {
    fn from(id: ConfigId) -> Self {
        Self::Config(id)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(id) => id.fmt(f),
            Self::Config(id) => id.fmt(f),
        }
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.kind())
    }
}

/// What is in a file. Shared, never printed, and overwritten in memory when the last one lets go of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Arc<Zeroizing<Vec<u8>>>);

impl Content {
    /// With these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes, not shown)", self.0.len())
    }
}

/// What a user says of a secret or config, besides its content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileSpec {
    /// Its name: one secret, and one config, of a name.
    pub name: String,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

/// A secret or config as the cluster keeps it. Its contents stand beside it, by revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Random.
    pub id: FileId,
    /// Log index of the last change.
    pub version: u64,
    /// When it was made.
    pub created: WallTime,
    /// When it last changed.
    pub updated: WallTime,
    /// What the user says of it.
    pub spec: FileSpec,
    /// Ascending by number; the last is the newest. Never empty.
    pub revisions: Vec<FileRevision>,
}

/// One content that a file has had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRevision {
    /// From 1.
    pub number: u64,
    /// When it was made.
    pub at: WallTime,
    /// Who made it, as `user@host`; empty where nobody is known.
    pub by: String,
    /// Bytes of its content.
    pub size: u64,
    /// How it takes over from the one before.
    pub rotation: Rotation,
}

/// How a new content takes the place of the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// The file is replaced in containers that run, then their first process gets the signal, if one is named.
    InPlace {
        /// Such as 1, SIGHUP.
        signal: Option<i32>,
    },
    /// Containers that run keep what they have; services that use it are updated to it.
    Rolling,
}

impl File {
    /// Number of the newest revision.
    pub fn newest(&self) -> u64 {
        self.revisions.last().map_or(0, |newest| newest.number)
    }

    /// The revision that a use which begins at `pinned` has now: the last that was made in place from there on,
    /// or the newest where that content is not kept (`kept`) any more.
    pub fn resolve(&self, pinned: Option<u64>, kept: impl Fn(u64) -> bool) -> u64 {
        let newest = self.newest();
        let Some(pinned) = pinned else {
            return newest;
        };
        let later = self.revisions.iter().filter(|it| it.number > pinned);
        let in_place = later.take_while(|it| matches!(it.rotation, Rotation::InPlace { .. }));
        let found = in_place.last().map_or(pinned, |it| it.number);
        if kept(found) { found } else { newest }
    }

    /// The last revision up to `revision` that came with a signal, and that signal.
    pub fn signalled(&self, revision: u64) -> Option<(u64, i32)> {
        let before = self.revisions.iter().rev();
        let mut before = before.filter(|it| it.number <= revision);
        before.find_map(|it| match it.rotation {
            Rotation::InPlace {
                signal: Some(signal),
            } => Some((it.number, signal)),
            _ => None,
        })
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
