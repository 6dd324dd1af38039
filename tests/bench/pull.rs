//! An image of five layers from a registry on the machine: skep, Docker, and one tool after another; then from the
//! first node to the second.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use skep_harness::cluster::Cluster;
use skep_harness::images::{OciImage, hex};
use skep_harness::packages;
use skep_harness::registry::{Kind, Registry};

use crate::docker::Docker;
use crate::memory::Peak;
use crate::report::{Line, Times};

const NAME: &str = "outside:5000/big:1";
const PORT: u16 = 5000;
const LAYERS: usize = 5;
/// Bytes of the image's files, of all layers.
const SIZE: u64 = 343_000_000;
const TIMES: usize = 5;
/// For a plain stream between two nodes.
const CHUNK: usize = 256 << 10;

/// Layers on disk, compressed as registries have them.
struct Layers {
    directory: tempfile::TempDir,
    image: OciImage,
}

impl Layers {
    /// Of this machine's own files: they are as compressible as those of other images.
    fn make() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir_in(packages::cache())?;
        let mut files = Vec::new();
        collect(Path::new("/usr"), &mut files)?;
        let (mut layers, mut ids, mut files) = (Vec::new(), Vec::new(), files.into_iter());
        for number in 0..LAYERS {
            let (mut list, mut size) = (Vec::new(), 0);
            while size < SIZE / LAYERS as u64 {
                let (path, length) = files
                    .next()
                    .context("/usr holds less than 343 MB of files")?;
                size += length;
                list.extend_from_slice(path.as_os_str().as_encoded_bytes());
                list.push(0);
            }
            let plain = directory.path().join(format!("{number}.tar"));
            fs::write(directory.path().join("list"), list)?;
            let list = format!("--files-from={}", directory.path().join("list").display());
            let to = plain.display().to_string();
            run(
                "tar",
                &["--null", "-P", "--no-recursion", &list, "-cf", &to],
            )?;
            ids.push(hex(&fs::read(&plain)?));
            run("gzip", &["-n", &to])?;
            layers.push(fs::read(plain.with_extension("tar.gz"))?);
        }
        let image = OciImage::compressed(layers, ids, "+gzip", json!({"Cmd": ["/bin/true"]}));
        Ok(Self { directory, image })
    }

    fn compressed(&self) -> usize {
        self.image.layers.iter().map(Vec::len).sum()
    }

    /// One tool after another, and one layer after another, on the disk of the lab's nodes.
    fn by_hand(&self, below: &Path) -> anyhow::Result<Duration> {
        let place = tempfile::tempdir_in(below)?;
        let (from, to) = (self.directory.path(), place.path());
        let begin = Instant::now();
        for number in 0..LAYERS {
            let script = format!(
                "gzip -dc {0}/{number}.tar.gz > {1}/tar && sha256sum {1}/tar > {1}/sum && tar -xf {1}/tar -C {1} && rm {1}/tar",
                from.display(),
                to.display()
            );
            run("sh", &["-c", &script])?;
        }
        Ok(begin.elapsed())
    }
}

/// Files and their lengths, in the order of their names.
fn collect(directory: &Path, found: &mut Vec<(PathBuf, u64)>) -> anyhow::Result<()> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let about = fs::symlink_metadata(&path)?;
        if about.is_dir() {
            collect(&path, found)?;
        } else if about.is_file() {
            found.push((path, about.len()));
        }
    }
    Ok(())
}

fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.with_context(|| format!("start {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {args:?}: {said}");
    Ok(())
}

/// A pull from the registry, its memory, and the way from the first node to the second.
pub fn measure() -> anyhow::Result<Vec<Line>> {
    eprintln!("an image of {SIZE} bytes …");
    let layers = Layers::make()?;
    let program = crate::cluster::program()?;
    let plain = format!("--insecure-registry=outside:{PORT}");
    let cluster = Cluster::up_with(&program, 1, 1, &[&plain]);
    let mut registry = Registry::new(PORT, Kind::Plain);
    layers.image.put(&registry.store(), "big", "1");
    registry.start(&cluster);
    let mut lines = pulls(&cluster, &layers)?;
    lines.push(second(&cluster, &layers)?);
    Ok(lines)
}

