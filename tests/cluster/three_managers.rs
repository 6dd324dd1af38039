//! Three managers, and what happens when some of them are gone.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use skep_harness::cluster::{Cluster, node};

use crate::SKEP;

fn spread(cluster: &Cluster, on: &str, service: &str) -> BTreeSet<String> {
    let tasks = cluster.running(on, service);
    tasks
        .iter()
        .filter_map(|task| task["node"].as_str().map(str::to_owned))
        .collect()
}

fn three_replicas(cluster: &Cluster) {
    cluster.skep(
        "node-1",
        &[
            "service",
            "create",
            "--name",
            "web",
            "--replicas",
            "3",
            "skep/hello",
        ],
    );
}

#[test]
fn three_replicas_run_on_three_nodes_whichever_manager_is_asked() {
    let cluster = Cluster::up(SKEP, 3, 0);
    three_replicas(&cluster);
    for number in 1..=3 {
        assert_eq!(spread(&cluster, &node(number), "web").len(), 3);
    }
}

#[test]
fn a_killed_worker_loses_its_tasks_to_others() {
    let cluster = Cluster::up(SKEP, 1, 2);
    three_replicas(&cluster);
    assert_eq!(spread(&cluster, "node-1", "web").len(), 3);
    cluster.lab.kill("node-3").unwrap();
    cluster.until("three run without node-3", || {
        let nodes = spread(&cluster, "node-1", "web");
        cluster.running("node-1", "web").len() == 3 && !nodes.contains("node-3")
    });
    cluster.start("node-3");
    cluster.until("node-3 is back", || cluster.ready() == 3);
    assert_eq!(cluster.running("node-1", "web").len(), 3);
}

#[test]
fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::up(SKEP, 3, 0);
    three_replicas(&cluster);
    let old = cluster.leader("node-1").expect("a leader");
    let other = if old == "node-1" { "node-2" } else { "node-1" };
    cluster.lab.kill(&old).unwrap();
    cluster.skep(
        other,
        &["service", "create", "-d", "--name", "next", "skep/hello"],
    );
    cluster.until("all run without the old leader", || {
        let nodes = spread(&cluster, other, "web");
        cluster.running(other, "web").len() == 3
            && !nodes.contains(&old)
            && cluster.running(other, "next").len() == 1
    });
}

#[test]
fn all_killed_and_started_in_any_order_come_back() {
    let cluster = Cluster::up(SKEP, 3, 0);
    three_replicas(&cluster);
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        for number in 1..=3 {
            cluster.lab.kill(&node(number)).unwrap();
        }
        for number in order {
            cluster.lab.start(&node(number)).unwrap();
        }
        cluster.until("the service runs again", || {
            cluster.listens("node-1") && cluster.running("node-1", "web").len() == 3
        });
    }
}

#[test]
fn a_short_cut_changes_nothing() {
    let cluster = Cluster::up(SKEP, 1, 2);
    three_replicas(&cluster);
    let ids = |tasks: Vec<Value>| -> BTreeSet<String> {
        tasks
            .iter()
            .map(|task| format!("{} {}", task["id"], task["pid"]))
            .collect()
    };
    let before = ids(cluster.running("node-1", "web"));
    cluster.lab.cut("node-3").unwrap();
    // Two seconds of silence are what is tested.
    std::thread::park_timeout(Duration::from_secs(2));
    cluster.lab.heal("node-3").unwrap();
    cluster.until("all nodes are ready", || cluster.ready() == 3);
    assert_eq!(before, ids(cluster.running("node-1", "web")));
}

#[test]
fn a_node_that_was_cut_for_longer_gives_up_what_was_replaced() {
    let cluster = Cluster::up(SKEP, 1, 2);
    three_replicas(&cluster);
    cluster.lab.cut("node-3").unwrap();
    cluster.until("its task runs elsewhere", || {
        let nodes = spread(&cluster, "node-1", "web");
        cluster.running("node-1", "web").len() == 3 && !nodes.contains("node-3")
    });
    cluster.lab.heal("node-3").unwrap();
    cluster.until("the node is back and no double is left", || {
        let tasks = cluster.list("node-1", &["service", "ps", "web"]);
        let live = |task: &&Value| task["state"] == "running";
        cluster.ready() == 3 && tasks.iter().filter(live).count() == 3
    });
}
