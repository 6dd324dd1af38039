//! The ring closed on one node.

use serde_json::Value;
use skep_harness::cluster::Cluster;

use crate::SKEP;

#[test]
fn a_service_runs_scales_and_goes() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep(
        "node-1",
        &["service", "create", "--name", "web", "skep/hello"],
    );
    let services = cluster.list("node-1", &["service", "ls"]);
    assert_eq!(services[0]["name"], "web");
    assert_eq!(
        (&services[0]["running"], &services[0]["desired"]),
        (&1.into(), &1.into())
    );
    cluster.skep("node-1", &["service", "scale", "web=3"]);
    assert_eq!(cluster.running("node-1", "web").len(), 3);
    cluster.skep("node-1", &["service", "scale", "web=1"]);
    assert_eq!(cluster.running("node-1", "web").len(), 1);
    assert_eq!(
        cluster.list("node-1", &["service", "inspect", "web"])[0]["replicas"],
        1
    );
    cluster.skep("node-1", &["service", "rm", "web"]);
    cluster.until("the service is gone", || {
        cluster
            .try_list("node-1", &["task", "ls"])
            .is_some_and(|tasks| tasks.is_empty())
    });
}

#[test]
fn a_killed_daemon_loses_nothing_and_no_container_notices() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep(
        "node-1",
        &[
            "service",
            "create",
            "--name",
            "web",
            "--replicas",
            "2",
            "skep/hello",
        ],
    );
    let before = cluster.running("node-1", "web");
    for round in 0..3 {
        // What is acknowledged right before the kill must be there after it.
        let name = format!("kept-{round}");
        cluster.skep(
            "node-1",
            &["service", "create", "-d", "--name", &name, "skep/hello"],
        );
        cluster.lab.kill_daemon("node-1").unwrap();
        cluster.start("node-1");
        cluster.until("the acknowledged service runs", || {
            cluster.running("node-1", &name).len() == 1
        });
    }
    let seen = |tasks: &[Value]| -> Vec<_> {
        tasks
            .iter()
            .map(|task| (task["id"].clone(), task["pid"].clone()))
            .collect()
    };
    let after = cluster.running("node-1", "web");
    assert_eq!(
        seen(&before),
        seen(&after),
        "the same containers with the same first process"
    );
}

#[test]
fn a_task_that_ends_is_started_again_after_its_delay() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let args = [
        "service",
        "create",
        "-d",
        "--name",
        "short",
        "--restart-delay",
        "200ms",
    ];
    cluster.skep(
        "node-1",
        &[&args[..], &["skep/hello", "exit", "3"]].concat(),
    );
    cluster.until("it was tried three times", || {
        let tasks = cluster.list("node-1", &["service", "ps", "short"]);
        let ended = |task: &&Value| task["state"] == "failed" && task["exit_code"] == 3;
        tasks.iter().filter(ended).count() >= 3
    });
}

#[test]
fn a_task_over_its_memory_is_killed_and_says_so() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let args = [
        "service",
        "create",
        "-d",
        "--name",
        "big",
        "--limit-memory",
        "16m",
    ];
    let rest = [
        "--restart-condition",
        "none",
        "skep/hello",
        "alloc",
        "67108864",
    ];
    cluster.skep("node-1", &[&args[..], &rest[..]].concat());
    cluster.until("it was killed", || {
        let tasks = cluster.list("node-1", &["service", "ps", "big"]);
        tasks.iter().any(|task| {
            let error = task["error"].as_str().unwrap_or_default();
            task["state"] == "failed" && task["exit_code"] == 137 && error.contains("memory")
        })
    });
}

#[test]
fn more_replicas_than_fit_are_pending_with_the_reason() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let args = [
        "service",
        "create",
        "-d",
        "--name",
        "huge",
        "--reserve-memory",
        "900t",
    ];
    cluster.skep("node-1", &[&args[..], &["skep/hello"]].concat());
    cluster.until("the reason is shown", || {
        let tasks = cluster.list("node-1", &["service", "ps", "huge"]);
        tasks.iter().any(|task| {
            let said = format!("{}{}", task["message"], task["error"]);
            task["state"] == "pending" && said.contains("memory")
        })
    });
}
