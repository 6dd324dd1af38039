//! Volumes on real daemons: what outlives what, and who says so.

use serde_json::Value;
use skep_harness::cluster::Cluster;

use crate::SKEP;

fn create(cluster: &Cluster, name: &str, options: &[&str], rest: &[&str]) {
    let before = ["service", "create", "-d", "--name", name];
    cluster.skep(
        "node-1",
        &[&before[..], options, &["skep/hello"], rest].concat(),
    );
}

/// The only task of a service that runs.
fn runs(cluster: &Cluster, service: &str) -> Value {
    cluster.until("it runs", || cluster.running("node-1", service).len() == 1);
    cluster.running("node-1", service).remove(0)
}

fn tasks(cluster: &Cluster, service: &str) -> Vec<Value> {
    let listed = cluster.try_list("node-1", &["service", "ps", service]);
    listed.unwrap_or_default()
}

fn said(task: &Value) -> String {
    format!("{} {}", task["message"], task["error"])
}

fn volume_path(cluster: &Cluster, node: &str, volume: &str) -> String {
    let found = cluster.skep(
        node,
        &["volume", "inspect", volume, "--format", "{{.Mountpoint}}"],
    );
    found.trim().to_owned()
}

#[test]
fn what_a_task_left_in_a_named_volume_is_there_for_the_next_and_the_volume_is_kept() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let mount = "type=volume,source=rows,target=/rows";
    create(&cluster, "keeper", &["--mount", mount], &[]);
    let task = runs(&cluster, "keeper");
    assert!(
        said(&task).contains("volume rows is new on this node"),
        "{task}"
    );
    let path = volume_path(&cluster, "node-1", "rows");
    let wrote = cluster.run("node-1", &["sh", "-c", &format!("echo kept > {path}/file")]);
    assert_eq!(wrote.code, 0, "{wrote:?}");
    let refused = cluster.attempt("node-1", &["volume", "rm", "rows"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("rows is used by keeper.1"),
        "{refused:?}"
    );
    cluster.skep("node-1", &["service", "rm", "keeper"]);
    create(
        &cluster,
        "reader",
        &["--mount", "type=volume,source=rows,target=/r,ro"],
        &[],
    );
    let task = runs(&cluster, "reader");
    assert!(!said(&task).contains("new on this node"), "{task}");
    let pid = task["pid"].as_u64().unwrap_or_default();
    let read = cluster.run("node-1", &["cat", &format!("/proc/{pid}/root/r/file")]);
    assert_eq!(read.out, "kept\n", "{read:?}");
    cluster.skep("node-1", &["service", "rm", "reader"]);
    cluster.until("nothing uses it and it can be removed", || {
        cluster.attempt("node-1", &["volume", "rm", "rows"]).code == 0
    });
    assert_eq!(cluster.list("node-1", &["volume", "ls"]).len(), 0);
}

#[test]
fn a_volume_without_a_name_goes_with_its_task() {
    let cluster = Cluster::up(SKEP, 1, 0);
    create(&cluster, "app", &["--mount", "target=/scratch"], &[]);
    runs(&cluster, "app");
    assert_eq!(cluster.list("node-1", &["volume", "ls"]).len(), 1);
    cluster.skep("node-1", &["service", "rm", "app"]);
    cluster.until("it is gone", || {
        cluster.list("node-1", &["volume", "ls"]).is_empty()
    });
}

#[test]
fn a_mount_source_that_is_missing_rejects_the_task_with_path_and_node() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let mount = "type=bind,source=/no/such/place,target=/srv";
    create(&cluster, "app", &["--mount", mount], &[]);
    cluster.until("a task was rejected for it", || {
        tasks(&cluster, "app").iter().any(|task| {
            task["state"] == "rejected" && said(task).contains("/no/such/place on node node-1")
        })
    });
}

#[test]
fn a_sticky_volume_is_waited_for_and_its_task_says_so() {
    let cluster = Cluster::up(SKEP, 1, 2);
    let options = [
        "--mount",
        "type=volume,source=rows,target=/rows,sticky",
        "--constraint",
        "node.role==worker",
    ];
    create(&cluster, "keeper", &options, &[]);
    let task = runs(&cluster, "keeper");
    let home = task["node"].as_str().unwrap().to_owned();
    let path = volume_path(&cluster, &home, "rows");
    cluster.run(&home, &["sh", "-c", &format!("echo kept > {path}/file")]);
    cluster.lab.kill(&home).unwrap();
    cluster.until("its task waits and says for what", || {
        let waits =
            |task: &Value| task["state"] == "pending" && said(task).contains("sticky volume rows");
        tasks(&cluster, "keeper").iter().any(waits)
    });
    cluster.start(&home);
    cluster.until("it runs where its volume is", || {
        let tasks = cluster.running("node-1", "keeper");
        tasks.len() == 1 && tasks[0]["node"] == home.as_str()
    });
    let pid = cluster.running("node-1", "keeper")[0]["pid"]
        .as_u64()
        .unwrap_or_default();
    cluster.until("what was written is there", || {
        let read = cluster.run(&home, &["cat", &format!("/proc/{pid}/root/rows/file")]);
        read.out == "kept\n"
    });
}

#[test]
fn commands_of_volumes_refuse_with_a_reason() {
    let cluster = Cluster::bare(SKEP, 1);
    let refused = |args: &[&str], words: &str| {
        let ended = cluster.attempt("node-1", args);
        assert_eq!(ended.code, 1, "{args:?}: {ended:?}");
        assert!(ended.err.contains(words), "{args:?}: {ended:?}");
    };
    refused(&["volume", "rm", "none"], "there is no volume none");
    refused(&["volume", "create", "-d", "ceph", "rows"], "local");
    refused(
        &["volume", "create", "-o", "size=1g", "rows"],
        "type, device, o",
    );
    refused(&["volume", "create", "a/b"], "a/b");
    refused(&["volume", "prune"], "--force");
    cluster.skep("node-1", &["volume", "create", "--label", "team=a", "rows"]);
    cluster.skep("node-1", &["volume", "create"]);
    cluster.skep("node-1", &["volume", "prune", "--force"]);
    assert_eq!(
        cluster.skep("node-1", &["volume", "ls", "-q"]).trim(),
        "rows"
    );
    cluster.skep(
        "node-1",
        &[
            "volume",
            "prune",
            "--all",
            "--force",
            "--filter",
            "label!=team",
        ],
    );
    assert_eq!(cluster.list("node-1", &["volume", "ls"]).len(), 1);
    cluster.skep("node-1", &["volume", "rm", "--force", "none", "rows"]);
}
