//! Rolling updates on real daemons: from one version to the next, and back.

use serde_json::Value;
use skep_harness::cluster::{Cluster, Ended};

use crate::SKEP;

/// Settings that make a test wait no longer than it must.
const QUICK: [&str; 4] = ["--update-monitor", "1s", "--rollback-monitor", "1s"];

fn create(cluster: &Cluster, replicas: &str, more: &[&str]) {
    let args = ["service", "create", "--name", "web", "--replicas", replicas];
    cluster.skep(
        "node-1",
        &[&args[..], &QUICK, more, &["skep/hello"]].concat(),
    );
}

fn update(cluster: &Cluster, on: &str, more: &[&str]) -> Ended {
    let args = ["service", "update", "web"];
    cluster.attempt(on, &[&args[..], more].concat())
}

fn history(cluster: &Cluster) -> Vec<Value> {
    cluster.list("node-1", &["rollout", "history", "web"])
}

/// Tasks that run and are to run, made with this variable.
fn running_with(cluster: &Cluster, on: &str, version: &str) -> usize {
    let tasks = cluster.running(on, "web");
    let made = |task: &&Value| {
        let id = task["id"].as_str().unwrap_or_default();
        let template = "{{range .Spec.ContainerSpec.Env}}{{.}} {{end}}";
        let shown = cluster.attempt(on, &["task", "inspect", id, "--format", template]);
        shown.out.contains(version)
    };
    tasks.iter().filter(made).count()
}

#[test]
fn three_replicas_are_replaced_one_by_one_and_two_run_all_the_time() {
    let cluster = Cluster::up(SKEP, 1, 2);
    create(&cluster, "3", &[]);
    let begun = update(
        &cluster,
        "node-1",
        &["-d", "--env-add", "V=2", "--reason", "v2"],
    );
    assert_eq!(begun.code, 0, "{}", begun.err);
    let mut least = 3;
    cluster.until("the update is completed", || {
        least = least.min(cluster.running("node-1", "web").len());
        let rows = cluster.try_list("node-1", &["rollout", "history", "web"]);
        rows.is_some_and(|rows| rows[1]["state"] == "completed")
    });
    assert!(least >= 2, "only {least} ran");
    assert_eq!(running_with(&cluster, "node-1", "V=2"), 3);
    let rows = history(&cluster);
    assert_eq!(rows[1]["why"], "v2");
    assert!(rows[1]["by"].as_str().unwrap().contains('@'));
    let again = update(&cluster, "node-1", &["--env-add", "V=2"]);
    assert_eq!(again.code, 0);
    assert!(again.err.contains("nothing to do"), "{}", again.err);
    assert_eq!(history(&cluster).len(), 2, "nothing happened");
}

#[test]
fn a_version_that_exits_at_once_pauses_or_goes_back_and_the_code_tells() {
    let cluster = Cluster::up(SKEP, 1, 1);
    create(&cluster, "3", &[]);
    let bad = ["--args", "exit 3", "--update-order", "start-first"];
    let plan = update(&cluster, "node-1", &["--plan", "--args", "exit 3"]);
    assert_eq!(plan.code, 2, "{}", plan.err);
    assert!(plan.out.contains("args:"), "{}", plan.out);
    // What never runs takes nobody's place.
    let missing = ["--entrypoint", "/missing", "--update-order", "start-first"];
    let paused = update(&cluster, "node-1", &missing);
    assert_eq!(paused.code, 11, "{}", paused.err);
    assert!(paused.err.contains("/missing"), "{}", paused.err);
    assert_eq!(
        cluster.running("node-1", "web").len(),
        3,
        "the old ones serve"
    );
    let status = cluster.attempt("node-1", &["rollout", "status", "web"]);
    assert_eq!(status.code, 11);
    let back = cluster.attempt("node-1", &["rollout", "undo", "web"]);
    assert_eq!(back.code, 0, "{}", back.err);
    let action = ["--update-failure-action", "rollback"];
    let rolled = update(&cluster, "node-1", &[&bad[..], &action].concat());
    assert_eq!(rolled.code, 10, "{}", rolled.err);
    let rows = history(&cluster);
    assert_eq!(rows.last().unwrap()["by"], "skep");
    assert_eq!(rows.last().unwrap()["state"], "rollback_completed");
    assert_eq!(cluster.running("node-1", "web").len(), 3);
}

