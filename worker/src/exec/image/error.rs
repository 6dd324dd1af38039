//! What can go wrong with an image, said so that a user knows what to do.

use std::io;
use std::path::Path;

use skep_proto::image::Digest;

use super::unpack::UnpackError;

/// Why an image cannot be kept or used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file system says no.
    #[error("cannot {act} {object}: {source}")]
    Files {
        /// What was tried.
        act: &'static str,
        /// With what.
        object: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another daemon uses the store.
    #[error("the image store {0} is in use by another daemon: give each its own --data-root")]
    InUse(String),
    /// The stream could not be read to its end.
    #[error("cannot read {what}: {source}")]
    Read {
        /// Which stream.
        what: String,
        /// What its reader says.
        source: io::Error,
    },
    /// Content that is not what its name says.
    #[error("{what} is damaged or forged: its content has {found}, not {expected}")]
    WrongDigest {
        /// What was read.
        what: String,
        /// What it should have.
        expected: Digest,
        /// What it has.
        found: Digest,
    },
    /// More or fewer bytes than its descriptor says.
    #[error("{what} has {found} bytes, not {expected}")]
    WrongSize {
        /// What was read.
        what: String,
        /// As its descriptor says.
        expected: u64,
        /// What came, or the first byte too many.
        found: u64,
    },
    /// A stream that cannot be unpacked.
    #[error("cannot unpack {what}: {source}")]
    Unpack {
        /// Which stream.
        what: String,
        /// Why.
        source: UnpackError,
    },
    /// A tar archive without images in it.
    #[error(
        "this archive holds no image: it has neither index.json (an OCI layout) nor manifest.json \
         (docker save); to make an image of a root file system, use image import"
    )]
    NoManifest,
    /// An archive or image with a part missing.
    #[error("{what} is missing in {place}: it was not saved whole")]
    Missing {
        /// The part.
        what: String,
        /// Where it should be.
        place: String,
    },
    /// A document that is not what it should be.
    #[error("{what} cannot be understood: {reason}")]
    Malformed {
        /// The document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image for other machines.
    #[error("{what} has no image for linux/{architecture}; it has {found}")]
    NoPlatform {
        /// The index.
        what: String,
        /// Of this machine.
        architecture: &'static str,
        /// What there is.
        found: String,
    },
    /// The image is not on this node.
    #[error("image {0} is not on this node")]
    Absent(Digest),
    /// Tasks need it.
    #[error("image {image} is used by task {tasks}: remove the service first")]
    Used {
        /// The image.
        image: Digest,
        /// Their ids.
        tasks: String,
    },
    /// The daemon carries it.
    #[error("image {0} is built into skep and stays")]
    BuiltIn(Digest),
    /// The disk is full.
    #[error(
        "there is no room for image {image} in {place}: {source}; make some there, such as with: skep image prune"
    )]
    Full {
        /// The image that was to be kept.
        image: Digest,
        /// The store.
        place: String,
        /// What did not go.
        source: Box<ImageError>,
    },
    /// Nobody gave it.
    #[error("cannot fetch {what}: {source}")]
    Fetch {
        /// The blob.
        what: String,
        /// What the last attempt said.
        source: io::Error,
    },
    /// A thread of the store ended too early.
    #[error("cannot {act}: the daemon is ending")]
    Ending {
        /// What was under way.
        act: &'static str,
    },
}

impl ImageError {
    /// Whether the store's file system has no room left.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Files { source, .. } => no_room(source.kind()),
            Self::Unpack { source, .. } => matches!(source, UnpackError::Full(_)),
            Self::Full { .. } => true,
            _ => false,
        }
    }

    /// Whether the same may go well later without anybody doing anything here.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Fetch { source, .. } if !super::registry::is_final(source))
    }
}

/// Whether this is what a full file system says, or a spent quota.
pub(super) fn no_room(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Names act and object of a failed file operation.
pub(super) trait Doing<T> {
    fn doing(self, act: &'static str, object: &Path) -> Result<T, ImageError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, act: &'static str, object: &Path) -> Result<T, ImageError> {
        self.map_err(|error| ImageError::Files {
            act,
            object: object.display().to_string(),
            source: error.into(),
        })
    }
}

/// A document that cannot be understood.
pub(super) fn malformed(what: impl Into<String>, reason: impl ToString) -> ImageError {
    ImageError::Malformed {
        what: what.into(),
        reason: reason.to_string(),
    }
}
