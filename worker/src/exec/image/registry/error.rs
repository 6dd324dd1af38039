//! What can go wrong with a registry, said so that a user knows what to do.

use std::io;

use super::reference::ReferenceError;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The image's name is none.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// Nobody answers, or not as HTTP wants it.
    #[error("registry {registry} cannot be reached: {reason}")]
    Unreachable {
        /// Its host.
        registry: String,
        /// What was tried, and what came of it.
        reason: String,
    },
    /// It has no time just now.
    #[error("registry {registry} is busy: it answered {status}{said}")]
    Busy {
        /// Its host.
        registry: String,
        /// Of HTTP.
        status: u16,
        /// Its own words, after a colon.
        said: String,
    },
    /// It asks for a login, or for another one.
    #[error("registry {registry} refuses {what}{said}: {way_out}")]
    Refused {
        /// Its host.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its own words, after a colon.
        said: String,
        /// What the user can do.
        way_out: String,
    },
    /// It has no such thing.
    #[error("registry {registry} has no {what}{there_is}")]
    Absent {
        /// Its host.
        registry: String,
        /// What was asked for.
        what: String,
        /// What there is instead, after a semicolon.
        there_is: String,
    },
    /// It answers what nobody expects.
    #[error("registry {registry} gave a wrong answer for {what}: {reason}")]
    Wrong {
        /// Its host.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates on this machine cannot be used.
    #[error("cannot use the certificates for registry {registry}: {reason}")]
    Certificates {
        /// Its host.
        registry: String,
        /// Which file, and why.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same may go well later without anybody doing anything here.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// As [`super::super::Source`] wants it: what is final has a kind that is final.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Unreachable { .. } | Self::Busy { .. } => io::ErrorKind::Other,
            Self::Refused { .. } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, self.to_string())
    }
}

/// Whether asking again for a blob is worth nothing.
pub(in super::super) fn is_final(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
    )
}
