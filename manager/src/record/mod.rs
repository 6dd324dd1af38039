//! Entries and state objects as bytes: what the log keeps, what a snapshot holds.
//!
//! A record carries the version of its encoding. A record, change or object that this release does not know
//! is an error that stops the manager; it is never skipped, since replicas would then differ.

mod entry;
mod object;
#[cfg(test)]
mod tests;

use prost::Message;
use skep_proto::wire::{WireError, v1};

use crate::state::{Entry, Object};

/// Version of the encoding that this release writes.
pub const VERSION: u32 = 1;

/// Why a record cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no record at all.
    #[error("cannot decode a record: {0}")]
    Malformed(String),
    /// A later release wrote it.
    #[error(
        "cannot read a record of version {0}: this release knows up to {VERSION}; upgrade this manager"
    )]
    Version(u32),
    /// It is a record, but not of what was asked for, or of a kind this release does not know.
    #[error(
        "cannot read a record: expected {expected}; if a later release wrote it, upgrade this manager"
    )]
    Kind {
        /// What was asked for.
        expected: &'static str,
    },
    /// A field is wrong.
    #[error("cannot read a record: {0}")]
    Field(#[from] WireError),
}

/// The bytes of an entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(v1::record::Content::Entry(entry::write(entry)))
}

/// The entry in `bytes`.
///
/// # Errors
/// When any part of it is not known or wrong.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, RecordError> {
    match decode(bytes)? {
        Some(v1::record::Content::Entry(entry)) => Ok(entry::read(entry)?),
        _ => Err(RecordError::Kind {
            expected: "an entry",
        }),
    }
}

/// The bytes of a piece of a state.
pub fn encode_object(object: &Object) -> Vec<u8> {
    encode(v1::record::Content::Object(object::write(object)))
}

/// The piece of a state in `bytes`.
///
/// # Errors
/// When any part of it is not known or wrong.
pub fn decode_object(bytes: &[u8]) -> Result<Object, RecordError> {
    match decode(bytes)? {
        Some(v1::record::Content::Object(object)) => Ok(object::read(object)?),
        _ => Err(RecordError::Kind {
            expected: "an object",
        }),
    }
}

fn encode(content: v1::record::Content) -> Vec<u8> {
    v1::Record {
        version: VERSION,
        content: Some(content),
    }
    .encode_to_vec()
}

fn decode(bytes: &[u8]) -> Result<Option<v1::record::Content>, RecordError> {
    let record =
        v1::Record::decode(bytes).map_err(|error| RecordError::Malformed(error.to_string()))?;
    if record.version == VERSION {
        Ok(record.content)
    } else {
        Err(RecordError::Version(record.version))
    }
}
