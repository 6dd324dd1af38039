//! Workers that become managers and managers that become workers, on real daemons.

use std::collections::BTreeSet;
use std::thread;

use serde_json::Value;
use skep_harness::cluster::{Cluster, node};

use crate::SKEP;

fn nodes(cluster: &Cluster, on: &str) -> Vec<Value> {
    cluster.try_list(on, &["node", "ls"]).unwrap_or_default()
}

/// Names of the managers that vote and are reached, as `on` sees it.
fn managers(cluster: &Cluster, on: &str) -> BTreeSet<String> {
    let nodes = nodes(cluster, on);
    let there = nodes
        .iter()
        .filter(|node| node["manager"] == "leader" || node["manager"] == "reachable");
    there
        .filter_map(|node| node["name"].as_str().map(str::to_owned))
        .collect()
}

fn names(numbers: &[usize]) -> BTreeSet<String> {
    numbers.iter().copied().map(node).collect()
}

fn until_managers(cluster: &Cluster, on: &str, numbers: &[usize]) {
    let wanted = names(numbers);
    cluster.until(&format!("{wanted:?} are the managers"), || {
        managers(cluster, on) == wanted
    });
}

/// Tasks of a service on some nodes, with their first process.
fn processes(cluster: &Cluster, on: &str, where_: &[usize]) -> BTreeSet<String> {
    let nodes = names(where_);
    let tasks = cluster.running(on, "web");
    let there = tasks
        .iter()
        .filter(|task| task["node"].as_str().is_some_and(|it| nodes.contains(it)));
    there
        .map(|task| format!("{} {} {}", task["id"], task["node"], task["pid"]))
        .collect()
}

fn global_service(cluster: &Cluster) {
    let create = ["service", "create", "--name", "web", "--mode", "global"];
    cluster.skep("node-1", &[&create[..], &["skep/hello"]].concat());
}

/// Whether the daemon of a node says that it is a worker.
fn is_worker(cluster: &Cluster, on: &str) -> bool {
    cluster.listens(on) && {
        let asked = cluster.attempt(on, &["node", "ls"]);
        asked.code != 0 && asked.err.contains("this node is a worker")
    }
}

/// Something is committed.
fn write(cluster: &Cluster, on: &str, name: &str) {
    cluster.skep(on, &["network", "create", name]);
}

#[test]
fn promoted_workers_take_over_and_containers_never_notice() {
    let cluster = Cluster::up(SKEP, 1, 2);
    global_service(&cluster);
    cluster.until("it runs on all", || {
        cluster.running("node-1", "web").len() == 3
    });
    let before = processes(&cluster, "node-1", &[2, 3]);
    let said = cluster.skep("node-1", &["node", "promote", "node-2", "node-3"]);
    assert_eq!(
        said,
        "Node node-2 promoted to a manager in the swarm.\nNode node-3 promoted to a manager in the swarm.\n"
    );
    until_managers(&cluster, "node-3", &[1, 2, 3]);
    let said = cluster.skep("node-1", &["node", "promote", "node-2"]);
    assert!(said.ends_with(" is already a manager.\n"), "{said}");

    cluster.lab.kill("node-1").unwrap();
    cluster.until("one of the promoted leads", || {
        cluster
            .leader("node-2")
            .is_some_and(|name| name != "node-1")
    });
    write(&cluster, "node-3", "after-the-first");
    cluster.start("node-1");
    until_managers(&cluster, "node-2", &[1, 2, 3]);

    let said = cluster.skep("node-2", &["node", "demote", "node-1"]);
    assert_eq!(said, "Manager node-1 demoted in the swarm.\n");
    until_managers(&cluster, "node-2", &[2, 3]);
    cluster.until("node-1 knows that it is a worker", || {
        is_worker(&cluster, "node-1")
    });
    let said = cluster.skep("node-2", &["node", "demote", "node-1"]);
    assert!(said.ends_with(" is already a worker.\n"), "{said}");

    let first = cluster.leader("node-2").expect("a leader");
    let other = if first == "node-2" {
        "node-3"
    } else {
        "node-2"
    };
    let said = cluster.skep(&first, &["node", "demote", &first]);
    assert_eq!(said, format!("Manager {first} demoted in the swarm.\n"));
    cluster.until("the other leads alone", || {
        cluster.leader(other).as_deref() == Some(other)
    });
    write(&cluster, other, "after-the-second");
    let refused = cluster.attempt(other, &["node", "demote", other]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("last manager"), "{}", refused.err);
    assert_eq!(processes(&cluster, other, &[2, 3]), before);
    cluster.until("node-1 has its task", || {
        cluster.running(other, "web").len() == 3
    });
}