#[test]
fn an_update_goes_on_under_a_new_leader_and_the_watch_with_it() {
    let cluster = Cluster::up(SKEP, 3, 0);
    create(&cluster, "4", &["--update-delay", "1s"]);
    let nodes = cluster.list("node-1", &["node", "ls"]);
    let leader = nodes.iter().find(|node| node["manager"] == "leader");
    let leader = leader.unwrap()["name"].as_str().unwrap().to_owned();
    let other = if leader == "node-1" {
        "node-2"
    } else {
        "node-1"
    };
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| update(&cluster, other, &["--env-add", "V=2"]));
        cluster.until("the first is replaced", || {
            running_with(&cluster, other, "V=2") >= 1
        });
        cluster.lab.kill_daemon(&leader).unwrap();
        let ended = watching.join().unwrap();
        assert_eq!(ended.code, 0, "{}", ended.err);
    });
    assert_eq!(running_with(&cluster, other, "V=2"), 4);
}

#[test]
fn a_rollback_takes_up_what_was_before() {
    let cluster = Cluster::up(SKEP, 1, 1);
    create(&cluster, "2", &["--env", "V=1"]);
    assert_eq!(update(&cluster, "node-1", &["--env-add", "V=2"]).code, 0);
    assert_eq!(running_with(&cluster, "node-1", "V=2"), 2);
    let back = cluster.attempt("node-1", &["service", "rollback", "web"]);
    assert_eq!(back.code, 0, "{}", back.err);
    assert_eq!(running_with(&cluster, "node-1", "V=1"), 2);
    let forth = ["rollout", "undo", "web", "--to", "2", "--output", "json"];
    let forth = cluster.attempt("node-1", &forth);
    assert_eq!(forth.code, 0, "{}", forth.err);
    let last: Value = serde_json::from_str(forth.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["end"], "converged");
    assert_eq!(running_with(&cluster, "node-1", "V=2"), 2);
    let unknown = cluster.attempt("node-1", &["rollout", "undo", "web", "--to", "77"]);
    assert_eq!(unknown.code, 15);
    assert!(unknown.err.contains("77"), "{}", unknown.err);
}

#[test]
fn every_other_end_has_its_code() {
    let cluster = Cluster::up(SKEP, 1, 1);
    create(&cluster, "2", &[]);
    let nowhere = ["--constraint-add", "node.hostname==mars"];
    let unplaced = update(
        &cluster,
        "node-1",
        &[
            &nowhere[..],
            &["--update-order", "start-first", "--timeout", "3s"],
        ]
        .concat(),
    );
    assert_eq!(unplaced.code, 13, "{}", unplaced.err);
    assert_eq!(
        cluster.running("node-1", "web").len(),
        2,
        "the old ones serve"
    );
    let late = update(
        &cluster,
        "node-1",
        &[
            "--constraint-rm",
            "node.hostname==mars",
            "--update-monitor",
            "30s",
            "--timeout",
            "1s",
        ],
    );
    assert_eq!(late.code, 12, "{}", late.err);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            update(
                &cluster,
                "node-1",
                &["--env-add", "V=2", "--update-delay", "60s"],
            )
        });
        cluster.until("it has begun", || {
            running_with(&cluster, "node-1", "V=2") >= 1
        });
        assert_eq!(
            update(&cluster, "node-1", &["-d", "--env-add", "V=3"]).code,
            0
        );
        let ended = watching.join().unwrap();
        assert_eq!(ended.code, 14, "{}", ended.err);
    });
    let paused = cluster.attempt("node-1", &["rollout", "pause", "web", "--reason", "lunch"]);
    assert_eq!(paused.code, 0, "{}", paused.err);
    let status = cluster.attempt("node-1", &["rollout", "status", "web"]);
    assert_eq!(status.code, 11);
    assert!(status.err.contains("lunch"), "{}", status.err);
    let refused = update(&cluster, "node-1", &["--limit-memory", "1k"]);
    assert_eq!(refused.code, 15, "{}", refused.err);
    let nobody = [
        "-H",
        "unix:///run/skep/nobody.sock",
        "rollout",
        "status",
        "web",
    ];
    assert_eq!(cluster.attempt("node-1", &nobody).code, 16);
}

#[test]
fn twenty_replicas_at_once_run_anew_without_waiting_for_each_other() {
    let cluster = Cluster::up(SKEP, 1, 1);
    create(&cluster, "20", &["--update-parallelism", "0"]);
    let ended = update(
        &cluster,
        "node-1",
        &["--env-add", "V=2", "--timeout", "50s"],
    );
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(running_with(&cluster, "node-1", "V=2"), 20);
}
