//! What a stack asks of the cluster about secrets and configs, call by call.

use anyhow::Context;
use skep_deploy::stack::{FileStep, FileWanted};
use skep_proto::file::{File, FileId, FileKind, FileSpec, Rotation};
use skep_proto::wire::v1;

use super::cluster::ask;
use crate::commands::client::{Client, request};

/// All secrets and configs.
pub async fn all(client: &Client) -> anyhow::Result<Vec<File>> {
    let mut found = Vec::new();
    for kind in FileKind::ALL {
        let message = v1::ListFilesRequest {
            kind: v1::FileKind::from(kind).into(),
            stale: false,
        };
        let answer = ask(|| {
            let mut control = client.control.clone();
            async move { control.list_files(message).await }
        })
        .await?;
        for entry in answer.files {
            found.push(File::try_from(
                entry.file.context("an answer without a file")?,
            )?);
        }
    }
    Ok(found)
}

/// Makes one.
pub async fn create(
    client: &Client,
    kind: FileKind,
    wanted: &FileWanted,
) -> anyhow::Result<FileId> {
    let spec = FileSpec {
        name: wanted.name.clone(),
        labels: wanted.labels.clone(),
    };
    let message = v1::CreateFileRequest {
        request: request(),
        kind: v1::FileKind::from(kind).into(),
        spec: Some((&spec).into()),
        content: wanted.content.clone().unwrap_or_default(),
    };
    let answer = ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.create_file(message).await }
    })
    .await?;
    Ok(FileId::try_from(
        answer.id.context("an answer without an id")?,
    )?)
}

/// Whether what is there differs from what is wanted.
pub async fn differs(client: &Client, step: &FileStep) -> anyhow::Result<bool> {
    let answer = rotate(client, step, Try::Only).await?;
    Ok(!answer.unchanged)
}

/// Gives one that is there the content that is wanted: services that use it are updated.
pub async fn renew(client: &Client, step: &FileStep) -> anyhow::Result<Vec<String>> {
    Ok(rotate(client, step, Try::No).await?.services)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    Only,
    No,
}

async fn rotate(
    client: &Client,
    step: &FileStep,
    run: Try,
) -> anyhow::Result<v1::RotateFileAnswer> {
    let message = v1::RotateFileRequest {
        request: request(),
        kind: v1::FileKind::from(step.kind).into(),
        reference: step.wanted.name.clone(),
        content: step.wanted.content.clone().unwrap_or_default(),
        rotation: Some(Rotation::Rolling.into()),
        labels: Some(v1::FileLabels {
            labels: step.wanted.labels.clone(),
        }),
        only_try: run == Try::Only,
    };
    ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.rotate_file(message).await }
    })
    .await
}

/// Removes one.
pub async fn remove(client: &Client, id: FileId) -> anyhow::Result<()> {
    let message = v1::RemoveFileRequest {
        request: request(),
        kind: v1::FileKind::from(id.kind()).into(),
        reference: id.to_string(),
    };
    ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.remove_file(message).await }
    })
    .await?;
    Ok(())
}
