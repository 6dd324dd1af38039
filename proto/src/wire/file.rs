//! Converts secrets and configs. What is printed of their messages holds no content.

use std::fmt;

use super::field::{enumeration, id, list, message};
use super::{WireError, WireId, v1};
use crate::assignment::AssignedFile;
use crate::file::{Content, File, FileId, FileKind, FileRevision, FileSpec, Rotation};
use crate::ids::{ConfigId, SecretId};
use crate::time::WallTime;

impl From<FileId> for v1::FileId {
    fn from(file: FileId) -> Self {
        let bytes = match file {
            FileId::Secret(id) => id.to_bytes(),
            FileId::Config(id) => id.to_bytes(),
        };
        Self {
            kind: v1::FileKind::from(file.kind()).into(),
            id: bytes,
        }
    }
}

impl TryFrom<v1::FileId> for FileId {
    type Error = WireError;

    fn try_from(from: v1::FileId) -> Result<Self, WireError> {
        Ok(match enumeration::<v1::FileKind, _>(from.kind, "kind")? {
            FileKind::Secret => Self::Secret(id::<SecretId>(&from.id, "id")?),
            FileKind::Config => Self::Config(id::<ConfigId>(&from.id, "id")?),
        })
    }
}

impl From<&FileSpec> for v1::FileSpec {
    fn from(spec: &FileSpec) -> Self {
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
        }
    }
}

impl TryFrom<v1::FileSpec> for FileSpec {
    type Error = WireError;

    fn try_from(from: v1::FileSpec) -> Result<Self, WireError> {
        Ok(Self {
            name: from.name,
            labels: from.labels,
        })
    }
}

impl From<&File> for v1::StoredFile {
    fn from(file: &File) -> Self {
        Self {
            id: Some(file.id.into()),
            version: file.version,
            created_ms: file.created.unix_millis(),
            updated_ms: file.updated.unix_millis(),
            spec: Some((&file.spec).into()),
            revisions: file.revisions.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::StoredFile> for File {
    type Error = WireError;

    fn try_from(from: v1::StoredFile) -> Result<Self, WireError> {
        Ok(Self {
            id: message(from.id, "id")?,
            version: from.version,
            created: WallTime::from_unix_millis(from.created_ms),
            updated: WallTime::from_unix_millis(from.updated_ms),
            spec: message(from.spec, "spec")?,
            revisions: list(from.revisions, "revisions")?,
        })
    }
}

impl From<&FileRevision> for v1::FileRevision {
    fn from(revision: &FileRevision) -> Self {
        Self {
            number: revision.number,
            at_ms: revision.at.unix_millis(),
            by: revision.by.clone(),
            size: revision.size,
            rotation: Some(revision.rotation.into()),
        }
    }
}

impl TryFrom<v1::FileRevision> for FileRevision {
    type Error = WireError;

    fn try_from(from: v1::FileRevision) -> Result<Self, WireError> {
        Ok(Self {
            number: from.number,
            at: WallTime::from_unix_millis(from.at_ms),
            by: from.by,
            size: from.size,
            rotation: message(from.rotation, "rotation")?,
        })
    }
}

impl From<Rotation> for v1::FileRotation {
    fn from(rotation: Rotation) -> Self {
        use v1::file_rotation::Way;
        Self {
            way: Some(match rotation {
                Rotation::InPlace { signal } => Way::InPlace(v1::InPlaceRotation { signal }),
                Rotation::Rolling => Way::Rolling(v1::RollingRotation {}),
            }),
        }
    }
}

impl TryFrom<v1::FileRotation> for Rotation {
    type Error = WireError;

    fn try_from(from: v1::FileRotation) -> Result<Self, WireError> {
        use v1::file_rotation::Way;
        Ok(match from.way.ok_or_else(|| WireError::missing("way"))? {
            Way::InPlace(v1::InPlaceRotation { signal }) => Self::InPlace { signal },
            Way::Rolling(v1::RollingRotation {}) => Self::Rolling,
        })
    }
}

impl From<&AssignedFile> for v1::AssignedFile {
    fn from(file: &AssignedFile) -> Self {
        Self {
            file: Some(file.file.into()),
            revision: file.revision,
            signal: file
                .signal
                .map(|(revision, signal)| v1::FileSignal { revision, signal }),
        }
    }
}

impl TryFrom<v1::AssignedFile> for AssignedFile {
    type Error = WireError;

    fn try_from(from: v1::AssignedFile) -> Result<Self, WireError> {
        Ok(Self {
            file: message(from.file, "file")?,
            revision: from.revision,
            signal: from.signal.map(|it| (it.revision, it.signal)),
        })
    }
}

/// A content with whose it is: for the log, for snapshots and for workers that need it.
pub fn content_message(file: FileId, revision: u64, content: &Content) -> v1::FileContent {
    v1::FileContent {
        file: Some(file.into()),
        revision,
        content: content.bytes().to_vec(),
    }
}

/// The content in a message, with its file and revision.
///
/// # Errors
/// When it does not say whose it is.
pub fn content(from: v1::FileContent) -> Result<(FileId, u64, Content), WireError> {
    let file = message(from.file, "file")?;
    Ok((file, from.revision, Content::new(from.content)))
}

impl fmt::Debug for v1::FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileContent { (not shown) }")
    }
}

impl fmt::Debug for v1::FileEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileEntry { (not shown) }")
    }
}

impl fmt::Debug for v1::CreateFileRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CreateFileRequest { (not shown) }")
    }
}

impl fmt::Debug for v1::RotateFileRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RotateFileRequest { (not shown) }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_prints_a_content() {
        let bytes = b"sesame".to_vec();
        let file = FileId::new(FileKind::Secret, 1);
        let message = content_message(file, 3, &Content::new(bytes.clone()));
        let texts = [
            format!("{message:?}"),
            format!(
                "{:?}",
                v1::PutFile {
                    file: None,
                    content: Some(message.clone())
                }
            ),
            format!(
                "{:?}",
                v1::CreateFileRequest {
                    content: bytes.clone(),
                    ..v1::CreateFileRequest::default()
                }
            ),
            format!(
                "{:?}",
                v1::RotateFileRequest {
                    content: bytes.clone(),
                    ..v1::RotateFileRequest::default()
                }
            ),
        ];
        let listed = format!("{bytes:?}");
        for text in texts {
            let bare = listed.trim_matches(['[', ']']);
            assert!(!text.contains("sesame") && !text.contains(bare), "{text}");
        }
        let (whose, revision, content) = content(message).unwrap();
        assert_eq!((whose, revision, content.bytes()), (file, 3, &*bytes));
    }
}
