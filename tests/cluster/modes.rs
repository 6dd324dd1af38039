//! Services of every mode on real daemons, why a task waits, and a drain that surges.

use std::collections::BTreeSet;

use serde_json::Value;
use skep_harness::cluster::Cluster;

use crate::SKEP;

fn places(cluster: &Cluster, service: &str) -> Vec<String> {
    let tasks = cluster.running("node-1", service);
    let nodes = tasks.iter().filter_map(|task| task["node"].as_str());
    nodes.map(str::to_owned).collect()
}

fn create(cluster: &Cluster, name: &str, more: &[&str]) {
    let words = [
        &["service", "create", "--name", name],
        more,
        &["skep/hello"],
    ];
    cluster.skep("node-1", &words.concat());
}

#[test]
fn a_global_service_has_one_task_on_each_node_that_meets_its_constraints() {
    let cluster = Cluster::up(SKEP, 1, 2);
    create(&cluster, "all", &["--mode", "global"]);
    let nodes: BTreeSet<String> = places(&cluster, "all").into_iter().collect();
    assert_eq!(nodes.len(), 3);
    assert_eq!(places(&cluster, "all").len(), 3);
    let restrict = [
        "service",
        "update",
        "--constraint-add",
        "node.role==worker",
        "all",
    ];
    cluster.skep("node-1", &restrict);
    cluster.until("it runs on the workers only", || {
        let nodes = places(&cluster, "all");
        nodes.len() == 2 && !nodes.contains(&"node-1".to_owned())
    });
    let refused = cluster.attempt("node-1", &["service", "scale", "all=2"]);
    assert_ne!(refused.code, 0);
    let said = format!("{refused:?}");
    assert!(said.contains("it is global"), "{said}");
}

#[test]
fn a_task_that_waits_says_what_would_place_it_and_that_does() {
    let cluster = Cluster::up(SKEP, 1, 1);
    let ssd = ["-d", "--constraint", "node.labels.disk==ssd"];
    create(&cluster, "fast", &ssd);
    let id = || -> Option<String> {
        let tasks = cluster.try_list("node-1", &["service", "ps", "fast"])?;
        let waits = |task: &&Value| task["state"] == "pending";
        Some(tasks.iter().find(waits)?["id"].as_str()?.to_owned())
    };
    cluster.until("it waits", || id().is_some());
    let why = cluster.skep("node-1", &["task", "why", &id().unwrap()]);
    assert!(why.contains("node.labels.disk==ssd not met"), "{why}");
    assert!(
        why.contains("skep node update --label-add disk=ssd"),
        "{why}"
    );
    cluster.skep(
        "node-1",
        &["node", "update", "--label-add", "disk=ssd", "node-2"],
    );
    cluster.until("it has its place", || {
        places(&cluster, "fast") == ["node-2"]
    });
}

#[test]
fn a_drain_waits_for_replacements_and_is_refused_where_there_is_no_place() {
    let cluster = Cluster::up(SKEP, 1, 2);
    create(&cluster, "web", &["--replicas", "3"]);
    cluster.skep(
        "node-1",
        &["node", "drain", "--wait", "--timeout", "60s", "node-2"],
    );
    let nodes = places(&cluster, "web");
    assert!(
        nodes.len() == 3 && !nodes.contains(&"node-2".to_owned()),
        "{nodes:?}"
    );
    create(&cluster, "one", &["--constraint", "node.hostname==node-3"]);
    let refused = cluster.attempt("node-1", &["node", "drain", "node-3"]);
    assert_ne!(refused.code, 0);
    let said = format!("{refused:?}");
    assert!(said.contains("one.1"), "{said}");
    assert!(
        places(&cluster, "one") == ["node-3"],
        "the drain has not begun"
    );
}
