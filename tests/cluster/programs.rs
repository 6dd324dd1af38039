//! Programs that people run: nginx behind a port, redis by its name, PostgreSQL on a volume that outlives its node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;
use skep_cli::demo::ask;
use skep_harness::cluster::{Cluster, Ended, node};
use skep_harness::load::{Load, Stop};
use skep_harness::programs;

use crate::SKEP;

const PORT: u16 = 8080;
/// Of one client outside, spread over three nodes.
const REQUESTS_A_SECOND: u32 = 500;

fn load_image(cluster: &Cluster, archive: &Path) {
    let file = archive.to_str().unwrap();
    let loaded = cluster.skep("node-1", &["image", "load", "-i", file]);
    assert!(loaded.contains("Loaded image: "), "{loaded}");
}

fn create(cluster: &Cluster, name: &str, rest: &[&str]) {
    let before = ["service", "create", "-q", "--name", name];
    cluster.skep("node-1", &[&before[..], rest].concat());
}

/// The only task of a service that runs.
fn runs(cluster: &Cluster, service: &str) -> Value {
    cluster.until("it runs", || cluster.running("node-1", service).len() == 1);
    cluster.running("node-1", service).remove(0)
}

/// A program in the container of the only task of a service.
fn inside(cluster: &Cluster, service: &str, argv: &[&str]) -> Option<Ended> {
    let task = cluster.running("node-1", service).into_iter().next()?;
    let pid = task["pid"].as_u64()?.to_string();
    let enter = ["nsenter", "-t", &pid, "-m", "-n", "--"];
    Some(cluster.run(task["node"].as_str()?, &[&enter[..], argv].concat()))
}

/// What a program in a container prints at last, once it succeeds.
fn printed(cluster: &Cluster, service: &str, argv: &[&str]) -> String {
    let mut out = String::new();
    cluster.until("a program in a container succeeds", || {
        let ended = inside(cluster, service, argv);
        ended.filter(|ended| ended.code == 0).is_some_and(|ended| {
            out = ended.out;
            true
        })
    });
    out.trim().to_owned()
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    let address = |number| cluster.lab.address(&node(number)).unwrap();
    (1..=3)
        .map(|number| SocketAddr::from((address(number), PORT)))
        .collect()
}

/// What every node answers from outside, if all say the same.
fn page(cluster: &Cluster) -> Option<String> {
    let pages = cluster.lab.in_network("outside", || {
        let asked = addresses(cluster).into_iter().map(ask::get);
        asked.collect::<anyhow::Result<Vec<String>>>()
    });
    let pages = pages.unwrap().ok()?;
    let first = pages.first()?.clone();
    pages.iter().all(|page| *page == first).then_some(first)
}

/// Six replicas of `web:1` behind a port that all nodes answer.
fn web(cluster: &Cluster) {
    for archive in programs::nginx(3) {
        load_image(cluster, &archive);
    }
    let publish = format!("{PORT}:80");
    let replicas = ["--replicas", "6", "--publish", &publish, "web:1"];
    create(cluster, "web", &replicas);
    cluster.until("every node answers", || {
        page(cluster).as_deref() == Some("page 1\n")
    });
}

/// Replaces nginx by the next version.
fn update(cluster: &Cluster, version: u32, order: &str, parallelism: &str) {
    let image = format!("web:{version}");
    let (order, at_once) = (
        ["--update-order", order],
        ["--update-parallelism", parallelism],
    );
    let rest = ["--update-monitor", "1s", "--image", &image, "web"];
    let update = ["service", "update", "-q"];
    cluster.skep("node-1", &[&update[..], &order, &at_once, &rest].concat());
    assert_eq!(page(cluster), Some(format!("page {version}\n")));
}

#[test]
fn a_rolling_update_under_load_loses_no_request() {
    let cluster = Cluster::alone(SKEP, 3);
    web(&cluster);
    let load = Load::new(addresses(&cluster), REQUESTS_A_SECOND);
    let counted = |page: &str| load.seen().answers.get(page).copied().unwrap_or_default();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| cluster.lab.in_network("outside", || load.run()));
        // Whatever fails here, the load ends with it.
        let stop = Stop(&load);
        cluster.until("the load is there", || counted("page 1\n") > 500);
        update(&cluster, 2, "start-first", "1");
        update(&cluster, 3, "stop-first", "2");
        // Fewer tasks and more again: the same promise.
        cluster.skep("node-1", &["service", "scale", "-q", "web=2"]);
        cluster.skep("node-1", &["service", "scale", "-q", "web=6"]);
        let seen = counted("page 3\n");
        cluster.until("the last ones answer", || counted("page 3\n") > seen + 500);
        drop(stop);
        sending.join().unwrap().unwrap();
    });
    let seen = load.seen();
    assert!(seen.lost.is_empty(), "{seen:#?}");
    let pages: Vec<&String> = seen.answers.keys().collect();
    assert_eq!(pages, ["page 1\n", "page 2\n", "page 3\n"]);
}

