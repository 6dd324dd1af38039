//! `skep secret` and `skep config`.

use std::collections::BTreeMap;
use std::fs::File as Opened;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::file::{File, FileId, FileKind, FileSpec, Rotation};
use skep_proto::validate;
use skep_proto::wire::v1;
use zeroize::Zeroizing;

use super::client::{Client, persist, request};
use super::docker::time as docker_time;
use super::rows::{ago, time};
use super::{for_each, labels};
use crate::args::file::{CreateArgs, FileCommand, RotateArgs};
use crate::args::{InspectArgs, ListArgs, RemoveArgs};
use crate::output::{self, Column};

/// Does what `skep secret …` or `skep config …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(
    client: &Client,
    kind: FileKind,
    command: FileCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        FileCommand::Create(args) => create(client, kind, args).await,
        FileCommand::Ls(args) => ls(client, kind, args).await,
        FileCommand::Inspect(args) => inspect(client, kind, args).await,
        FileCommand::Rm(args) => rm(client, kind, args).await,
        FileCommand::Rotate(args) => rotate(client, kind, args).await,
    }
}

/// A secret or config in a list.
#[derive(Serialize, Debug)]
struct FileRow {
    id: String,
    name: String,
    created: String,
    updated: String,
    /// The newest.
    revision: u64,
    /// Bytes of its content.
    size: u64,
    /// Names of the services that use it.
    services: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl FileRow {
    fn of(file: &File, services: Vec<String>) -> Self {
        Self {
            id: file.id.to_string(),
            name: file.spec.name.clone(),
            created: time(file.created),
            updated: time(file.updated),
            revision: file.newest(),
            size: file.revisions.last().map_or(0, |it| it.size),
            services,
            labels: file.spec.labels.clone(),
        }
    }
}

/// A secret or config in full.
#[derive(Serialize, Debug)]
struct FileSheet {
    #[serde(flatten)]
    row: FileRow,
    revisions: Vec<RevisionRow>,
    /// Of a config whose content is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// One content that it has had.
#[derive(Serialize, Debug)]
struct RevisionRow {
    number: u64,
    created: String,
    /// Who made it.
    by: String,
    size: u64,
    /// `in-place` or `rolling`
    rotation: &'static str,
    signal: Option<i32>,
    /// The content is gone from the cluster.
    revoked: bool,
    /// Tasks that are to run and have it.
    tasks: u32,
}

impl FileSheet {
    fn of(file: &File, entry: &v1::FileEntry) -> Self {
        let kept = |number: u64| entry.kept.iter().find(|kept| kept.revision == number);
        let revisions = file.revisions.iter().map(|it| RevisionRow {
            number: it.number,
            created: time(it.at),
            by: it.by.clone(),
            size: it.size,
            rotation: match it.rotation {
                Rotation::Rolling => "rolling",
                Rotation::InPlace { .. } => "in-place",
            },
            signal: match it.rotation {
                Rotation::InPlace { signal } => signal,
                Rotation::Rolling => None,
            },
            revoked: kept(it.number).is_none(),
            tasks: kept(it.number).map_or(0, |kept| kept.tasks),
        });
        let content = entry.content.clone();
        Self {
            row: FileRow::of(file, entry.services.clone()),
            revisions: revisions.collect(),
            content: content.and_then(|content| String::from_utf8(content).ok()),
        }
    }
}

const COLUMNS: &[Column<FileRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("NAME", |row, _| row.name.clone()),
    ("DRIVER", |_, _| String::new()),
    ("CREATED", |row, _| ago(&row.created)),
    ("UPDATED", |row, _| ago(&row.updated)),
    ("REVISION", |row, _| row.revision.to_string()),
    ("USED BY", |row, width| width.text(&row.services.join(", "))),
];

/// Reads a file, or the standard input for `-`. No more is read than it may hold.
///
/// # Errors
/// Names the file, what is wrong with it and how much there could be.
fn content(kind: FileKind, name: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let most = u64::try_from(kind.most()).unwrap_or(u64::MAX);
    if path == Path::new("-") {
        let read = io::stdin().lock().take(most + 1).read_to_end(&mut bytes);
        read.context("cannot read the standard input")?;
        anyhow::ensure!(
            bytes.len() <= kind.most(),
            "{kind} \"{name}\" would have more bytes than the {most} ({} KiB) it can have",
            most / 1024
        );
    } else {
        let cannot = || format!("cannot read {}", path.display());
        let file = Opened::open(path).with_context(cannot)?;
        let size = file.metadata().with_context(cannot)?.len();
        if size > most {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            validate::content(kind, name, size)?;
        }
        let read = file.take(most + 1).read_to_end(&mut bytes);
        read.with_context(cannot)?;
    }
    validate::content(kind, name, bytes.len())?;
    Ok(std::mem::take(&mut *bytes))
}

fn wire(kind: FileKind) -> i32 {
    v1::FileKind::from(kind).into()
}

async fn create(client: &Client, kind: FileKind, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let spec = FileSpec {
        labels: labels(&args.label)?,
        name: args.name,
    };
    validate::file(&spec)?;
    let content = content(kind, &spec.name, &args.file)?;
    let message = v1::CreateFileRequest {
        request: request(),
        kind: wire(kind),
        spec: Some((&spec).into()),
        content,
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.create_file(message).await }
    })
    .await?;
    let id = answer.id.context("an answer without an id")?;
    output::line(&FileId::try_from(id)?.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// All secrets or configs, ascending by name, with the services that use each.
///
/// # Errors
/// When the cluster cannot be asked.
async fn all(client: &Client, kind: FileKind) -> anyhow::Result<Vec<(File, Vec<String>)>> {
    let answer = persist(|| {
        let mut control = client.control.clone();
        let (kind, stale) = (wire(kind), false);
        async move {
            control
                .list_files(v1::ListFilesRequest { kind, stale })
                .await
        }
    })
    .await?;
    let file = |entry: v1::FileEntry| {
        let file = File::try_from(entry.file.context("an answer without a file")?)?;
        anyhow::Ok((file, entry.services))
    };
    let files = answer.files.into_iter().map(file);
    let mut files = files.collect::<anyhow::Result<Vec<_>>>()?;
    files.sort_by(|(a, _), (b, _)| a.spec.name.cmp(&b.spec.name));
    Ok(files)
}

async fn ls(client: &Client, kind: FileKind, args: ListArgs) -> anyhow::Result<ExitCode> {
    let files = all(client, kind).await?;
    let rows: Vec<FileRow> = files
        .into_iter()
        .map(|(file, services)| FileRow::of(&file, services))
        .collect();
    output::list(&rows, COLUMNS, |row| &row.id, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// The secret or config that a user names.
///
/// # Errors
/// When there is none: with the names that are near.
pub async fn find(
    client: &Client,
    kind: FileKind,
    reference: &str,
) -> anyhow::Result<v1::FileEntry> {
    let message = v1::GetFileRequest {
        kind: wire(kind),
        reference: reference.to_owned(),
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.get_file(message).await }
    })
    .await
}

async fn inspect(client: &Client, kind: FileKind, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (form, mut rows, mut sheets) = (args.form(), Vec::new(), Vec::new());
    for reference in &args.objects {
        let entry = find(client, kind, reference).await?;
        let file = entry.file.clone().context("an answer without a file")?;
        let file = File::try_from(file)?;
        sheets.push(sheet(&file, &entry));
        rows.push(FileSheet::of(&file, &entry));
    }
    output::inspected(&rows, &sheets, form)?;
    Ok(ExitCode::SUCCESS)
}

/// As Docker's API gives it.
fn sheet(file: &File, entry: &v1::FileEntry) -> Value {
    let mut spec = json!({ "Name": file.spec.name, "Labels": file.spec.labels });
    if let (Some(content), Some(fields)) = (&entry.content, spec.as_object_mut()) {
        fields.insert("Data".into(), BASE64.encode(content).into());
    }
    json!({
        "ID": file.id.to_string(),
        "Version": { "Index": file.version },
        "CreatedAt": docker_time(file.created),
        "UpdatedAt": docker_time(file.updated),
        "Spec": spec,
    })
}

async fn rm(client: &Client, kind: FileKind, args: RemoveArgs) -> anyhow::Result<ExitCode> {
    for_each(&args.objects, |reference| async move {
        let message = v1::RemoveFileRequest {
            request: request(),
            kind: wire(kind),
            reference: reference.clone(),
        };
        persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.remove_file(message).await }
        })
        .await?;
        Ok(output::line(&reference)?)
    })
    .await
}

async fn rotate(client: &Client, kind: FileKind, args: RotateArgs) -> anyhow::Result<ExitCode> {
    let rotation = match args.rolling {
        true => Rotation::Rolling,
        false => Rotation::InPlace {
            signal: args.signal,
        },
    };
    let content = content(kind, &args.name, &args.file)?;
    let message = v1::RotateFileRequest {
        request: request(),
        kind: wire(kind),
        reference: args.name.clone(),
        content,
        rotation: Some(rotation.into()),
        labels: None,
        only_try: false,
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.rotate_file(message).await }
    })
    .await?;
    output::line(&args.name)?;
    output::notice(&told(&answer, rotation));
    Ok(ExitCode::SUCCESS)
}

fn told(answer: &v1::RotateFileAnswer, rotation: Rotation) -> String {
    let services = answer.services.join(", ");
    let revision = answer.revision;
    if answer.unchanged {
        return format!("nothing changed: revision {revision} has this content");
    }
    match rotation {
        _ if services.is_empty() => format!("revision {revision}; no service uses it"),
        Rotation::Rolling => format!("revision {revision}; being updated: {services}"),
        Rotation::InPlace { .. } => {
            format!("revision {revision}; replaced in the containers of: {services}")
        }
    }
}
