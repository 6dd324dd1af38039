//! How long a cluster needs to get over the loss of a machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use skep_harness::cluster::Cluster;
use skep_proto::node::{Node, NodeState};
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::v1;

use crate::cluster::{User, creation, network, persist, until_running, user};
use crate::report::{Line, Times, shown};

const KILLS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(120);
const PACE: Duration = Duration::from_millis(10);
/// The silence after which a manager stands: the shortest election time and the lease, which is the longest.
const ELECTION_SILENCE: Duration = Duration::from_millis(400);
/// The silence after which a node counts as down.
const DOWN_AFTER: Duration = Duration::from_secs(3);
const REPLICAS: u32 = 9;

/// The leader of three managers is killed; how long until another manager accepts a service.
pub async fn leader() -> anyhow::Result<Vec<Line>> {
    let cluster = crate::cluster::up(3, 0)?;
    let mut times = Vec::new();
    for number in 0..KILLS {
        let mut any = user(&cluster, "node-1").await?;
        let found = nodes(&mut any).await?;
        let leader = found.iter().find(|node| node.leader).context("no leader")?;
        let other = found
            .iter()
            .find(|node| !node.leader)
            .context("no follower")?;
        let mut user = user(&cluster, &other.name).await?;
        // What a connection costs is not the cluster's.
        nodes(&mut user).await?;
        let message = creation(&format!("after-{number}"), 1, None);
        let begin = Instant::now();
        let killed = kill(&cluster, &leader.name);
        persist(async || user.create_service(message.clone()).await).await?;
        times.push(begin.elapsed());
        killed
            .join()
            .map_err(|_| anyhow::anyhow!("the killer fell"))??;
        cluster.lab.start(&leader.name)?;
        until_whole(&mut user, 3).await?;
    }
    let times = Times::new(times);
    eprintln!("leader killed: {}", times.shown());
    Ok(vec![Line {
        what: "leader killed → next create accepted".into(),
        ratio: times.median().as_secs_f64() / ELECTION_SILENCE.as_secs_f64(),
        measured: times.shown(),
        floor: format!(
            "{}, the silence that followers bear",
            shown(ELECTION_SILENCE)
        ),
        goal: "≤ 1.5 s",
    }])
}

/// A worker with tasks is killed; how long until all of them run elsewhere.
pub async fn worker() -> anyhow::Result<Vec<Line>> {
    let cluster = crate::cluster::up(1, 3)?;
    let mut user = user(&cluster, "node-1").await?;
    until_whole(&mut user, 4).await?;
    let overlay = network(&mut user, "loss").await?;
    user.create_service(creation("loss", REPLICAS, Some(overlay)))
        .await?;
    until_running(&mut user, "loss", REPLICAS, PACE).await?;
    let (mut times, mut lost) = (Vec::new(), 0);
    for _ in 0..KILLS {
        let places = places(&mut user).await?;
        let victim = places.iter().filter(|(node, _)| *node != "node-1");
        let (victim, count) = victim
            .max_by_key(|(_, count)| **count)
            .context("no worker")?;
        lost += count;
        let begin = Instant::now();
        let killed = kill(&cluster, victim);
        loop {
            let now = self::places(&mut user).await?;
            let elsewhere: u32 = now
                .iter()
                .filter(|(node, _)| *node != victim)
                .map(|(_, count)| count)
                .sum();
            if elsewhere == REPLICAS {
                break;
            }
            if begin.elapsed() > PATIENCE {
                bail!("{elsewhere} of {REPLICAS} run elsewhere after {PATIENCE:?}");
            }
            tokio::time::sleep(PACE).await;
        }
        times.push(begin.elapsed());
        killed
            .join()
            .map_err(|_| anyhow::anyhow!("the killer fell"))??;
        cluster.lab.start(victim)?;
        until_whole(&mut user, 4).await?;
    }
    let times = Times::new(times);
    eprintln!("worker killed: {} ({lost} tasks moved)", times.shown());
    Ok(vec![Line {
        what: "worker killed → all its tasks running elsewhere".into(),
        ratio: times.median().as_secs_f64() / DOWN_AFTER.as_secs_f64(),
        measured: format!("{}, {lost} tasks in all", times.shown()),
        floor: format!("{}, the silence that a manager bears", shown(DOWN_AFTER)),
        goal: "≤ 4 s",
    }])
}

/// Kills a machine while others are asked.
fn kill(cluster: &Cluster, node: &str) -> std::thread::JoinHandle<anyhow::Result<()>> {
    let (lab, node) = (cluster.lab.clone(), node.to_owned());
    std::thread::spawn(move || Ok(lab.kill(&node)?))
}

struct Seen {
    name: String,
    leader: bool,
    whole: bool,
}

async fn nodes(user: &mut User) -> anyhow::Result<Vec<Seen>> {
    let answer = persist(async || user.list_nodes(v1::ListNodesRequest::default()).await).await?;
    let mut seen = Vec::new();
    for entry in answer.into_inner().nodes {
        let node = Node::try_from(entry.node.context("a node")?)?;
        let reached = node.manager.is_none() || entry.reachable;
        seen.push(Seen {
            name: node.description.hostname,
            leader: entry.leader,
            whole: node.status.state == NodeState::Up && reached,
        });
    }
    Ok(seen)
}

/// Waits until all nodes are up and all managers are reached.
async fn until_whole(user: &mut User, count: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let seen = nodes(user).await?;
        if seen.len() == count && seen.iter().all(|node| node.whole) {
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
    }
    bail!("the cluster is not whole again after {PATIENCE:?}")
}

/// How many tasks run on which node.
async fn places(user: &mut User) -> anyhow::Result<BTreeMap<String, u32>> {
    let message = v1::ListTasksRequest {
        only_live: true,
        ..v1::ListTasksRequest::default()
    };
    let answer = persist(async || user.list_tasks(message.clone()).await).await?;
    let mut places = BTreeMap::new();
    for entry in answer.into_inner().tasks {
        let task = Task::try_from(entry.task.context("a task")?)?;
        if task.status.state == TaskState::Running && task.desired == TaskState::Running {
            *places.entry(entry.node_name).or_default() += 1;
        }
    }
    Ok(places)
}