#[test]
fn who_is_connected_when_a_task_drains_is_answered_before_it_stops() {
    let log = "--log-level=info,skep_worker=debug";
    let cluster = Cluster::up_with(SKEP, 1, 1, &[log]);
    load_image(&cluster, &programs::nginx(1)[0]);
    let publish = format!("{PORT}:80");
    let on = ["--constraint", "node.role==worker", "--publish", &publish];
    create(&cluster, "web", &[&on[..], &["web:1"]].concat());
    let address = cluster.lab.address("node-1").unwrap();
    let address = SocketAddr::from((address, PORT));
    cluster.until("it answers", || {
        cluster
            .lab
            .in_network("outside", || ask::get(address).is_ok())
            .unwrap()
    });
    // It is busy, and the kernel takes the next client in.
    let pid = runs(&cluster, "web")["pid"].clone();
    let signal = |signal: &str| {
        let kill = format!("kill -{signal} $(cat /proc/{pid}/task/{pid}/children)");
        let ended = cluster.run("node-2", &["sh", "-c", &kill]);
        assert_eq!(ended.code, 0, "{}", ended.err);
    };
    signal("STOP");
    let connected = || TcpStream::connect(address);
    let connected = cluster.lab.in_network("outside", connected);
    let mut client = connected.unwrap().unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    cluster.skep("node-1", &["service", "scale", "-d", "web=0"]);
    cluster.until("its stop waits for the client", || {
        let log = cluster.lab.logs("node-2").unwrap();
        String::from_utf8_lossy(&log).contains("connections are to be accepted")
    });
    signal("CONT");
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("page 1\n"), "{answer}");
    cluster.until("it stops then", || {
        let tasks = cluster.try_list("node-1", &["service", "ps", "web"]);
        tasks.is_some_and(|tasks| tasks.iter().all(|task| task["state"] != "running"))
    });
}

#[test]
fn redis_is_reached_by_its_name_from_another_node() {
    let cluster = Cluster::up(SKEP, 3, 0);
    load_image(&cluster, &programs::redis());
    cluster.skep("node-1", &["network", "create", "-d", "overlay", "back"]);
    let on = ["--network", "back", "--constraint"];
    let store = [&on[..], &["node.hostname==node-2", "redis:7"]].concat();
    create(&cluster, "store", &store);
    let counting = ["redis-cli", "-h", "store", "-r", "-1", "-i", "0.05"];
    let client = ["node.hostname==node-3", "redis:7"];
    let client = [&on[..], &client, &counting, &["incr", "hits"]].concat();
    create(&cluster, "client", &client);
    let hits = || printed(&cluster, "store", &["redis-cli", "get", "hits"]);
    cluster.until("the other service counts", || {
        hits().parse().is_ok_and(|hits: u64| hits > 20)
    });
    // The task is another one, the name is the same: who asks again by it is served.
    let before = runs(&cluster, "store")["id"].clone();
    cluster.skep("node-1", &["service", "update", "-q", "--force", "store"]);
    assert_ne!(runs(&cluster, "store")["id"], before);
    cluster.until("the client counts on, from the beginning", || {
        hits().parse().is_ok_and(|hits: u64| hits > 20)
    });
    let names = ["redis-cli", "-h", "tasks.store", "ping"];
    assert_eq!(printed(&cluster, "client", &names), "PONG");
}

/// Runs a statement; gives what it selects.
fn sql(cluster: &Cluster, statement: &str) -> String {
    let psql = ["/usr/lib/postgresql/15/bin/psql", "-h", "127.0.0.1"];
    let rest = ["-U", "postgres", "-Atc", statement];
    printed(cluster, "db", &[&psql[..], &rest].concat())
}

#[test]
fn postgres_keeps_its_rows_over_a_move_and_the_death_of_its_node() {
    let cluster = Cluster::up(SKEP, 1, 2);
    load_image(&cluster, &programs::postgres());
    let mount = ["--mount", "type=volume,source=rows,target=/rows,sticky"];
    let workers = ["--constraint", "node.role==worker", "postgres:15"];
    create(&cluster, "db", &[&mount[..], &workers].concat());
    let home = runs(&cluster, "db")["node"].as_str().unwrap().to_owned();
    sql(&cluster, "create table kept (id int primary key)");
    sql(&cluster, "insert into kept select generate_series(1, 1000)");

    // Another task.
    let before = runs(&cluster, "db")["id"].clone();
    cluster.skep("node-1", &["service", "update", "-q", "--force", "db"]);
    assert_ne!(runs(&cluster, "db")["id"], before);
    assert_eq!(sql(&cluster, "select count(*) from kept"), "1000");

    // It goes from its node, waits for it, and comes back to its rows.
    let availability = |word| {
        let update = ["node", "update", "--availability", word, &home];
        cluster.skep("node-1", &update);
    };
    let waits = || {
        let tasks = cluster.try_list("node-1", &["service", "ps", "db"]);
        tasks.unwrap_or_default().iter().any(|task| {
            task["state"] == "pending" && task.to_string().contains("sticky volume rows")
        })
    };
    availability("drain");
    cluster.until("it waits for its volume's node", waits);
    availability("active");
    sql(&cluster, "insert into kept values (1001)");
    assert_eq!(runs(&cluster, "db")["node"], home.as_str());

    // A power cut, and what was committed is there.
    sql(&cluster, "insert into kept values (1002)");
    cluster.lab.kill(&home).unwrap();
    cluster.until("it waits for the dead node", waits);
    cluster.start(&home);
    assert_eq!(sql(&cluster, "select count(*) from kept"), "1002");
    assert_eq!(sql(&cluster, "select max(id) from kept"), "1002");
}
