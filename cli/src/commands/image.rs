//! `skep image`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use futures_util::Stream;
use serde::Serialize;
use skep_proto::image::Image;
use skep_proto::wire::v1;
use tokio::io::AsyncRead;
use tokio_stream::StreamExt;
use tokio_util::io::ReaderStream;

use super::client::{Client, persist, said};
use crate::args::ListArgs;
use crate::args::network::{ImageCommand, ImportArgs, LoadArgs};
use crate::output::{self, Column};

/// Bytes of one message: well below gRPC's bound.
const CHUNK: usize = 256 * 1024;

/// Does what `skep image …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: ImageCommand) -> anyhow::Result<ExitCode> {
    match command {
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
        if quiet {
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
    nodes: usize,
}

const COLUMNS: &[Column<ImageRow>] = &[
    ("NAME", |row, _| row.name.clone()),
    ("DIGEST", |row, width| width.text(&row.digest)),
    ("SIZE", |row, _| format!("{:.1} MB", row.size as f64 / 1e6)),
    ("NODES", |row, _| row.nodes.to_string()),
];

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let answer = persist(|| {
        let mut control = client.control.clone();
        async move { control.list_images(v1::ListImagesRequest::default()).await }
    })
    .await?;
    let mut rows = Vec::new();
    for entry in answer.images {
        let nodes = entry.nodes.len();
        let image = Image::try_from(entry.image.context("an answer without an image")?)?;
        let digest = image.digest.to_string();
        rows.push(ImageRow {
            name: image.name,
            digest,
            size: image.size,
            nodes,
        });
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    output::list(&rows, COLUMNS, |row| &row.digest, &args)?;
    Ok(ExitCode::SUCCESS)
}
