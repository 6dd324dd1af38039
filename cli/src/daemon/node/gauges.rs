//! What this node shows of itself to whoever watches it: read when it is asked for.

use std::collections::BTreeMap;

use skep_proto::node::NodeState;

use super::{Node, Phase};

/// Takes a gauge's name, its meaning, and its lines: labels and value.
pub type Take<'a> = dyn FnMut(&str, &str, Vec<(Vec<(&'static str, String)>, i64)>) + Send + 'a;

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn alone(count: impl TryInto<i64>) -> Vec<(Vec<(&'static str, String)>, i64)> {
    vec![(Vec::new(), number(count))]
}

/// How many of each, under this label.
fn counted<T: ToString>(
    label: &'static str,
    items: impl IntoIterator<Item = T>,
) -> Vec<(Vec<(&'static str, String)>, i64)> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for item in items {
        *counts.entry(item.to_string()).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(word, count)| (vec![(label, word)], count))
        .collect()
}

impl Node {
    /// Gives every gauge to `take`.
    pub async fn read_gauges(&self, take: &mut Take<'_>) {
        let images = self.store.images();
        take("images", "Images in this node's store", alone(images.len()));
        let bytes: u64 = images.iter().map(|image| image.size).sum();
        take(
            "image_bytes",
            "Size of the images in this node's store",
            alone(bytes),
        );
        let phase = self.phase.lock().await;
        let Phase::Active(active) = &*phase else {
            take("in_cluster", "1 while this node is in a cluster", alone(0));
            return;
        };
        take("in_cluster", "1 while this node is in a cluster", alone(1));
        let connected = i64::from(active.worker.connected().borrow().is_some());
        take(
            "session_open",
            "1 while this node's session with a manager is open",
            alone(connected),
        );
        let containers = active.worker.containers();
        if let Ok(counts) = tokio::task::spawn_blocking(move || containers.counts()).await {
            let of = |word: &str, count: u32| (vec![("state", word.to_owned())], number(count));
            let lines = vec![
                of("running", counts.running),
                of("paused", counts.paused),
                of("exited", counts.stopped),
            ];
            take("containers", "Containers of this node by state", lines);
        }
        if let Some(manager) = &active.manager {
            manager_gauges(manager, take);
        }
    }
}

fn manager_gauges(manager: &skep_manager::Manager, take: &mut Take<'_>) {
    let (state, reading) = (manager.state(), manager.reading());
    take("raft_term", "Raft term", alone(reading.term));
    take(
        "raft_leader",
        "1 while this manager leads",
        alone(i64::from(reading.leads)),
    );
    take(
        "raft_leader_known",
        "1 while this manager knows who leads",
        alone(i64::from(reading.leader_known)),
    );
    take(
        "raft_applied_index",
        "Log index of the last entry applied here",
        alone(state.applied()),
    );
    take(
        "sessions",
        "Open sessions of workers with this manager, while it leads",
        alone(reading.sessions),
    );
    let nodes = state.nodes().map(|node| match node.status.state {
        NodeState::Up => "ready",
        NodeState::Down => "down",
        NodeState::Unknown => "unknown",
    });
    take("nodes", "Nodes by state", counted("state", nodes));
    take("services", "Services", alone(state.services().count()));
    take("networks", "Networks", alone(state.networks().count()));
    let tasks = state.tasks().map(|task| task.status.state);
    take("tasks", "Tasks by observed state", counted("state", tasks));
    take(
        "events_kept",
        "Events in the ring",
        alone(state.events_after((0, 0)).count()),
    );
}
