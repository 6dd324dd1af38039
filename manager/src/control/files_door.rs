//! Converts calls about secrets and configs. A secret's content never goes out here.

use std::collections::BTreeMap;

use skep_proto::file::{Content, File, FileKind, FileSpec, Rotation};
use skep_proto::wire::{self, v1};
use tonic::Status;

use super::files::{Rotate, users};
use super::rollout::Run;
use super::{Control, refuse, resolve};
use crate::state::State;

impl Control {
    pub(super) async fn file_created(
        &self,
        message: v1::CreateFileRequest,
    ) -> Result<v1::CreateFileAnswer, Status> {
        let kind = kind(message.kind)?;
        let spec: FileSpec = known(wire::message(message.spec, "spec"))?;
        let request = known(wire::request_id(&message.request))?;
        let content = Content::new(message.content);
        let id = self.create_stored(request, kind, spec, content).await?;
        Ok(v1::CreateFileAnswer {
            id: Some(id.into()),
        })
    }

    pub(super) async fn files_listed(
        &self,
        message: v1::ListFilesRequest,
    ) -> Result<v1::ListFilesAnswer, Status> {
        let kind = kind(message.kind)?;
        let state = self.read_as(message.stale).await?;
        let files = state.files().filter(|file| file.id.kind() == kind);
        Ok(v1::ListFilesAnswer {
            files: files.map(|file| entry(&state, file)).collect(),
        })
    }

    pub(super) async fn file_got(
        &self,
        message: v1::GetFileRequest,
    ) -> Result<v1::FileEntry, Status> {
        let kind = kind(message.kind)?;
        let state = self.read().await?;
        let file = resolve::file(&state, kind, &message.reference)?;
        let content = match kind {
            FileKind::Secret => None,
            FileKind::Config => state.content(file.id, file.newest()),
        };
        let kept = state.contents_of(file.id).map(|(revision, _)| {
            let tasks = state.tasks_with(file.id, revision);
            v1::FileRevisionUse {
                revision,
                tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            }
        });
        Ok(v1::FileEntry {
            content: content.map(|content| content.bytes().to_vec()),
            kept: kept.collect(),
            ..entry(&state, &file)
        })
    }

    pub(super) async fn file_removed(
        &self,
        message: v1::RemoveFileRequest,
    ) -> Result<v1::RemoveFileAnswer, Status> {
        let kind = kind(message.kind)?;
        let request = known(wire::request_id(&message.request))?;
        let id = self
            .remove_stored(request, kind, &message.reference)
            .await?;
        Ok(v1::RemoveFileAnswer {
            id: Some(id.into()),
        })
    }

    pub(super) async fn file_rotated(
        &self,
        message: v1::RotateFileRequest,
    ) -> Result<v1::RotateFileAnswer, Status> {
        let rotation: Rotation = known(wire::message(message.rotation, "rotation"))?;
        let asked = Rotate {
            request: known(wire::request_id(&message.request))?,
            kind: kind(message.kind)?,
            reference: message.reference,
            content: Content::new(message.content),
            rotation: sendable(rotation)?,
            run: match message.only_try {
                true => Run::Try,
                false => Run::Change,
            },
            labels: message.labels.map(|it| BTreeMap::from_iter(it.labels)),
        };
        let rotated = self.rotate(asked).await?;
        Ok(v1::RotateFileAnswer {
            id: Some(rotated.file.id.into()),
            revision: rotated.file.newest(),
            unchanged: rotated.unchanged,
            services: rotated.services,
        })
    }
}

fn known<T>(read: Result<T, wire::WireError>) -> Result<T, Status> {
    read.map_err(|error| refuse::malformed(&error))
}

fn kind(number: i32) -> Result<FileKind, Status> {
    known(wire::enumeration::<v1::FileKind, _>(number, "kind"))
}

/// Only a signal that there is can be sent.
fn sendable(rotation: Rotation) -> Result<Rotation, Status> {
    match rotation {
        Rotation::InPlace {
            signal: Some(signal),
        } if !(1..=64).contains(&signal) => Err(Status::invalid_argument(format!(
            "--signal: {signal} is no signal; they go from 1 to 64"
        ))),
        _ => Ok(rotation),
    }
}

/// As a list shows it. What is kept of each is counted task by task, and told only of one that is asked for.
fn entry(state: &State, file: &File) -> v1::FileEntry {
    v1::FileEntry {
        file: Some(file.into()),
        content: None,
        services: users(state, file.id),
        kept: Vec::new(),
    }
}
