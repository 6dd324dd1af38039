//! `skep image inspect|history|tag|rm|prune|df|save`: images of this node.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;
use skep_proto::wire::{self, v1};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::args::image::{DfArgs, HistoryArgs, PruneArgs, RmArgs, SaveArgs, TagArgs};
use crate::args::{Format, InspectArgs};
use crate::commands::client::{Client, said};
use crate::commands::for_each;
use crate::output::{self, Column};

pub(super) async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let mut sheets: Vec<Value> = Vec::new();
    for reference in &args.objects {
        let message = v1::ImageRequest {
            reference: reference.clone(),
        };
        let answer = client.images.clone().inspect(message).await;
        let json = answer.map_err(|status| said(&status))?.into_inner().json;
        sheets.push(serde_json::from_str(&json)?);
    }
    output::objects(&sheets, Format::Json)?;
    Ok(ExitCode::SUCCESS)
}

/// A step in which an image was made.
#[derive(Serialize, Debug)]
struct StepRow {
    created: String,
    created_by: String,
    size: u64,
    comment: String,
}

const STEPS: &[Column<StepRow>] = &[
    ("CREATED", |row, _| row.created.clone()),
    ("CREATED BY", |row, width| width.text(&row.created_by)),
    ("SIZE", |row, _| size(row.size)),
    ("COMMENT", |row, _| row.comment.clone()),
];

pub(super) async fn history(client: &Client, args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let message = v1::ImageRequest {
        reference: args.image,
    };
    let answer = client.images.clone().history(message).await;
    let steps = answer.map_err(|status| said(&status))?.into_inner().steps;
    let rows = steps.into_iter().map(|step| StepRow {
        created: step.created,
        created_by: step.created_by,
        size: step.size,
        comment: step.comment,
    });
    let rows: Vec<StepRow> = rows.collect();
    output::list(&rows, STEPS, |row| &row.created_by, &args.list)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn tag(client: &Client, args: TagArgs) -> anyhow::Result<ExitCode> {
    let message = v1::TagImageRequest {
        reference: args.source,
        name: args.target,
    };
    let answer = client.images.clone().tag(message).await;
    answer.map_err(|status| said(&status))?;
    Ok(ExitCode::SUCCESS)
}

fn show(gone: &v1::RemoveImageAnswer) -> anyhow::Result<()> {
    for name in &gone.untagged {
        output::line(&format!("Untagged: {name}"))?;
    }
    if let Some(digest) = &gone.deleted {
        output::line(&format!("Deleted: {}", wire::digest(digest, "deleted")?))?;
    }
    Ok(())
}

pub(super) async fn rm(client: &Client, args: RmArgs) -> anyhow::Result<ExitCode> {
    let force = args.force;
    for_each(&args.images, |reference| async move {
        let message = v1::RemoveImageRequest { reference, force };
        let answer = client.images.clone().remove(message).await;
        show(&answer.map_err(|status| said(&status))?.into_inner())
    })
    .await
}

pub(super) async fn prune(client: &Client, args: PruneArgs) -> anyhow::Result<ExitCode> {
    let which = if args.all {
        "all images that no task uses"
    } else {
        "all images that have no name and that no task uses"
    };
    if !args.force
        && !sure(&format!(
            "This removes {which} from this node. Are you sure? [y/N] "
        ))?
    {
        return Ok(ExitCode::SUCCESS);
    }
    let reclaimed = prune_now(client, args.all).await?;
    output::line(&format!("Total reclaimed space: {}", size(reclaimed)))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes images that no task uses and have no name, or `all` that no task uses; gives the bytes that are free
/// then.
pub async fn prune_now(client: &Client, all: bool) -> anyhow::Result<u64> {
    let answer = client
        .images
        .clone()
        .prune(v1::PruneImagesRequest { all })
        .await;
    let answer = answer.map_err(|status| said(&status))?.into_inner();
    answer.removed.iter().try_for_each(show)?;
    Ok(answer.reclaimed)
}

/// Asks a person; whoever is none has to say --force.
pub fn sure(question: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("the standard input is no terminal to ask at: use --force");
    }
    output::ask(question)?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// What images take on disk.
#[derive(Serialize, Debug)]
struct UseRow {
    kind: &'static str,
    total: u64,
    active: u64,
    size: u64,
    reclaimable: u64,
}

const USES: &[Column<UseRow>] = &[
    ("TYPE", |row, _| row.kind.to_owned()),
    ("TOTAL", |row, _| row.total.to_string()),
    ("ACTIVE", |row, _| row.active.to_string()),
    ("SIZE", |row, _| size(row.size)),
    ("RECLAIMABLE", |row, _| size(row.reclaimable)),
];

pub(super) async fn df(client: &Client, args: DfArgs) -> anyhow::Result<ExitCode> {
    let answer = client.images.clone().disk_use(v1::DiskUseRequest {}).await;
    let used = answer.map_err(|status| said(&status))?.into_inner();
    let row = UseRow {
        kind: "Images",
        total: used.images,
        active: used.active,
        size: used.bytes,
        reclaimable: used.reclaimable,
    };
    output::list(&[row], USES, |row| row.kind, &args.list)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn save(client: &Client, args: SaveArgs) -> anyhow::Result<ExitCode> {
    let message = v1::SaveImagesRequest {
        references: args.images,
    };
    let stdout = std::io::stdout();
    if args.output.is_none() && stdout.is_terminal() {
        bail!("an archive is not shown on a terminal: name a file with --output, or redirect");
    }
    let answer = client.images.clone().save(message).await;
    let mut chunks = answer.map_err(|status| said(&status))?.into_inner();
    let mut file: Box<dyn AsyncWrite + Unpin> = match &args.output {
        None => Box::new(tokio::io::stdout()),
        Some(path) => {
            let file = tokio::fs::File::create(path).await;
            Box::new(file.with_context(|| format!("cannot make {}", path.display()))?)
        }
    };
    while let Some(chunk) = chunks.message().await.map_err(|status| said(&status))? {
        file.write_all(&chunk.bytes)
            .await
            .context("cannot write the archive")?;
    }
    file.flush().await.context("cannot write the archive")?;
    Ok(ExitCode::SUCCESS)
}

/// Bytes for a person, in powers of ten as Docker's lists have them.
pub(super) fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "kB", "MB"] {
        if amount < 1000.0 {
            let digits = usize::from(unit != "B" && amount < 100.0);
            return format!("{amount:.digits$}{unit}");
        }
        amount /= 1000.0;
    }
    format!("{amount:.2}GB")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1500, "1.5kB"),
            (343_000_000, "343MB"),
            (2_500_000_000, "2.50GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
