//! Images that a node is given, known and fetched in the whole cluster.

use std::collections::BTreeSet;
use std::io::{Seek, Write};

use serde_json::Value;
use skep_harness::cluster::{Cluster, Ended};

use crate::SKEP;
use crate::archive::{PROGRAM, docker_save, oci_layout, root};

/// Runs `skep ARGS` in a node with these bytes as its standard input.
pub(crate) fn given(cluster: &Cluster, on: &str, args: &[&str], bytes: &[u8]) -> Ended {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(bytes).unwrap();
    input.rewind().unwrap();
    let name = std::path::Path::new(SKEP).file_name().unwrap();
    let argv = [&[name.to_str().unwrap()], args].concat();
    let mut command = cluster.lab.command(on, &argv).unwrap();
    let output = command.stdin(input).output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn import(cluster: &Cluster, on: &str, name: &str) {
    let ended = given(cluster, on, &["image", "import", "-", name], &root(name));
    assert_eq!(ended.code, 0, "{}{}", ended.err, cluster.logs());
}

fn create(cluster: &Cluster, name: &str, replicas: &str, image: &str) {
    let before = [
        "service",
        "create",
        "-d",
        "--name",
        name,
        "--replicas",
        replicas,
    ];
    let after = [image, PROGRAM, "100000"];
    cluster.skep("node-1", &[&before[..], &after[..]].concat());
}

fn nodes(tasks: &[Value]) -> BTreeSet<String> {
    let names = tasks.iter().filter_map(|task| task["node"].as_str());
    names.map(str::to_owned).collect()
}

/// How many nodes hold an image.
fn holding(cluster: &Cluster, name: &str) -> Option<u64> {
    let images = cluster.try_list("node-1", &["image", "ls"])?;
    let image = images.iter().find(|image| image["name"] == name)?;
    image["nodes"].as_u64()
}

#[test]
fn an_image_that_one_worker_was_given_runs_everywhere_and_outlives_that_worker() {
    let cluster = Cluster::up(SKEP, 1, 2);
    import(&cluster, "node-3", "app:1");
    assert_eq!(holding(&cluster, "app:1"), Some(1));
    create(&cluster, "app", "3", "app:1");
    cluster.until("three nodes run it", || {
        nodes(&cluster.running("node-1", "app")).len() == 3
    });
    cluster.until("three nodes hold it", || {
        holding(&cluster, "app:1") == Some(3)
    });
    cluster.lab.kill("node-3").unwrap();
    cluster.until("the others run it", || {
        let tasks = cluster.running("node-1", "app");
        tasks.len() == 3 && !nodes(&tasks).contains("node-3")
    });
}

#[test]
fn an_image_whose_only_holder_is_down_is_waited_for() {
    let cluster = Cluster::up(SKEP, 1, 1);
    import(&cluster, "node-2", "app:1");
    cluster.until("it is known who holds it", || {
        holding(&cluster, "app:1") == Some(1)
    });
    cluster.lab.kill("node-2").unwrap();
    cluster.until("node-2 is down", || cluster.ready() == 1);
    create(&cluster, "app", "1", "app:1");
    cluster.until("the task says who holds it", || {
        let tasks = cluster.list("node-1", &["service", "ps", "app"]);
        let said = |task: &Value| format!("{} {}", task["message"], task["error"]);
        tasks
            .iter()
            .any(|task| said(task).contains("is held only by node-2, which is down"))
    });
    let waiting = cluster.list("node-1", &["service", "ps", "app"]);
    cluster.start("node-2");
    cluster.until("it goes on by itself", || {
        cluster.running("node-1", "app").len() == 1
    });
    let running = cluster.running("node-1", "app");
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["id"], running[0]["id"], "no attempt was used up");
}

#[test]
fn archives_of_both_kinds_are_loaded_and_a_wrong_one_leaves_nothing() {
    let cluster = Cluster::up(SKEP, 1, 1);
    let layer = root("layout");
    let load = |on: &str, bytes: &[u8]| given(&cluster, on, &["image", "load"], bytes);
    let whole = oci_layout("layout:1", &layer, &layer);
    let mut spoilt = layer.clone();
    spoilt[600] ^= 1;
    let wrong = oci_layout("wrong:1", &layer, &spoilt);
    for bad in [&b"no archive"[..], &whole[..whole.len() / 2], &wrong] {
        let ended = load("node-2", bad);
        assert_ne!(ended.code, 0);
        assert!(ended.err.trim().len() > 20, "a sentence: {}", ended.err);
        assert_eq!(ended.err.trim().lines().count(), 1, "{}", ended.err);
    }
    assert_eq!(holding(&cluster, "layout:1"), None);
    assert_eq!(holding(&cluster, "wrong:1"), None);

    let ended = load("node-2", &whole);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended = load("node-1", &docker_save("saved:1", &root("saved")));
    assert_eq!(ended.code, 0, "{}", ended.err);
    for name in ["layout", "saved"] {
        create(&cluster, name, "2", &format!("{name}:1"));
        cluster.until("both nodes run it", || {
            nodes(&cluster.running("node-1", name)).len() == 2
        });
    }
}

#[test]
fn a_name_means_what_it_meant_and_what_is_nowhere_is_refused() {
    let cluster = Cluster::up(SKEP, 1, 1);
    import(&cluster, "node-1", "app:1");
    let args = ["image", "import", "-", "app:1"];
    let ended = given(&cluster, "node-2", &args, &root("another"));
    assert_ne!(ended.code, 0);
    assert!(ended.err.contains("use another name"), "{}", ended.err);
    let ended = cluster.attempt(
        "node-1",
        &["service", "create", "-d", "--name", "none", "nowhere:1"],
    );
    assert_ne!(ended.code, 0);
    assert!(ended.err.contains("nowhere:1"), "{}", ended.err);
}
