//! `skep swarm backup`, `skep swarm restore` and what `--force-new-cluster` says.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, IsTerminal, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use skep_manager::revival::Backup;
use skep_proto::ids::{ClusterId, NodeId};
use skep_proto::wire::{self, v1};

use super::address;
use crate::args::swarm::{BackupArgs, RestoreArgs};
use crate::commands::client::{Client, said};
use crate::output;

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Who else may read what is written: nobody.
const MODE: u32 = 0o600;

/// Writes a backup beside its place, reads it back, and puts it there.
pub async fn save(client: &Client, args: &BackupArgs) -> anyhow::Result<ExitCode> {
    if args.output == Path::new("-") {
        if std::io::stdout().is_terminal() {
            bail!(
                "a backup is not for a terminal: name a file with -o FILE, or redirect the output"
            );
        }
        receive(client, &mut std::io::stdout()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = &args.output;
    if place.symlink_metadata().is_ok() {
        bail!("{} is there already: name another file", place.display());
    }
    let beside = Beside::new(place)?;
    let mut file = beside.create()?;
    receive(client, &mut file).await?;
    let failed = || format!("cannot write {}", beside.path.display());
    file.sync_all().with_context(failed)?;
    let backup = read(&beside.path)?;
    beside.put(place)?;
    let (content, size) = (backup.content(), file.metadata().map_or(0, |it| it.len()));
    let cluster = backup.cluster().context("there is no cluster in it")?;
    output::line(&format!(
        "Backup of cluster {} at revision {} in {}, read back and found whole: {size} bytes; {} nodes, {} services, \
         {} networks, {} tasks.\nIt holds the cluster's keys: keep it where secrets are kept.",
        cluster.id,
        content.revision,
        place.display(),
        content.nodes,
        content.services,
        content.networks,
        content.tasks,
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn receive(client: &Client, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let answer = client.local.clone().backup(v1::BackupRequest {}).await;
    let mut chunks = answer.map_err(|status| said(&status))?.into_inner();
    while let Some(chunk) = chunks.message().await.map_err(|status| said(&status))? {
        out.write_all(&chunk.bytes)
            .context("cannot write the backup")?;
    }
    Ok(out.flush()?)
}

fn read(path: &Path) -> anyhow::Result<Backup> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = Backup::read(&mut BufReader::with_capacity(CHUNK, file));
    read.with_context(|| path.display().to_string())
}

/// A file that is removed again unless it is put in its place.
struct Beside {
    path: PathBuf,
}

impl Beside {
    fn new(place: &Path) -> anyhow::Result<Self> {
        let mut name = place
            .file_name()
            .with_context(|| format!("{} names no file", place.display()))?
            .to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = place.with_file_name(name);
        Ok(Self { path })
    }

    fn create(&self) -> anyhow::Result<File> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(MODE);
        let file = options.open(&self.path);
        file.with_context(|| format!("cannot make {}", self.path.display()))
    }

    /// Never replaces what has come there meanwhile.
    fn put(&self, place: &Path) -> anyhow::Result<()> {
        std::fs::hard_link(&self.path, place)
            .with_context(|| format!("cannot make {}", place.display()))?;
        let directory = place.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.with_context(|| format!("cannot make {} durable", directory.display()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What cannot be removed is named as a part.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Sends a backup to the daemon, once all of it was found whole.
pub async fn restore(client: &Client, args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    read(&args.file)?;
    let file =
        File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let first = v1::RestoreChunk {
        bytes: Vec::new(),
        advertise: address(args.advertise_addr, args.control_port),
        listen: address(Some(IpAddr::from([0, 0, 0, 0])), args.control_port),
    };
    let chunks = std::iter::once(first).chain(chunks(file));
    let answer = client
        .local
        .clone()
        .restore(tokio_stream::iter(chunks))
        .await;
    alone(&answer.map_err(|status| said(&status))?.into_inner())
}

/// The file in chunks. It ends early where it cannot be read: the daemon refuses what is not whole.
fn chunks(mut file: File) -> impl Iterator<Item = v1::RestoreChunk> {
    std::iter::from_fn(move || {
        let mut bytes = vec![0; CHUNK];
        let read = file.read(&mut bytes).ok().filter(|read| *read > 0)?;
        bytes.truncate(read);
        Some(v1::RestoreChunk {
            bytes,
            ..v1::RestoreChunk::default()
        })
    })
}

/// Says that this node is the only manager, and how to have more.
pub fn alone(answer: &v1::InitAnswer) -> anyhow::Result<ExitCode> {
    let node = wire::id::<NodeId>(&answer.node, "node")?;
    let cluster = wire::id::<ClusterId>(&answer.cluster, "cluster")?;
    let manager = SocketAddr::try_from(answer.advertise.clone().unwrap_or_default())?;
    output::line(&format!(
        "Cluster {cluster} goes on: this node ({node}) is its only manager.\n\n\
         A manager of before that comes back becomes a worker and keeps what it had stored aside. Where more than half\n\
         of them come back together they are a cluster of their own: make those leave (skep swarm leave --force).\n\n\
         To have more managers: skep node promote NODE, or run on another machine:\n\n    \
         skep swarm join --token {} {manager}\n\n\
         Nodes that are gone for good are removed with: skep node rm --force NODE",
        answer.manager_token
    ))?;
    Ok(ExitCode::SUCCESS)
}
