//! How fast what a container writes is kept.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use skep_worker::exec::bundle::{ContainerPlan, LogBounds, Network, RootSource};
use skep_worker::exec::cgroup::Hierarchies;
use skep_worker::exec::runtime::{Runtime, RuntimePaths};

use crate::report::{Line, Times};

const TIMES: usize = 5;
/// Until the supervisors must have left their groups.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the file of lines.
const FILE: usize = 32 << 20;
/// How often it is written in a run.
const ROUNDS: usize = 16;
/// Bytes after which a log is rotated, and the floor's file begun anew.
const LOG: u64 = 128 << 20;

/// Lines of 1 KiB through one container, beside a pipe and a file.
pub async fn measure() -> anyhow::Result<Vec<Line>> {
    let directory = tempfile::tempdir().context("a directory")?;
    let root = directory.path().join("rootfs");
    make_root(&root)?;
    let (mut kept, mut floor) = (Vec::new(), Vec::new());
    let parent = format!("skep-bench-{}", std::process::id());
    let paths = RuntimePaths::below(directory.path(), Path::new(&parent));
    let runtime = Runtime::open(paths)?;
    for number in 0..TIMES {
        kept.push(through(&runtime, &root, &format!("logs-{number}")).await?);
        floor.push(plain(&root, directory.path())?);
    }
    drop(runtime);
    remove_groups(Path::new(&parent))?;
    let (kept, floor) = (Times::new(kept), Times::new(floor));
    let rate = |times: &Times| {
        let megabytes = u32::try_from(FILE * ROUNDS / 1_000_000).unwrap_or(u32::MAX);
        f64::from(megabytes) / times.median().as_secs_f64()
    };
    eprintln!(
        "logs: {:.0} MB/s, floor {:.0} MB/s",
        rate(&kept),
        rate(&floor)
    );
    Ok(vec![Line {
        what: "log of one container, lines of 1 KiB".into(),
        measured: format!("{:.0} MB/s; {}", rate(&kept), kept.shown()),
        floor: format!("{:.0} MB/s from a pipe to a file", rate(&floor)),
        ratio: kept.median().as_secs_f64() / floor.median().as_secs_f64(),
        goal: "≥ 300 MB/s",
    }])
}

/// The groups of the runtime, in every hierarchy; a supervisor may need a moment to be gone from its own.
fn remove_groups(parent: &Path) -> anyhow::Result<()> {
    let hierarchies = Hierarchies::detect()?;
    let roots = hierarchies
        .legacy
        .values()
        .chain(hierarchies.unified.as_ref());
    for group in roots.map(|root| root.join(parent)) {
        let begin = Instant::now();
        while group.exists() && begin.elapsed() < PATIENCE {
            let _ = std::fs::remove_dir(group.join("_supervisors"));
            let _ = std::fs::remove_dir(&group);
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// A root file system of `cat` and a file of lines.
fn make_root(root: &Path) -> anyhow::Result<()> {
    let linked = Command::new("ldd")
        .arg("/bin/cat")
        .output()
        .context("ldd")?;
    let linked = String::from_utf8(linked.stdout)?;
    let libraries = linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in libraries.chain(["/bin/cat"]) {
        let to = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().context("a directory")?)?;
        std::fs::copy(path, to).with_context(|| format!("copy {path}"))?;
    }
    let line = format!("{}\n", "0123456789abcde ".repeat(64).trim_end());
    let lines = line.repeat(FILE / line.len());
    Ok(std::fs::write(root.join("lines"), lines)?)
}

fn command() -> Vec<String> {
    let mut command = vec!["/bin/cat".to_owned()];
    command.extend(std::iter::repeat_n("/lines".to_owned(), ROUNDS));
    command
}

/// From the start of the container's program to its end, when all is in the log.
async fn through(runtime: &Runtime, root: &Path, id: &str) -> anyhow::Result<Duration> {
    let plan = ContainerPlan {
        id: id.to_owned(),
        root: RootSource::Directory(root.to_owned()),
        args: command(),
        network: Network::New,
        log: Some(LogBounds {
            max_bytes: LOG,
            max_files: 2,
        }),
        ..ContainerPlan::default()
    };
    let container = runtime.create(&plan.bundle()).await?;
    let begin = Instant::now();
    container.start().await?;
    let ended = container.wait().await;
    let took = begin.elapsed();
    container.delete().await?;
    anyhow::ensure!(ended.code == 0, "cat: {ended:?}");
    Ok(took)
}

/// The same through a pipe to a file, and nothing done to it.
fn plain(root: &Path, directory: &Path) -> anyhow::Result<Duration> {
    let lines = root.join("lines");
    let begin = Instant::now();
    let mut cat = Command::new("/bin/cat")
        .args(std::iter::repeat_n(&lines, ROUNDS))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut from = cat.stdout.take().context("a pipe")?;
    let (path, mut chunk) = (directory.join("floor"), vec![0; 64 << 10]);
    let (mut to, mut written) = (File::create(&path)?, 0_u64);
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        to.write_all(chunk.get(..count).unwrap_or_default())?;
        written += u64::try_from(count)?;
        if written > LOG {
            (to, written) = (File::create(&path)?, 0);
        }
    }
    cat.wait()?;
    Ok(begin.elapsed())
}
