//! One name for three containers on three machines.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use skep_cli::demo::ask;
use skep_harness::cluster::Cluster;

use crate::SKEP;

/// Runs `work` in the network of a task's container.
fn inside<T: Send>(cluster: &Cluster, task: &Value, work: impl FnOnce() -> T + Send) -> T {
    let node = task["node"].as_str().unwrap_or_default();
    let pid = u32::try_from(task["pid"].as_u64().unwrap_or_default()).unwrap_or_default();
    cluster
        .lab
        .in_network_of(node, pid, work)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Who answered, as a container of the built-in image says.
fn hostname(body: &str) -> String {
    let line = body
        .lines()
        .find_map(|line| line.strip_prefix("hostname: "));
    line.unwrap_or_default().to_owned()
}

fn web_and_client(cluster: &Cluster) -> Value {
    cluster.skep("node-1", &["network", "create", "front"]);
    let web = [
        "service",
        "create",
        "--name",
        "web",
        "--replicas",
        "3",
        "--network",
        "front",
    ];
    cluster.skep("node-1", &[&web[..], &["skep/hello"]].concat());
    let client = [
        "service",
        "create",
        "--name",
        "client",
        "--network",
        "front",
        "skep/hello",
    ];
    cluster.skep("node-1", &client);
    cluster.running("node-1", "client").remove(0)
}

fn ask_often(cluster: &Cluster, client: &Value, name: &str) -> BTreeSet<String> {
    let answers = inside(cluster, client, || {
        let address = ask::resolve(name).map_err(|error| format!("{name}: {error:#}"))?;
        let at = SocketAddr::from((address, 80));
        let asked = (0..30).map(|_| ask::get(at).map_err(|error| format!("{at}: {error:#}")));
        asked.collect::<Result<Vec<_>, String>>()
    });
    let answers = answers.unwrap_or_else(|error| panic!("{error}\n{}", cluster.logs()));
    answers.iter().map(|body| hostname(body)).collect()
}

#[test]
fn three_containers_on_three_nodes_answer_to_one_name() {
    let cluster = Cluster::up(SKEP, 3, 0);
    let client = web_and_client(&cluster);
    assert_eq!(ask_often(&cluster, &client, "web").len(), 3);
    let all = inside(&cluster, &client, || ask::resolve("tasks.web"));
    let addresses: BTreeSet<String> = cluster
        .running("node-1", "web")
        .iter()
        .filter_map(|task| task["addresses"][0].as_str().map(str::to_owned))
        .collect();
    assert!(
        addresses.contains(&all.unwrap().to_string()),
        "one of {addresses:?}"
    );
    assert!(inside(&cluster, &client, || ask::resolve("no-such-name")).is_err());
}

#[test]
fn a_name_goes_on_answering_when_a_node_dies() {
    let cluster = Cluster::up(SKEP, 3, 0);
    let client = web_and_client(&cluster);
    let home = client["node"].as_str().unwrap().to_owned();
    let on = if home == "node-1" { "node-2" } else { "node-1" };
    let victim = ["node-3", "node-2"]
        .into_iter()
        .find(|node| *node != home && *node != on)
        .unwrap();
    cluster.lab.kill(victim).unwrap();
    cluster.until("three run without the dead node", || {
        let tasks = cluster.running(on, "web");
        tasks.len() == 3 && tasks.iter().all(|task| task["node"] != victim)
    });
    cluster.until(
        "the name leads to the three that live, and to none that died",
        || {
            let asked = inside(&cluster, &client, || {
                let address = ask::resolve("web")?;
                let at = SocketAddr::from((address, 80));
                (0..30)
                    .map(|_| ask::get(at))
                    .collect::<anyhow::Result<Vec<_>>>()
            });
            asked.is_ok_and(|bodies| {
                bodies
                    .iter()
                    .map(|body| hostname(body))
                    .collect::<BTreeSet<_>>()
                    .len()
                    == 3
            })
        },
    );
}

#[test]
fn a_network_in_use_is_not_removed_and_an_unused_one_is() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep(
        "node-1",
        &["network", "create", "--subnet", "10.77.0.0/24", "front"],
    );
    let service = [
        "service",
        "create",
        "--name",
        "web",
        "--network",
        "front",
        "skep/hello",
    ];
    cluster.skep("node-1", &service);
    let ended = cluster.attempt("node-1", &["network", "rm", "front"]);
    assert!(
        ended.code != 0 && ended.err.contains("web"),
        "{}",
        ended.err
    );
    let overlapping = ["network", "create", "--subnet", "10.77.0.128/25", "other"];
    let ended = cluster.attempt("node-1", &overlapping);
    assert!(
        ended.code != 0 && ended.err.contains("front"),
        "{}",
        ended.err
    );
    let task = &cluster.running("node-1", "web")[0];
    let address: Ipv4Addr = task["addresses"][0].as_str().unwrap().parse().unwrap();
    assert_eq!(address.octets()[..3], [10, 77, 0]);
    cluster.skep("node-1", &["service", "rm", "web"]);
    cluster.until("the network can go", || {
        cluster.attempt("node-1", &["network", "rm", "front"]).code == 0
    });
    let left = cluster.list("node-1", &["network", "ls"]);
    assert!(left.iter().all(|network| network["name"] != "front"));
}

#[test]
fn a_network_that_comes_back_at_once_takes_its_tasks() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep("node-1", &["network", "create", "front"]);
    for round in 0..12 {
        let name = format!("web-{round}");
        let args = [
            "service",
            "create",
            "--name",
            &name,
            "--network",
            "front",
            "skep/hello",
        ];
        cluster.skep("node-1", &args);
        let tasks = cluster.list("node-1", &["service", "ps", &name]);
        assert_eq!(tasks.len(), 1, "the first attempt runs: {tasks:?}");
        cluster.skep("node-1", &["service", "rm", &name]);
    }
}

#[test]
fn a_container_reaches_the_world_through_its_host() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let client = web_and_client(&cluster);
    let listener = cluster
        .lab
        .in_network("outside", || std::net::TcpListener::bind("0.0.0.0:7777"))
        .unwrap()
        .unwrap();
    let outside = cluster.lab.address("outside").unwrap();
    let connected = inside(&cluster, &client, || {
        let at = SocketAddr::from((outside, 7777));
        std::net::TcpStream::connect_timeout(&at, std::time::Duration::from_secs(5))
    });
    assert!(connected.is_ok(), "{connected:?}");
    let (_, from) = listener.accept().unwrap();
    assert_eq!(
        from.ip().to_string(),
        cluster.lab.address("node-1").unwrap().to_string()
    );
}
