//! The processes of a container, as /proc shows them.

use std::time::{SystemTime, UNIX_EPOCH};

use skep_proto::wire::v1;
use tonic::Status;

use crate::exec::bundle::{RootSource, User};
use crate::exec::runtime::Container;

/// Milliseconds of the unit in which the kernel tells users of time (USER_HZ), on every machine we run on.
const TICK: u64 = 10;

/// Its processes, by their ids on the node.
pub(super) async fn of(container: Container) -> Result<Vec<v1::ContainerProcess>, Status> {
    let looked = tokio::task::spawn_blocking(move || {
        let root = RootSource::Directory(
            format!("/proc/{}/root", container.pid().unwrap_or_default()).into(),
        );
        let beginning = beginning().unwrap_or_default();
        let mut pids = container.group().processes();
        pids.sort_unstable();
        let shown = pids
            .into_iter()
            .filter_map(|pid| process(pid, &root, beginning));
        shown.collect()
    });
    looked
        .await
        .map_err(|_| Status::unavailable("the daemon is ending"))
}

/// When the machine began, in milliseconds since 1970.
fn beginning() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    seconds
        .trim()
        .parse::<u64>()
        .ok()
        .map(|seconds| seconds * 1000)
}

/// `None` for one that has just ended.
fn process(pid: i32, root: &RootSource, beginning: u64) -> Option<v1::ContainerProcess> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let stat = read("stat")?;
    // The name stands in brackets and may hold anything.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<i64>().ok())
    };
    let millis = |index: usize| Some(u64::try_from(number(index)?).ok()?.saturating_mul(TICK));
    let cpu_ms = millis(11)?.saturating_add(millis(12)?);
    let started_ms = beginning.saturating_add(millis(19)?);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let life = now.saturating_sub(started_ms).max(1);
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = arguments
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    let uid = read("status").and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    });
    Some(v1::ContainerProcess {
        user: uid.map_or_else(String::new, |uid| User::name(root, uid)),
        pid,
        parent: number(1).and_then(|parent| i32::try_from(parent).ok())?,
        cpu_percent: u32::try_from(cpu_ms.saturating_mul(100) / life).unwrap_or(u32::MAX),
        started_ms,
        terminal: terminal(number(4)?),
        cpu_ms,
        command: if words.is_empty() {
            format!("[{name}]")
        } else {
            words.join(" ")
        },
    })
}

/// The name of a controlling terminal by its device number.
fn terminal(device: i64) -> String {
    let Ok(device) = u64::try_from(device) else {
        return "?".into();
    };
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".into(),
    }
}