#[test]
fn managers_come_and_go_in_any_order_from_one_to_five() {
    let cluster = Cluster::up(SKEP, 1, 4);
    global_service(&cluster);
    cluster.until("it runs on all", || {
        cluster.running("node-1", "web").len() == 5
    });
    let before = processes(&cluster, "node-1", &[1, 2, 3, 4, 5]);
    let all = [1, 2, 3, 4, 5];
    for newcomer in 2..=5 {
        cluster.skep("node-1", &["node", "promote", &node(newcomer)]);
        until_managers(&cluster, "node-1", &all[..newcomer]);
    }
    // The leader each time, told by itself, then by another.
    let mut left: BTreeSet<usize> = all.into();
    while left.len() > 1 {
        let some = node(*left.first().expect("a manager"));
        let leads = cluster.leader(&some).expect("a leader");
        let number = all.into_iter().find(|it| node(*it) == leads);
        left.remove(&number.expect("a node"));
        let others: Vec<usize> = left.iter().copied().collect();
        let other = node(others[0]);
        let on = if left.len().is_multiple_of(2) {
            &leads
        } else {
            &other
        };
        cluster.skep(on, &["node", "update", "--role", "worker", &leads]);
        until_managers(&cluster, &other, &others);
        write(&cluster, &other, &format!("left-{}", left.len()));
    }
    let last = node(*left.first().expect("a manager"));
    // Who was one is one again, with nothing of what it had.
    for newcomer in all.into_iter().filter(|it| !left.contains(it)) {
        cluster.skep(
            &last,
            &["node", "update", "--role", "manager", &node(newcomer)],
        );
    }
    until_managers(&cluster, &last, &all);
    cluster.skep(&last, &["node", "demote", &last]);
    let next = if last == "node-1" { "node-2" } else { "node-1" };
    write(&cluster, next, "at-the-end");
    assert_eq!(processes(&cluster, next, &all), before);
}

#[test]
fn a_voter_that_was_off_elects_one_it_does_not_know() {
    let cluster = Cluster::up(SKEP, 3, 2);
    until_managers(&cluster, "node-1", &[1, 2, 3]);
    let leads = cluster.leader("node-1").expect("a leader");
    let mut others: Vec<String> = (1..=3).map(node).filter(|it| *it != leads).collect();
    let (off, other) = (others.remove(0), others.remove(0));
    cluster.lab.kill(&off).unwrap();
    // Of those that the one that is off knows, nobody is left.
    cluster.skep(&leads, &["node", "promote", "node-4"]);
    cluster.until("node-4 votes", || {
        managers(&cluster, &leads).contains("node-4")
    });
    cluster.skep(&leads, &["node", "demote", &other]);
    cluster.skep(&leads, &["node", "promote", "node-5"]);
    cluster.until("node-5 votes", || {
        managers(&cluster, &leads).contains("node-5")
    });
    cluster.skep(&leads, &["node", "demote", &leads]);
    cluster.until("one of the new leads", || {
        cluster
            .leader("node-4")
            .is_some_and(|it| it == "node-4" || it == "node-5")
    });
    write(&cluster, "node-4", "while-it-was-off");
    // Only with its vote somebody leads.
    let leads = cluster.leader("node-4").expect("a leader");
    let left = if leads == "node-4" {
        "node-5"
    } else {
        "node-4"
    };
    cluster.lab.kill(&leads).unwrap();
    cluster.start(&off);
    cluster.until("the two that are there decide", || {
        cluster.leader(left).as_deref() == Some(left)
    });
    write(&cluster, &off, "by-the-two");
    cluster.start(&leads);
    let wanted: BTreeSet<String> = [off, node(4), node(5)].into();
    cluster.until("all three are there", || managers(&cluster, left) == wanted);
}

