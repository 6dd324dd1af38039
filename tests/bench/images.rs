//! What a start spends on an image that the node has: finding it, making the container's directories, mounting.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use skep_proto::ids::TaskId;
use skep_worker::exec::image::Store;

use crate::report::{Line, Times};

const STARTS: u32 = 500;

/// One line; the floor makes the same directories and the same mount by hand, in turn.
pub fn measure() -> anyhow::Result<Line> {
    // The mounts are nobody else's, and go with the thread.
    let apart = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).context("leave the mounts of the machine")?;
        let none: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).context("make the mounts private")?;
        alone()
    });
    let joined = apart.join();
    joined.unwrap_or_else(|_| anyhow::bail!("the thread that mounts ended early"))
}

fn alone() -> anyhow::Result<Line> {
    // Not on a file system in memory, where /tmp may be.
    let beside = std::env::current_exe()?;
    let place = tempfile::tempdir_in(beside.parent().context("a program lies in a directory")?)?;
    let store = Store::open(&place.path().join("store"))?;
    let image = store.built_in()?.digest;
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    for number in 1..=STARTS {
        let task = TaskId::new(u128::from(number));
        let begin = Instant::now();
        let held = store.image(&image).context("the image is here")?;
        let root = store.prepare_rootfs(task, &held.digest)?;
        overlay(&root.lower, &root.upper, &root.work, &root.at)?;
        times.push(begin.elapsed());
        umount2(&root.at, MntFlags::empty())?;
        store.release(task)?;
        floor.push(by_hand(&place.path().join("hand"), &root.lower)?);
    }
    let (times, floor) = (Times::new(times), Times::new(floor));
    let ratio = times.median().as_secs_f64() / floor.median().as_secs_f64();
    Ok(Line {
        what: "spent on an image that is there, for each start".to_owned(),
        measured: times.shown(),
        floor: floor.shown(),
        ratio,
        goal: "≤ 1 ms",
    })
}

fn overlay(lower: &[std::path::PathBuf], upper: &Path, work: &Path, at: &Path) -> nix::Result<()> {
    let lower: Vec<_> = lower.iter().map(|it| it.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.display()
    );
    let kind = Some("overlay");
    mount(kind, at, kind, MsFlags::empty(), Some(options.as_str()))
}

fn by_hand(place: &Path, lower: &[std::path::PathBuf]) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    fs::create_dir(place)?;
    fs::write(place.join("image"), [b'0'; 71])?;
    let parts = ["upper", "work", "root"].map(|name| place.join(name));
    for part in &parts {
        fs::create_dir(part)?;
    }
    let [upper, work, at] = &parts;
    overlay(lower, upper, work, at)?;
    let took = begin.elapsed();
    umount2(at, MntFlags::empty())?;
    fs::remove_dir_all(place)?;
    Ok(took)
}
