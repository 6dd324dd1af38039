//! `skep image`.

pub(super) mod local;
mod pull;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use futures_util::Stream;
use serde::Serialize;
use skep_proto::image::Image;
use skep_proto::wire::{self, v1};
use tokio::io::AsyncRead;
use tokio_stream::StreamExt;
use tokio_util::io::ReaderStream;

use crate::args::ListArgs;
use crate::args::image::{ImageCommand, ImportArgs, LoadArgs};
use crate::commands::client::{Client, persist, said};
use crate::output::{self, Column};

/// Bytes of one message: well below gRPC's bound.
const CHUNK: usize = 256 * 1024;

/// Does what `skep image …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: ImageCommand) -> anyhow::Result<ExitCode> {
    match command {
        ImageCommand::Pull(args) => pull::run(client, args).await,
        ImageCommand::Inspect(args) => local::inspect(client, args).await,
        ImageCommand::History(args) => local::history(client, args).await,
        ImageCommand::Tag(args) => local::tag(client, args).await,
        ImageCommand::Rm(args) => local::rm(client, args).await,
        ImageCommand::Prune(args) => local::prune(client, args).await,
        ImageCommand::Df(args) => local::df(client, args).await,
        ImageCommand::Save(args) => local::save(client, args).await,
        ImageCommand::Load(args) => load(client, args).await,
        ImageCommand::Import(args) => import(client, args).await,
        ImageCommand::Ls(args) => ls(client, args).await,
    }
}

async fn open(path: Option<&Path>) -> anyhow::Result<Box<dyn AsyncRead + Send + Unpin>> {
    match path {
        None => Ok(Box::new(tokio::io::stdin())),
        Some(path) if path == Path::new("-") => Ok(Box::new(tokio::io::stdin())),
        Some(path) => {
            let file = tokio::fs::File::open(path).await;
            Ok(Box::new(file.with_context(|| {
                format!("cannot open {}", path.display())
            })?))
        }
    }
}

/// The file in chunks, the first of which names the image. It ends early where the file cannot be read: the
/// daemon then refuses what is not whole.
fn chunks(
    file: Box<dyn AsyncRead + Send + Unpin>,
    name: String,
) -> impl Stream<Item = v1::ImageChunk> {
    let mut name = Some(name);
    ReaderStream::with_capacity(file, CHUNK)
        .map_while(Result::ok)
        .map(move |bytes| v1::ImageChunk {
            name: name.take().unwrap_or_default(),
            bytes,
            settings: None,
        })
}

async fn load(client: &Client, args: LoadArgs) -> anyhow::Result<ExitCode> {
    let file = open(args.input.as_deref()).await?;
    let answer = client
        .local
        .clone()
        .load_image(chunks(file, String::new()))
        .await;
    show(
        answer.map_err(|status| said(&status))?.into_inner(),
        args.quiet,
    )
}

async fn import(client: &Client, args: ImportArgs) -> anyhow::Result<ExitCode> {
    let file = open(Some(&args.file)).await?;
    let answer = client
        .local
        .clone()
        .import_image(chunks(file, args.name))
        .await;
    show(answer.map_err(|status| said(&status))?.into_inner(), false)
}

fn show(answer: v1::LoadImageAnswer, quiet: bool) -> anyhow::Result<ExitCode> {
    for image in answer.images {
        let image = Image::try_from(image)?;
        if image.name.is_empty() {
            // Docker's words; many tools write only a tag into an archive, which names nothing.
            let digest = image.digest;
            output::line(&format!("Loaded image ID: {digest}"))?;
            output::notice(&format!(
                "It has no name yet; give it one with: skep image tag {digest} NAME"
            ));
        } else if quiet {
            output::line(&image.name)?;
        } else {
            output::line(&format!("Loaded image: {} ({})", image.name, image.digest))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An image in a list.
#[derive(Serialize, Debug)]
struct ImageRow {
    name: String,
    digest: String,
    size: u64,
    /// That hold it, as far as the leader knows.
    nodes: usize,
    /// It is on this node.
    here: bool,
    /// As it says itself; known where it is here.
    created: String,
}

const COLUMNS: &[Column<ImageRow>] = &[
    ("NAME", |row, _| row.name.clone()),
    ("DIGEST", |row, width| width.text(&row.digest)),
    ("SIZE", |row, _| local::size(row.size)),
    ("NODES", |row, _| row.nodes.to_string()),
    ("HERE", |row, _| {
        if row.here { "yes" } else { "no" }.to_owned()
    }),
];

/// What the cluster knows by name, and what this node holds besides.
async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let here = client
        .images
        .clone()
        .list(v1::ListNodeImagesRequest {})
        .await;
    let here = here.map_err(|status| said(&status))?.into_inner().images;
    let mut rows = in_cluster(client, &here).await?;
    for image in &here {
        let digest = wire::digest(&image.digest, "digest")?.to_string();
        let mut names = image.names.clone();
        if names.is_empty() {
            names.push("<none>".to_owned());
        }
        for name in names {
            if rows
                .iter()
                .any(|row| row.name == name && row.digest == digest)
            {
                continue;
            }
            rows.push(ImageRow {
                name,
                digest: digest.clone(),
                size: image.size,
                nodes: 1,
                here: true,
                created: image.created.clone(),
            });
        }
    }
    rows.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
    output::list(&rows, COLUMNS, |row| &row.digest, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// Images with names that the whole cluster knows; none where this node cannot ask.
async fn in_cluster(client: &Client, here: &[v1::NodeImage]) -> anyhow::Result<Vec<ImageRow>> {
    let known = persist(|| {
        let mut control = client.control.clone();
        async move { control.list_images(v1::ListImagesRequest::default()).await }
    })
    .await;
    let mut rows = Vec::new();
    for entry in known.map(|answer| answer.images).unwrap_or_default() {
        let nodes = entry.nodes.len();
        let image = Image::try_from(entry.image.context("an answer without an image")?)?;
        let held = here.iter().find(|held| held.digest == image.digest.0);
        rows.push(ImageRow {
            digest: image.digest.to_string(),
            name: image.name,
            size: image.size,
            nodes,
            here: held.is_some(),
            created: held.map(|held| held.created.clone()).unwrap_or_default(),
        });
    }
    Ok(rows)
}