#[test]
fn a_departure_that_would_cost_the_quorum_is_refused() {
    let cluster = Cluster::up(SKEP, 3, 0);
    until_managers(&cluster, "node-1", &[1, 2, 3]);
    let leads = cluster.leader("node-1").expect("a leader");
    let others: Vec<String> = (1..=3).map(node).filter(|it| *it != leads).collect();
    let (alive, dead) = (&others[0], &others[1]);
    cluster.lab.kill(dead).unwrap();
    cluster.until("the dead one is missed", || {
        managers(&cluster, &leads).len() == 2
    });
    for on in [&leads, alive] {
        let refused = cluster.attempt(on, &["node", "demote", alive]);
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("no quorum"), "{}", refused.err);
        assert!(refused.err.contains("only 1 of the 2"), "{}", refused.err);
    }
    let nodes = nodes(&cluster, &leads);
    assert!(
        nodes.iter().all(|node| node["role"] == "manager"),
        "{nodes:?}"
    );
    write(&cluster, alive, "goes-on");

    let refused = cluster.attempt(&leads, &["node", "rm", dead]);
    assert!(refused.err.contains("skep node demote"), "{}", refused.err);
    cluster.skep(&leads, &["node", "demote", dead]);
    cluster.start(dead);
    cluster.until("it is back as a worker", || is_worker(&cluster, dead));
    for (args, text) in [
        (["node", "promote", "nobody"], "nobody"),
        (["node", "update", "nobody"], "nobody"),
    ] {
        let refused = cluster.attempt(&leads, &args);
        assert_ne!(refused.code, 0);
        assert!(refused.err.contains(text), "{}", refused.err);
    }
    let refused = cluster.attempt(&leads, &["node", "update", "--role", "emperor", alive]);
    assert!(refused.err.contains("worker, manager"), "{}", refused.err);
}

#[test]
fn a_leader_that_dies_in_the_middle_leaves_it_to_the_next() {
    let cluster = Cluster::up(SKEP, 4, 1);
    until_managers(&cluster, "node-1", &[1, 2, 3, 4]);
    let leads = cluster.leader("node-1").expect("a leader");
    let others: Vec<String> = (1..=4).map(node).filter(|it| *it != leads).collect();
    let (asked, goes) = (&others[0], &others[1]);
    thread::scope(|scope| {
        // What they end with depends on the moment: what counts is where it leads.
        scope.spawn(|| cluster.attempt(asked, &["node", "demote", goes]));
        scope.spawn(|| cluster.attempt(asked, &["node", "promote", "node-5"]));
        cluster.lab.kill(&leads).unwrap();
    });
    cluster.until("the next leader is found", || {
        cluster.leader(asked).is_some_and(|name| name != leads)
    });
    cluster.skep(asked, &["node", "demote", goes]);
    cluster.skep(asked, &["node", "promote", "node-5"]);
    let stays = node(others[2].trim_start_matches("node-").parse().unwrap());
    let wanted: BTreeSet<String> = [asked.clone(), stays, node(5)].into();
    cluster.until("both have become what they are to be", || {
        managers(&cluster, asked) == wanted
    });
    cluster.skep(asked, &["node", "demote", &leads]);
    write(&cluster, "node-5", "at-the-end");
    cluster.start(&leads);
    cluster.until("the one that died is back as a worker", || {
        is_worker(&cluster, &leads)
    });
    write(&cluster, "node-5", "at-the-very-end");
}
