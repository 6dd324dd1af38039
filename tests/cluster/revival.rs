//! Clusters that lost their majority or all of their managers go on, and their containers with them.

use skep_harness::cluster::{Cluster, node};

use crate::SKEP;

/// A node's, in a lab.
const DATA_ROOT: &str = "/run/lab/store/data";

/// Made before the loss, on the worker that stays.
const WEB: [&str; 9] = [
    "service",
    "create",
    "--name",
    "web",
    "--replicas",
    "2",
    "--constraint",
    "node.role==worker",
    "skep/hello",
];

/// The container ids of the service's tasks that run, as `container ls` on the worker shows them, with the
/// process of each: what was not touched is equal.
fn processes(cluster: &Cluster, on: &str) -> Vec<(String, String)> {
    let listed = cluster.list(on, &["container", "ls"]);
    let mut seen: Vec<_> = listed
        .iter()
        .map(|it| (it["id"].to_string(), it["pid"].to_string()))
        .collect();
    seen.sort();
    seen
}

#[test]
fn the_last_manager_of_three_goes_on_alone_and_containers_stay() {
    let cluster = Cluster::up(SKEP, 3, 1);
    cluster.skep("node-1", &WEB);
    let before = processes(&cluster, "node-4");
    assert_eq!(before.len(), 2);

    let refused = cluster.attempt("node-4", &["swarm", "init", "--force-new-cluster"]);
    assert!(
        refused.err.contains("this node is a worker"),
        "{}",
        refused.err
    );
    cluster.lab.kill("node-1").unwrap();
    cluster.lab.kill("node-2").unwrap();
    let said = cluster.skep("node-3", &["swarm", "init", "--force-new-cluster"]);
    assert!(said.contains("only manager"), "{said}");
    cluster.until("the worker is back and the lost are down", || {
        let nodes = cluster
            .try_list("node-3", &["node", "ls"])
            .unwrap_or_default();
        let state = |name: &str, state: &str| {
            nodes
                .iter()
                .any(|node| node["name"] == name && node["state"] == state)
        };
        state("node-4", "ready") && state("node-1", "down") && state("node-2", "down")
    });
    assert_eq!(
        processes(&cluster, "node-4"),
        before,
        "containers were touched"
    );
    assert_eq!(cluster.running("node-3", "web").len(), 2);
    // It decides again, keeps what it decided over a restart, and takes in another manager.
    cluster.skep("node-3", &["service", "scale", "web=3"]);
    cluster.lab.kill_daemon("node-3").unwrap();
    cluster.start("node-3");
    cluster.until("three run", || cluster.running("node-3", "web").len() == 3);
    assert!(
        before
            .iter()
            .all(|it| processes(&cluster, "node-4").contains(it))
    );
    cluster.start("node-2");
    cluster.skep("node-2", &["swarm", "leave", "--force"]);
    let token = cluster.skep("node-3", &["swarm", "join-token", "-q", "manager"]);
    let address = cluster.lab.address("node-3").unwrap().to_string();
    cluster.skep(
        "node-2",
        &["swarm", "join", "--token", token.trim(), &address],
    );
    cluster.until("node-2 sees the cluster", || {
        cluster.running("node-2", "web").len() == 3
    });
    // One that just comes back is a worker, and may be the only one to have what the others never got.
    cluster.start("node-1");
    cluster.until("node-1 is a worker", || {
        let asked = cluster.attempt("node-1", &["node", "ls"]);
        asked.err.contains("this node is a worker")
    });
    let kept = format!("{DATA_ROOT}/manager.kept-1/id");
    cluster.until("what it had is kept", || {
        cluster.run("node-1", &["test", "-f", &kept]).code == 0
    });
    cluster.skep("node-3", &["node", "promote", "node-1"]);
    cluster.until("node-1 sees the cluster", || {
        cluster.running("node-1", "web").len() == 3
    });
    assert_eq!(cluster.run("node-1", &["test", "-f", &kept]).code, 0);
}

#[test]
fn a_backup_brings_back_a_cluster_whose_managers_are_gone() {
    let cluster = Cluster::up(SKEP, 1, 1);
    cluster.skep("node-1", &WEB);
    let before = processes(&cluster, "node-2");
    // Nodes have a /tmp of their own.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = directory.path().join("cluster.backup");
    let file = file.to_str().unwrap();
    let refused = cluster.attempt("node-2", &["swarm", "backup", "-o", file]);
    assert!(refused.err.contains("is a worker"), "{}", refused.err);
    let said = cluster.skep("node-1", &["swarm", "backup", "-o", file]);
    assert!(said.contains("2 nodes, 1 services"), "{said}");
    let again = cluster.attempt("node-1", &["swarm", "backup", "-o", file]);
    assert!(again.err.contains("is there already"), "{}", again.err);

    // What is made after the backup is not in it.
    cluster.skep(
        "node-1",
        &["service", "create", "-d", "--name", "late", "skep/hello"],
    );
    let refused = cluster.attempt("node-1", &["swarm", "restore", file]);
    assert!(refused.err.contains("is in cluster"), "{}", refused.err);
    cluster.skep("node-1", &["swarm", "leave", "--force"]);

    let whole = std::fs::read(file).unwrap();
    let damaged = directory.path().join("damaged.backup");
    std::fs::write(&damaged, whole.get(..whole.len() - 40).unwrap()).unwrap();
    let refused = cluster.attempt("node-1", &["swarm", "restore", damaged.to_str().unwrap()]);
    assert!(refused.err.contains("damaged"), "{}", refused.err);

    let said = cluster.skep("node-1", &["swarm", "restore", file]);
    assert!(said.contains("only manager"), "{said}");
    cluster.until("the worker is back", || {
        let nodes = cluster
            .try_list("node-1", &["node", "ls"])
            .unwrap_or_default();
        let up = nodes.iter().filter(|node| node["state"] == "ready");
        up.count() == 2
    });
    assert_eq!(
        processes(&cluster, "node-2"),
        before,
        "containers were touched"
    );
    let services = cluster.list("node-1", &["service", "ls"]);
    assert_eq!(services.len(), 1, "{services:?}");
    cluster.skep("node-1", &["service", "scale", "web=3"]);
    assert_eq!(cluster.running("node-1", "web").len(), 3);
    cluster.lab.kill_daemon(&node(1)).unwrap();
    cluster.start("node-1");
    cluster.until("it is there after a restart", || {
        cluster.running("node-1", "web").len() == 3
    });
}
