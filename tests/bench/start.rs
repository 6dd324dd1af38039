//! How long containers take from the command to running, and what an idle daemon holds.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use skep_deploy::lab::DaemonStatus;
use skep_harness::cluster::Cluster;
use skep_proto::ids::NetworkId;
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::v1;

use crate::cluster::{User, creation, network, remove, until_running, user};
use crate::floor;
use crate::report::{Line, Times, shown};

const NODE: &str = "node-1";
const TIMES: usize = 15;
const MANY: [u32; 2] = [100, 200];

/// One replica, on an overlay and on none, beside one container made by hand.
pub async fn one(cluster: &Cluster) -> anyhow::Result<Vec<Line>> {
    let mut user = user(cluster, NODE).await?;
    let overlay = network(&mut user, "one").await?;
    let mut lines = Vec::new();
    for (place, network) in [
        ("on an overlay", Some(overlay)),
        ("without a network", None),
    ] {
        let (mut accepted, mut called) = (Vec::new(), Vec::new());
        for number in 0..TIMES {
            let name = format!("one-{number}");
            let begin = Instant::now();
            user.create_service(creation(&name, 1, network)).await?;
            let answered = Instant::now();
            until_running(&mut user, &name, 1, Duration::from_millis(1)).await?;
            accepted.push(answered.elapsed());
            called.push(begin.elapsed());
            remove(&mut user, &name).await?;
        }
        let (accepted, called) = (Times::new(accepted), Times::new(called));
        eprintln!("one replica {place}: {}", accepted.shown());
        lines.push((place, network.is_some(), accepted, called));
    }
    let floor = floor::alone(cluster, &hello(cluster, &mut user).await?)?;
    let line = |(place, overlay, accepted, called): (_, bool, Times, Times)| Line {
        what: format!("one replica {place}, accepted → running"),
        measured: format!(
            "{}; from the call {}",
            accepted.shown(),
            shown(called.median())
        ),
        floor: format!("{} a container by hand", floor.shown()),
        ratio: accepted.median().as_secs_f64() / floor.median().as_secs_f64(),
        goal: if overlay { "≤ 100 ms" } else { "" },
    };
    Ok(lines.into_iter().map(line).collect())
}

/// Tasks a second for many replicas on one node.
pub async fn many(cluster: &Cluster) -> anyhow::Result<Vec<Line>> {
    let mut user = user(cluster, NODE).await?;
    let overlay = network(&mut user, "many").await?;
    let floor = floor::many(cluster, &hello(cluster, &mut user).await?)?.begun;
    let mut lines = Vec::new();
    for (place, network) in [
        ("on an overlay", Some(overlay)),
        ("without a network", None),
    ] {
        for replicas in MANY {
            let took = rate(&mut user, replicas, network).await?;
            let rate = f64::from(replicas) / took.as_secs_f64();
            eprintln!("{replicas} replicas {place}: {rate:.1} tasks/s");
            lines.push(Line {
                what: format!("{replicas} replicas on one node {place}"),
                measured: format!("{rate:.1} tasks/s ({})", shown(took)),
                floor: format!("{floor:.0} containers/s by hand, two side by side"),
                ratio: floor / rate,
                goal: if network.is_some() { "≥ 50/s" } else { "" },
            });
        }
    }
    Ok(lines)
}

/// From the command until all run.
async fn rate(
    user: &mut User,
    replicas: u32,
    network: Option<NetworkId>,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    user.create_service(creation("many", replicas, network))
        .await?;
    until_running(user, "many", replicas, Duration::from_millis(20)).await?;
    let took = begin.elapsed();
    remove(user, "many").await?;
    Ok(took)
}

/// The program of the built-in image, taken from a container that runs it.
pub async fn hello(cluster: &Cluster, user: &mut User) -> anyhow::Result<Vec<u8>> {
    user.create_service(creation("taken", 1, None)).await?;
    until_running(user, "taken", 1, Duration::from_millis(10)).await?;
    let tasks = user.list_tasks(v1::ListTasksRequest::default()).await?;
    let mut program = None;
    for entry in tasks.into_inner().tasks {
        let task = Task::try_from(entry.task.context("a task")?)?;
        if task.status.state == TaskState::Running {
            program = task.status.pid;
        }
    }
    let pid = program.context("the container has no process")?;
    let path = in_node(cluster, &format!("proc/{pid}/root/hello"))?;
    let bytes = std::fs::read(&path).with_context(|| format!("read {path}"))?;
    remove(user, "taken").await?;
    Ok(bytes)
}

/// A file of node-1 as this machine sees it.
pub fn in_node(cluster: &Cluster, path: &str) -> anyhow::Result<String> {
    let socket = cluster.lab.socket(NODE)?;
    let parts: Vec<_> = socket.iter().take(4).collect();
    let root = parts.iter().collect::<std::path::PathBuf>();
    let whole = Path::new(&root).join(path);
    Ok(whole
        .to_str()
        .context("a path that is not UTF-8")?
        .to_owned())
}

/// Resident memory of a daemon that has nothing to do.
pub fn memory(cluster: &Cluster) -> anyhow::Result<Line> {
    let nodes = cluster.lab.nodes()?;
    let daemon = nodes
        .iter()
        .find(|node| node.name == NODE)
        .map(|node| &node.daemon);
    let Some(DaemonStatus::Running(pid)) = daemon else {
        bail!("the daemon of {NODE} does not run");
    };
    let daemon = resident(&in_node(cluster, &format!("proc/{pid}/status"))?)?;
    // The node's PID 1 is the same program, waiting.
    let idle = resident(&in_node(cluster, "proc/1/status")?)?;
    eprintln!("idle daemon: {daemon:.1} MiB");
    Ok(Line {
        what: "idle daemon, the only manager, resident".into(),
        measured: format!("{daemon:.1} MiB"),
        floor: format!("{idle:.1} MiB, the same program waiting as the node's PID 1"),
        ratio: daemon / idle,
        goal: "≤ 40 MiB",
    })
}

pub fn resident(path: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
