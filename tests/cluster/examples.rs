//! The stacks of `deploy/examples`, as they stand there, on three nodes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use skep_cli::demo::ask;
use skep_harness::cluster::{Cluster, node};
use skep_harness::examples;

use crate::SKEP;

/// Three nodes that have these images.
fn with_images(images: &[PathBuf]) -> Cluster {
    let cluster = Cluster::up(SKEP, 3, 0);
    for archive in images {
        let file = archive.to_str().unwrap();
        cluster.skep("node-1", &["image", "load", "-q", "-i", file]);
    }
    cluster
}

/// Deploys the stack of a folder until all of it runs.
fn deploy(cluster: &Cluster, name: &str, settings: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let file = folder.join(name).join("compose.yaml");
    let file = file.canonicalize().unwrap();
    let program = Path::new(SKEP).file_name().unwrap().to_str().unwrap();
    let words = [
        "stack",
        "deploy",
        "--timeout",
        "170s",
        "-c",
        file.to_str().unwrap(),
        name,
    ];
    let ended = cluster.run("node-1", &[&["env"], settings, &[program], &words].concat());
    if ended.code == 0 {
        return;
    }
    let mut said = cluster
        .attempt("node-1", &["stack", "ps", "--no-trunc", name])
        .out;
    for service in cluster.list("node-1", &["stack", "services", name]) {
        let service = service["name"].as_str().unwrap();
        let logs = cluster.attempt("node-1", &["service", "logs", "--tail", "20", service]);
        said.push_str(&logs.out);
        said.push_str(&logs.err);
    }
    panic!("{ended:?}\n{said}\n{}", cluster.logs());
}

/// What every node answers from outside on a port.
fn until_all_answer(cluster: &Cluster, port: u16, text: &str) {
    for number in 1..=3 {
        let address = SocketAddr::from((cluster.lab.address(&node(number)).unwrap(), port));
        cluster.until("a node answers", || {
            let asked = cluster.lab.in_network("outside", || ask::get(address));
            asked.unwrap().is_ok_and(|page| page.contains(text))
        });
    }
}

/// What a program in the container of one task of a service prints.
fn inside(cluster: &Cluster, service: &str, argv: &[&str]) -> String {
    let tasks = cluster.running("node-1", service);
    let Some(task) = tasks.first() else {
        return String::new();
    };
    let (pid, on) = (task["pid"].to_string(), task["node"].as_str().unwrap());
    let enter = ["nsenter", "-t", &pid, "-m", "-n", "--"];
    cluster.run(on, &[&enter[..], argv].concat()).out
}

#[test]
fn voting_reaches_its_queue_and_its_database_and_no_more() {
    let cluster = with_images(&examples::voting());
    deploy(&cluster, "voting", &[]);
    until_all_answer(&cluster, 5000, "vote");
    until_all_answer(&cluster, 5001, "result");
    assert_eq!(cluster.running("node-1", "voting_worker").len(), 2);
}

#[test]
fn blog_has_its_settings_its_secret_and_its_tables() {
    let cluster = with_images(&examples::blog("6"));
    deploy(&cluster, "blog", &["BLOG_VERSION=6", "BLOG_PORT=8099"]);
    until_all_answer(&cluster, 8099, "blog");
}

#[test]
fn monitoring_finds_the_exporter_of_every_node_by_its_name() {
    let cluster = with_images(&examples::monitoring());
    // What the refusal of a mount that is to follow its source's says where the source is private.
    for number in 1..=3 {
        let shared = cluster.run(&node(number), &["mount", "--make-rshared", "/"]);
        assert_eq!(shared.code, 0, "{}", shared.err);
    }
    deploy(&cluster, "monitoring", &[]);
    until_all_answer(&cluster, 3000, "figures");
    let asked = "http://127.0.0.1:9090/api/v1/query?query=count(up==1)";
    let ask = ["busybox", "wget", "-q", "-O", "-", asked];
    cluster.until("three exporters are read", || {
        inside(&cluster, "monitoring_store", &ask).contains("\"3\"]")
    });
}

#[test]
fn proxy_leads_to_both_versions_from_every_node() {
    let cluster = with_images(&examples::proxy());
    deploy(&cluster, "proxy", &[]);
    assert_eq!(cluster.running("node-1", "proxy_proxy").len(), 3);
    until_all_answer(&cluster, 80, "green");
    let blue = cluster.running("node-1", "proxy_blue");
    let blue = &blue[0]["id"].as_str().unwrap()[..12];
    until_all_answer(&cluster, 80, blue);
}
