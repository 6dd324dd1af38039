//! Nodes that leave, are removed and come back.

use skep_harness::cluster::{Cluster, node};

use crate::SKEP;

fn state(cluster: &Cluster, of: &str) -> Option<String> {
    let nodes = cluster.try_list("node-1", &["node", "ls"])?;
    let node = nodes.iter().find(|node| node["name"] == of)?;
    node["state"].as_str().map(str::to_owned)
}

fn hello(cluster: &Cluster, on: &str, name: &str, replicas: &str) {
    let args = ["service", "create", "--name", name, "--replicas", replicas];
    cluster.skep(
        on,
        &[&args[..], &["--network", "web", "skep/hello"]].concat(),
    );
}

/// What is left of tasks in a node: control groups, mounts, network namespaces, directories.
fn left(cluster: &Cluster, on: &str) -> String {
    let look = "grep -E 'overlay|/netns/' /proc/self/mountinfo | grep skep; \
                ls -A /run/skep/netns /run/skep/exec /run/skep/files 2>/dev/null | grep -vE '^(/|$|shim|init|total)'; \
                ls -A /var/lib/skep/containers 2>/dev/null; \
                find /sys/fs/cgroup -type d -path '*skep/*' 2>/dev/null | grep -E '[0-9a-z]{20}' | grep -v lab; true";
    cluster.run(on, &["sh", "-c", look]).out
}

#[test]
fn a_worker_that_leaves_takes_its_tasks_away_and_can_join_again() {
    let cluster = Cluster::up(SKEP, 1, 1);
    cluster.skep("node-1", &["network", "create", "web"]);
    hello(&cluster, "node-1", "web", "4");
    assert_ne!(left(&cluster, "node-2"), "", "what is looked for is there");
    cluster.skep("node-2", &["swarm", "leave"]);
    let left = left(&cluster, "node-2");
    assert_eq!(left, "", "{left}\n{}", cluster.logs());
    cluster.until("it is down", || {
        state(&cluster, "node-2").as_deref() == Some("down")
    });
    cluster.until("the other has its tasks", || {
        let tasks = cluster.running("node-1", "web");
        tasks.len() == 4 && tasks.iter().all(|task| task["node"] == "node-1")
    });
    cluster.skep("node-1", &["node", "rm", "node-2"]);
    assert_eq!(state(&cluster, "node-2"), None);
    cluster.join("node-2", "worker");
    cluster.until("it is back as a new node", || {
        state(&cluster, "node-2").as_deref() == Some("ready")
    });
    cluster.skep("node-1", &["service", "scale", "web=8"]);
    let tasks = cluster.running("node-1", "web");
    assert!(tasks.iter().any(|task| task["node"] == "node-2"));
}

#[test]
fn a_worker_hears_of_managers_that_came_after_it() {
    let cluster = Cluster::up(SKEP, 1, 3);
    for newcomer in ["node-3", "node-4"] {
        cluster.skep(newcomer, &["swarm", "leave"]);
        cluster.skep("node-1", &["node", "rm", "--force", newcomer]);
        cluster.join(newcomer, "manager");
    }
    cluster.until("three managers", || {
        let nodes = cluster.try_list("node-1", &["node", "ls"]);
        let there = nodes.unwrap_or_default();
        let reached = there
            .iter()
            .filter(|node| node["manager"] == "leader" || node["manager"] == "reachable");
        reached.count() == 3
    });
    cluster.lab.kill("node-1").expect("a kill");
    cluster.until("the worker found the new leader", || {
        let nodes = cluster.try_list("node-3", &["node", "ls"]);
        let there = nodes.unwrap_or_default();
        let state = |of: &str| there.iter().find(|node| node["name"] == of);
        let is = |of: &str, wanted: &str| state(of).is_some_and(|node| node["state"] == wanted);
        is("node-1", "down") && is("node-2", "ready")
    });
}

#[test]
fn managers_leave_down_to_the_last_which_is_refused() {
    let cluster = Cluster::up(SKEP, 3, 0);
    let first = cluster.leader("node-1").expect("a leader");
    cluster.skep(&first, &["swarm", "leave"]);
    let others: Vec<String> = (1..=3).map(node).filter(|name| *name != first).collect();
    cluster.until("two managers go on", || {
        let nodes = cluster.try_list(&others[0], &["node", "ls"]);
        let there = nodes.unwrap_or_default();
        let managers = there.iter().filter(|node| node["role"] == "manager");
        managers.count() == 2 && cluster.leader(&others[0]).is_some()
    });
    let create = ["service", "create", "--name", "web", "skep/hello"];
    cluster.skep(&others[1], &create);
    let follower = others
        .iter()
        .find(|name| cluster.leader(name).as_ref() != Some(*name))
        .expect("a follower");
    cluster.skep(follower, &["swarm", "leave"]);
    let last = others
        .iter()
        .find(|name| *name != follower)
        .expect("a manager");
    cluster.until("the service runs on the last", || {
        cluster.running(last, "web").len() == 1
    });
    let refused = cluster.attempt(last, &["swarm", "leave"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(cluster.running(last, "web").len(), 1);
    cluster.skep(last, &["swarm", "leave", "--force"]);
    cluster.skep(last, &["swarm", "init"]);
    assert_eq!(cluster.list(last, &["service", "ls"]).len(), 0);
}
