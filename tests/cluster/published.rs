//! A published port: every node accepts, any task answers, and the task sees the client.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use skep_cli::demo::ask;
use skep_harness::cluster::{Cluster, node};

use crate::SKEP;

fn field(body: &str, name: &str) -> String {
    let prefix = format!("{name}: ");
    let line = body
        .lines()
        .find_map(|line| line.strip_prefix(prefix.as_str()));
    line.unwrap_or_default().to_owned()
}

/// Asks a node's published port as somebody outside.
fn ask_from(cluster: &Cluster, machine: &str, of: &str, port: u16) -> anyhow::Result<String> {
    let at = SocketAddr::from((cluster.lab.address(of).unwrap(), port));
    cluster.lab.in_network(machine, || ask::get(at)).unwrap()
}

fn publish(cluster: &Cluster, replicas: &str) {
    let args = ["service", "create", "--name", "web", "--replicas", replicas];
    cluster.skep(
        "node-1",
        &[&args[..], &["--publish", "8080:80", "skep/hello"]].concat(),
    );
}

#[test]
fn every_node_accepts_and_the_task_sees_the_client() {
    let cluster = Cluster::up(SKEP, 3, 0);
    publish(&cluster, "2");
    let outside = cluster.lab.address("outside").unwrap().to_string();
    let mut answered = BTreeSet::new();
    for number in 1..=3 {
        cluster.until("the node accepts", || {
            ask_from(&cluster, "outside", &node(number), 8080).is_ok()
        });
        for _ in 0..10 {
            let body = ask_from(&cluster, "outside", &node(number), 8080).unwrap();
            assert_eq!(field(&body, "client"), outside, "through {}", node(number));
            answered.insert(field(&body, "hostname"));
        }
    }
    assert_eq!(answered.len(), 2, "both tasks answer");
}

#[test]
fn a_port_follows_its_tasks_when_a_node_dies() {
    let cluster = Cluster::up(SKEP, 3, 0);
    publish(&cluster, "3");
    cluster.lab.kill("node-3").unwrap();
    cluster.until("three run on two nodes", || {
        let tasks = cluster.running("node-1", "web");
        tasks.len() == 3 && tasks.iter().all(|task| task["node"] != "node-3")
    });
    cluster.until("both nodes answer only through tasks that live", || {
        (0..20).all(|round| ask_from(&cluster, "outside", &node(1 + round % 2), 8080).is_ok())
    });
}

#[test]
fn a_port_that_another_program_holds_is_told_with_its_node() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let held = cluster
        .lab
        .in_network("node-1", || std::net::TcpListener::bind("0.0.0.0:8080"));
    let held = held.unwrap().unwrap();
    let args = [
        "service",
        "create",
        "--name",
        "web",
        "--publish",
        "8080:80",
        "skep/hello",
    ];
    let ended = cluster.attempt("node-1", &args);
    assert!(
        ended.code != 0 && ended.err.contains("8080/tcp is taken"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("node-1"), "{}", ended.err);
    drop(held);
    cluster.until("the port opens once it is free", || {
        ask_from(&cluster, "outside", "node-1", 8080).is_ok()
    });
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let cluster = Cluster::up(SKEP, 1, 0);
    publish(&cluster, "1");
    let again = [
        "service",
        "create",
        "--name",
        "other",
        "--publish",
        "8080:80",
        "skep/hello",
    ];
    let ended = cluster.attempt("node-1", &again);
    assert!(
        ended.code != 0 && ended.err.contains("8080") && ended.err.contains("web"),
        "{}",
        ended.err
    );
    assert_eq!(cluster.list("node-1", &["service", "ls"]).len(), 1);
}
