//! `skep system df --verbose`: what each image, container and volume of this node takes.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;
use serde_json::json;
use skep_proto::time::WallTime;
use skep_proto::wire::{self, v1};

use super::client::{Client, said};
use super::rows::{ago, time};
use crate::args::ListArgs;
use crate::output::size::decimal;
use crate::output::{self, Column, Format};

#[derive(Serialize, Debug)]
struct ImageUsage {
    name: String,
    id: String,
    created: String,
    /// Bytes of its blobs; some may be of others too.
    size: u64,
    /// Containers of it on this node.
    containers: usize,
}

const IMAGES: &[Column<ImageUsage>] = &[
    ("IMAGE", |row, _| row.name.clone()),
    ("IMAGE ID", |row, width| width.text(&row.id)),
    ("CREATED", |row, _| ago(&row.created)),
    ("SIZE", |row, _| decimal(row.size)),
    ("CONTAINERS", |row, _| row.containers.to_string()),
];

#[derive(Serialize, Debug)]
struct ContainerUsage {
    id: String,
    image: String,
    /// Bytes that it wrote, and its log.
    size: u64,
    created: String,
    name: String,
}

const CONTAINERS: &[Column<ContainerUsage>] = &[
    ("CONTAINER ID", |row, width| width.id(&row.id)),
    ("IMAGE", |row, _| row.image.clone()),
    ("SIZE", |row, _| decimal(row.size)),
    ("CREATED", |row, _| ago(&row.created)),
    ("NAMES", |row, _| row.name.clone()),
];

#[derive(Serialize, Debug)]
struct VolumeUsage {
    name: String,
    /// Tasks that use it.
    links: usize,
    size: u64,
}

const VOLUMES: &[Column<VolumeUsage>] = &[
    ("VOLUME NAME", |row, _| row.name.clone()),
    ("LINKS", |row, _| row.links.to_string()),
    ("SIZE", |row, _| decimal(row.size)),
];

/// Shows what each thing that this node stores takes.
///
/// # Errors
/// What the user is to read.
pub(super) async fn show(
    client: &Client,
    stored: &v1::StoredAnswer,
    args: &ListArgs,
) -> anyhow::Result<ExitCode> {
    if args.quiet || !args.filter.is_empty() {
        bail!("--verbose shows three tables: neither --quiet nor --filter goes with it");
    }
    let containers = containers(client, stored).await?;
    let images = images(client, &containers).await?;
    let volumes = volumes(client, stored).await?;
    match args.format {
        Format::Json => {
            let all = json!({"Images": images, "Containers": containers, "Volumes": volumes});
            output::line(&serde_json::to_string_pretty(&all)?)?;
        }
        Format::Table => {
            output::line("Images space usage:\n")?;
            output::list(&images, IMAGES, |row| &row.id, args)?;
            output::line("\nContainers space usage:\n")?;
            output::list(&containers, CONTAINERS, |row| &row.id, args)?;
            output::line("\nLocal Volumes space usage:\n")?;
            output::list(&volumes, VOLUMES, |row| &row.name, args)?;
        }
        _ => bail!("--verbose shows three tables: --format can be table or json with it"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn containers(
    client: &Client,
    stored: &v1::StoredAnswer,
) -> anyhow::Result<Vec<ContainerUsage>> {
    let request = v1::ListContainersRequest {};
    let answer = client.containers.clone().list(request).await;
    let entries = answer.map_err(|status| said(&status))?.into_inner();
    let usage = |entry: v1::ContainerEntry| ContainerUsage {
        size: stored.container_bytes.get(&entry.id).copied().unwrap_or(0),
        id: entry.id,
        image: entry.image,
        created: time(WallTime::from_unix_millis(entry.created_ms)),
        name: entry.name,
    };
    Ok(entries.containers.into_iter().map(usage).collect())
}

async fn images(client: &Client, of: &[ContainerUsage]) -> anyhow::Result<Vec<ImageUsage>> {
    let answer = client
        .images
        .clone()
        .list(v1::ListNodeImagesRequest {})
        .await;
    let images = answer.map_err(|status| said(&status))?.into_inner().images;
    let usage = |image: v1::NodeImage| {
        let id = wire::digest(&image.digest, "digest")?.to_string();
        let is_it =
            |one: &&ContainerUsage| image.names.contains(&one.image) || one.image.contains(&id);
        anyhow::Ok(ImageUsage {
            containers: of.iter().filter(is_it).count(),
            name: match image.names.is_empty() {
                true => "<none>".to_owned(),
                false => image.names.join(", "),
            },
            created: image.created,
            size: image.size,
            id,
        })
    };
    images.into_iter().map(usage).collect()
}

async fn volumes(client: &Client, stored: &v1::StoredAnswer) -> anyhow::Result<Vec<VolumeUsage>> {
    let answer = client
        .volumes
        .clone()
        .list_volumes(v1::ListVolumesRequest {})
        .await;
    let volumes = answer.map_err(|status| said(&status))?.into_inner().volumes;
    let usage = |volume: v1::Volume| VolumeUsage {
        size: stored.volume_bytes.get(&volume.name).copied().unwrap_or(0),
        links: volume.users.len(),
        name: volume.name,
    };
    Ok(volumes.into_iter().map(usage).collect())
}
