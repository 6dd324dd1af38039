//! The most that a daemon and its children hold while something happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use skep_deploy::lab::DaemonStatus;
use skep_harness::cluster::Cluster;

use crate::start::in_node;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(5);

/// A look at the daemon of node-1 again and again.
pub struct Peak {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Peak {
    /// Begins to look.
    pub fn of_daemon(cluster: &Cluster) -> anyhow::Result<Self> {
        let nodes = cluster.lab.nodes()?;
        let daemon = nodes.iter().find(|node| node.name == "node-1");
        let Some(DaemonStatus::Running(pid)) = daemon.map(|node| &node.daemon) else {
            bail!("the daemon of node-1 does not run");
        };
        let (proc, pid) = (in_node(cluster, "proc")?, pid.to_string());
        let (stop, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ended, peak) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(resident(&proc, &pid), Ordering::Relaxed);
                std::thread::park_timeout(LOOK);
            }
        });
        Ok(Self { stop, most, thread })
    }

    /// The most that was seen, in KiB.
    pub fn ended(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.join());
        self.most.load(Ordering::Relaxed)
    }
}

/// Of a process and all below it that are the same program: supervisors of containers are not.
fn resident(proc: &str, pid: &str) -> u64 {
    let own = of_one(proc, pid).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("{proc}/{pid}/task"));
    let tasks = tasks.into_iter().flatten().filter_map(Result::ok);
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<String> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let below = children.iter().filter_map(|child| of_one(proc, child).ok());
    own + below.sum::<u64>()
}

fn of_one(proc: &str, pid: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("{proc}/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse()?)
}
