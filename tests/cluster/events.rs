//! Events on real daemons: told by any manager, and followed over the leader's death.

use serde_json::Value;
use skep_harness::cluster::{Cluster, node};

use crate::SKEP;

fn events(cluster: &Cluster, on: &str, args: &[&str]) -> Vec<Value> {
    let args = [&["events", "--format", "json"], args].concat();
    let text = cluster.skep(on, &args);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Revision of the newest event.
fn newest(cluster: &Cluster, on: &str) -> String {
    let all = events(cluster, on, &["--since", "rev:0", "--until", "0s"]);
    let last = all.last().unwrap();
    format!("rev:{}.{}", last["revision"], last["position"])
}

fn create(cluster: &Cluster, on: &str, name: &str) {
    cluster.skep(on, &["service", "create", "--name", name, "skep/hello"]);
}

#[test]
fn every_manager_tells_the_same_with_who_asked() {
    let cluster = Cluster::up(SKEP, 3, 0);
    create(&cluster, "node-2", "web");
    cluster.until("it runs", || cluster.running("node-1", "web").len() == 1);
    let until = newest(&cluster, "node-1");
    let told = |on: &str| events(&cluster, on, &["--since", "rev:0", "--until", &until]);
    let all = told("node-1");
    assert_eq!(told("node-2"), all);
    assert_eq!(told("node-3"), all);
    let created: Vec<&Value> = all
        .iter()
        .filter(|event| event["Type"] == "service" && event["Action"] == "create")
        .collect();
    assert_eq!(created.len(), 1, "{all:?}");
    let by = created[0]["by"].as_str().expect("who asked");
    assert!(by.contains("root") && by.contains("@node-2"), "{by}");
    let nodes = all
        .iter()
        .filter(|event| event["Type"] == "node" && event["Action"] == "join");
    assert_eq!(nodes.count(), 3, "{all:?}");
    let line = cluster.skep(
        "node-3",
        &[
            "events",
            "--since",
            "rev:0",
            "--until",
            "0s",
            "--filter",
            "event=running",
        ],
    );
    assert!(
        line.contains(" task running ") && line.contains("service=web"),
        "{line}"
    );
    let template = [
        "system",
        "events",
        "--since",
        "rev:0",
        "--until",
        "0s",
        "-f",
        "service=web",
        "-f",
        "type=service",
    ];
    let template = [
        &template[..],
        &["--format", "{{.Actor.Attributes.name}} {{.Action}}"],
    ]
    .concat();
    assert_eq!(cluster.skep("node-3", &template), "web create\n");
}

#[test]
fn who_follows_loses_and_doubles_nothing_when_the_leader_dies() {
    let cluster = Cluster::up(SKEP, 3, 0);
    let begin = newest(&cluster, "node-1");
    let led = cluster.leader("node-1").expect("a leader");
    let others: Vec<String> = (1..=3).map(node).filter(|name| *name != led).collect();
    create(&cluster, &others[0], "before");
    // One asks the leader, which will die, up to now; the other goes on where that one was.
    let first = events(&cluster, &led, &["--since", &begin, "--until", "0s"]);
    let at = first.last().expect("events");
    let at = format!("rev:{}.{}", at["revision"], at["position"]);
    cluster.lab.kill(&led).unwrap();
    cluster.until("another leads", || {
        cluster.leader(&others[0]).is_some_and(|now| now != led)
    });
    create(&cluster, &others[0], "after");
    // A new leader gives every node its whole deadline.
    cluster.until("its death is known", || {
        let nodes = cluster.try_list(&others[0], &["node", "ls"]);
        let is_down = |it: &Value| it["name"] == led.as_str() && it["state"] == "down";
        nodes.is_some_and(|nodes| nodes.iter().any(is_down))
    });
    let until = newest(&cluster, &others[1]);
    let rest = events(&cluster, &others[1], &["--since", &at, "--until", &until]);
    let whole = events(
        &cluster,
        &others[0],
        &["--since", &begin, "--until", &until],
    );
    let both: Vec<Value> = first.into_iter().chain(rest).collect();
    assert_eq!(both, whole);
    let place = |event: &Value| (event["revision"].as_u64(), event["position"].as_u64());
    assert!(both.iter().map(place).is_sorted_by(|a, b| a < b));
    let made = |name: &str| {
        let is = |event: &&Value| {
            event["Type"] == "service" && event["Actor"]["Attributes"]["name"] == name
        };
        both.iter().filter(is).count()
    };
    assert_eq!((made("before"), made("after")), (1, 1));
    let died = |event: &Value| {
        event["Action"] == "down" && event["Actor"]["Attributes"]["name"] == led.as_str()
    };
    assert!(both.iter().any(died), "its death is told");
}