fn pulls(cluster: &Cluster, layers: &Layers) -> anyhow::Result<Vec<Line>> {
    let store = cluster.lab.log_path("node-1")?;
    let store = store.parent().context("a node's directory")?;
    let docker = Docker::start(cluster, "node-2", &format!("outside:{PORT}"));
    let docker = docker
        .inspect_err(|error| eprintln!("no Docker: {error:#}"))
        .ok();
    let (mut ours, mut theirs, mut hand) = (Vec::new(), Vec::new(), Vec::new());
    let mut most = 0;
    for _ in 0..TIMES {
        let peak = Peak::of_daemon(cluster)?;
        let begin = Instant::now();
        cluster.skep("node-1", &["image", "pull", "-q", NAME]);
        ours.push(begin.elapsed());
        most = most.max(peak.ended());
        cluster.skep("node-1", &["image", "rm", NAME]);
        if let Some(docker) = &docker {
            theirs.push(docker.pull(cluster, NAME)?);
        }
        hand.push(layers.by_hand(store)?);
    }
    // For the second node, further on.
    cluster.skep("node-1", &["image", "pull", "-q", NAME]);
    let (ours, hand) = (Times::new(ours), Times::new(hand));
    eprintln!("pull: {}; by hand {}", ours.shown(), hand.shown());
    let what = format!(
        "pull of {} MB in {LAYERS} layers from a registry on the machine",
        SIZE / 1_000_000
    );
    let line = |floor: String, time: &Times, goal| Line {
        what: what.clone(),
        measured: ours.shown(),
        floor,
        ratio: ours.median().as_secs_f64() / time.median().as_secs_f64(),
        goal,
    };
    let mut lines = vec![line(
        format!(
            "{} gunzip, sha256 and untar one after another",
            hand.shown()
        ),
        &hand,
        "",
    )];
    if docker.is_some() {
        let theirs = Times::new(theirs);
        let words = format!("{} Docker", theirs.shown());
        lines.push(line(words, &theirs, "≤ 0.5 × Docker"));
    }
    lines.push(Line {
        what: "memory meanwhile, daemon and its unpacking children, resident, at most".into(),
        measured: format!("{:.1} MiB", most as f64 / 1024.0),
        floor: "64 MiB".into(),
        ratio: most as f64 / 1024.0 / 64.0,
        goal: "≤ 64 MiB",
    });
    Ok(lines)
}

/// From the command to a task of node-2 that has the image of node-1, beside a plain connection between the two.
fn second(cluster: &Cluster, layers: &Layers) -> anyhow::Result<Line> {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    let digest = layers.image.digest();
    for _ in 0..TIMES {
        let begin = Instant::now();
        let on = [
            "--constraint",
            "node.hostname==node-2",
            "--restart-condition",
            "none",
        ];
        let create = ["service", "create", "-d", "--name", "second"];
        cluster.skep("node-1", &[&create[..], &on, &[NAME]].concat());
        cluster.until("node-2 has the image", || {
            let images = cluster
                .try_list("node-2", &["image", "ls"])
                .unwrap_or_default();
            images
                .iter()
                .any(|image| image["digest"] == digest.as_str() && image["here"] == true)
        });
        ours.push(begin.elapsed());
        floor.push(plain(cluster, layers.compressed())?);
        cluster.skep("node-1", &["service", "rm", "second"]);
        cluster.until("nothing of it is left", || {
            cluster.attempt("node-2", &["image", "rm", &digest]).code == 0
        });
    }
    let (ours, floor) = (Times::new(ours), Times::new(floor));
    eprintln!("second node: {}; plain {}", ours.shown(), floor.shown());
    let ratio = ours.median().as_secs_f64() / floor.median().as_secs_f64();
    Ok(Line {
        what: format!(
            "the same from the first node to the second, {} MB on the wire, unpacked",
            layers.compressed() / 1_000_000
        ),
        measured: ours.shown(),
        floor: format!(
            "{} the same bytes over plain TCP between them, kept nowhere",
            floor.shown()
        ),
        ratio,
        goal: "≥ 0.8 × plain TCP",
    })
}

/// So many bytes from node-1 to node-2 over one connection.
fn plain(cluster: &Cluster, bytes: usize) -> anyhow::Result<Duration> {
    let address = cluster.lab.address("node-1")?;
    let listen = || TcpListener::bind((address, 0));
    let listener = cluster.lab.in_network("node-1", listen)??;
    let to = listener.local_addr()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || -> anyhow::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let chunk = vec![7; CHUNK];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(CHUNK);
                stream.write_all(chunk.get(..now).unwrap_or_default())?;
                left -= now;
            }
            Ok(())
        });
        let begin = Instant::now();
        let mut stream = cluster
            .lab
            .in_network("node-2", || TcpStream::connect(to))??;
        let mut chunk = vec![0; CHUNK];
        let mut got = 0;
        loop {
            match stream.read(&mut chunk)? {
                0 => break,
                length => got += length,
            }
        }
        let taken = begin.elapsed();
        let sent = sender.join();
        ensure!(
            matches!(sent, Ok(Ok(()))) && got == bytes,
            "{got} of {bytes} bytes came"
        );
        Ok(taken)
    })
}
