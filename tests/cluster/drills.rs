//! Drills on real daemons: each kind is measured as others see it, and everything is put back, also when whoever
//! began it dies.

mod days;
mod disks;
mod observer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use skep_cli::demo::ask;
use skep_harness::cluster::{Cluster, Ended, node};

use self::observer::{Between, closed, observed, open};
use crate::SKEP;

/// A busy machine recovers within this, and a command of a test may take longer.
const PATIENT: [&str; 4] = ["--max-recovery", "100s", "--probe-timeout", "10s"];
/// Exit code: it was not begun.
const REFUSED: i32 = 15;

fn service(cluster: &Cluster, name: &str, args: &[&str]) {
    let args = [
        &["service", "create", "--name", name],
        args,
        &["skep/hello"],
    ]
    .concat();
    cluster.skep("node-1", &args);
}

/// A task that was killed stays away for long enough to be missed by everybody.
fn web(cluster: &Cluster, replicas: &str) {
    let args = ["--replicas", replicas, "--publish", "8080:80"];
    service(
        cluster,
        "web",
        &[&args[..], &["--restart-delay", "1s"]].concat(),
    );
}

/// Holds a drill that must come to a verdict, and gives its report. One that is refused has changed nothing, and is
/// asked for again: a machine that is busy may need a while until all is whole.
fn drill(cluster: &Cluster, mut on: impl FnMut() -> String, args: &[&str]) -> (i32, Value) {
    let args = [&["drill"], args, &["--output", "json"]].concat();
    let mut last = None;
    cluster.until(&format!("{args:?} is begun"), || {
        let ended = cluster.attempt(&on(), &args);
        let begun = ended.code != REFUSED;
        last = Some(ended);
        begun
    });
    let ended = last.unwrap();
    let read = serde_json::from_str(&ended.out);
    let report = read.unwrap_or_else(|_| panic!("{args:?}: {ended:?}\n{}", cluster.logs()));
    (ended.code, report)
}

fn passes(cluster: &Cluster, on: impl FnMut() -> String, args: &[&str]) -> Value {
    let args = [args, &PATIENT].concat();
    let (code, report) = drill(cluster, on, &args);
    assert_eq!(code, 0, "{args:?}: {report:#}\n{}", cluster.logs());
    assert_eq!(report["verdict"], "passed");
    report
}

fn millis(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// When the failure was, and so long after it what was measured.
fn at(report: &Value, measured: &str) -> i64 {
    millis(&report["failed_at_ms"]) + millis(&report["measured"][measured])
}

/// When this happened last by the cluster's own history, in milliseconds since 1970.
fn event(cluster: &Cluster, on: &str, kind: &str, action: &str, name: &str) -> Between {
    let args = [
        "events", "--format", "json", "--since", "rev:0", "--until", "0s",
    ];
    let text = cluster.skep(on, &args);
    let mut all = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is = |event: &Value| {
        let of = &event["Actor"]["Attributes"];
        let named = of["name"].as_str().unwrap_or_default();
        event["Type"] == kind && event["Action"] == action && named.starts_with(name)
    };
    let found = all.rfind(is);
    let found = found.unwrap_or_else(|| panic!("no {kind} {action} {name}: {text}"));
    let at = found["timeNano"].as_i64().unwrap() / 1_000_000;
    (at, at)
}

fn whole(cluster: &Cluster, on: &str, replicas: usize) {
    cluster.until("all is as before", || {
        cluster.running(on, "web").len() == replicas
            && cluster
                .try_list(on, &["node", "ls"])
                .is_some_and(|nodes| nodes.iter().all(|node| node["state"] == "ready"))
    });
}

fn refused(cluster: &Cluster, on: &str, args: &[&str], why: &[&str]) {
    for command in [vec!["drill"], vec!["drill", "plan"]] {
        let ended: Ended = cluster.attempt(on, &[&command[..], args].concat());
        assert_eq!(ended.code, REFUSED, "{command:?} {args:?}: {ended:?}");
        let said = format!("{}{}", ended.out, ended.err);
        for why in why {
            assert!(
                said.contains(why),
                "{command:?} {args:?}: no \"{why}\" in {said}"
            );
        }
    }
}

/// A manager to ask on that neither leads nor is `spared`.
fn asked_on(cluster: &Cluster, spared: &str) -> String {
    let mut other = None;
    cluster.until("there is another manager than the leader", || {
        let nodes = (1..=3).find_map(|number| cluster.try_list(&node(number), &["node", "ls"]));
        let nodes = nodes.unwrap_or_default();
        let found = nodes
            .iter()
            .find(|node| node["manager"] == "reachable" && node["name"] != spared);
        other = found.and_then(|node| Some(node["name"].as_str()?.to_owned()));
        other.is_some()
    });
    other.unwrap()
}

/// Processes of the tasks of these services, once there are so many.
fn pids(cluster: &Cluster, on: &str, services: &[&str], tasks: usize) -> Vec<i64> {
    let mut pids = Vec::new();
    cluster.until("all tasks have a process", || {
        let running = services.iter().flat_map(|name| cluster.running(on, name));
        pids = running.filter_map(|task| task["pid"].as_i64()).collect();
        pids.sort_unstable();
        pids.len() == tasks
    });
    pids
}

#[test]
fn a_task_and_a_daemon_are_measured_as_others_see_them() {
    let cluster = Cluster::up(SKEP, 3, 1);
    web(&cluster, "4");
    let on = asked_on(&cluster, "");
    let task = || passes(&cluster, || on.clone(), &["task", "web.1"]);
    let (report, outside) = observed(&cluster, &[], task);
    let failed = event(&cluster, &on, "task", "failed", "web.1");
    let running = event(&cluster, &on, "task", "running", "web.1");
    outside.agrees("a task's end", at(&report, "detected_ms"), failed);
    outside.agrees("a task's next", at(&report, "replaced_ms"), running);
    assert_eq!(report["services"][0]["lowest"], 3, "{report:#}");
    assert!(millis(&report["requests"]["sent"]) > 0);

    whole(&cluster, &on, 4);
    let before = pids(&cluster, &on, &["web"], 4);
    let args = ["restart-daemon", "node-4", "--max-lost", "0"];
    let report = passes(&cluster, || on.clone(), &args);
    assert_eq!(report["services"][0]["lowest"], 4, "{report:#}");
    assert_eq!(pids(&cluster, &on, &["web"], 4), before, "containers stay");
    let log = cluster.lab.logs("node-4").unwrap();
    let log = String::from_utf8_lossy(&log);
    assert_eq!(
        log.matches("the daemon is ready").count(),
        2,
        "it began again: {log}"
    );
}

#[test]
fn nodes_that_are_cut_off_are_measured_as_others_see_them() {
    let cluster = Cluster::up(SKEP, 3, 1);
    web(&cluster, "4");
    for (kind, target) in [("link", "node-4"), ("node", "node-3")] {
        whole(&cluster, "node-1", 4);
        let args = [kind, target, "--for", "10s"];
        let hold = || passes(&cluster, || asked_on(&cluster, target), &args);
        let (report, outside) = observed(&cluster, &[target], hold);
        let seen = outside.of(target);
        outside.agrees("the failure", millis(&report["failed_at_ms"]), seen.closed);
        outside.agrees("its end", at(&report, "lasted_ms"), seen.opened);
        let down = event(&cluster, "node-1", "node", "down", target);
        outside.agrees("seen down", at(&report, "detected_ms"), down);
        assert!(
            millis(&report["measured"]["lasted_ms"]) >= 10_000,
            "{report:#}"
        );
        // The others answer, save where they lead to what is not known to be gone.
        assert!(millis(&report["requests"]["sent"]) > millis(&report["requests"]["lost"]));
    }
    whole(&cluster, "node-1", 4);
    let managers = ["node-1", "node-2", "node-3"];
    let args = ["leader", "--for", "12s"];
    let hold = || passes(&cluster, || asked_on(&cluster, ""), &args);
    let (report, outside) = observed(&cluster, &managers, hold);
    let seen = outside.of(report["drill"]["target"].as_str().unwrap());
    outside.agrees("the failure", millis(&report["failed_at_ms"]), seen.closed);
    let led = millis(&report["measured"]["leader_ms"]);
    assert!(
        led > 0 && led < millis(&report["measured"]["lasted_ms"]),
        "another leads while it is cut off: {report:#}"
    );
    whole(&cluster, "node-1", 4);
    kept(&cluster);
}

/// What was held is kept, with its report.
fn kept(cluster: &Cluster) {
    let kept = cluster.list("node-1", &["drill", "ls"]);
    let kinds: Vec<&str> = kept.iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["leader", "node", "link"]);
    assert!(
        kept.iter()
            .all(|one| one["verdict"] == "passed" && one["state"] == "ended")
    );
    let id = kept[0]["id"].as_str().unwrap();
    let shown = cluster.list("node-1", &["drill", "inspect", id]);
    assert_eq!(shown[0]["report"]["drill"]["kind"], "leader");
    let page = "/tmp/drill.html";
    let args = ["drill", "inspect", "--pretty", "--report", page, id];
    cluster.skep("node-1", &args);
    let page = cluster.run("node-1", &["cat", page]).out;
    assert!(
        page.contains("<svg") && page.contains("Drill leader of"),
        "{page}"
    );
}

/// Begins a drill in a shell that can be killed, and waits until its failure is there.
fn begun(cluster: &Cluster, on: &str, node: &str, lasts: &str) -> std::process::Child {
    begun_as(cluster, on, "node", node, lasts, || closed(cluster, node))
}

fn begun_as(
    cluster: &Cluster,
    on: &str,
    kind: &str,
    node: &str,
    lasts: &str,
    failed: impl FnMut() -> bool,
) -> std::process::Child {
    let program = std::path::Path::new(SKEP).file_name().unwrap();
    let program = program.to_str().unwrap();
    let line = format!(
        "echo $$ > /tmp/driver; exec {program} drill {kind} {node} --for {lasts} --max-recovery 10m"
    );
    cluster.until("nothing speaks against the drill", || {
        let plan = ["drill", "plan", kind, node];
        cluster.attempt(on, &plan).code == 0
    });
    let child = cluster.lab.spawn(on, &["sh", "-c", &line]).unwrap();
    cluster.until("the failure is there", failed);
    child
}

fn killed(cluster: &Cluster, on: &str, mut driver: std::process::Child) {
    cluster.run(on, &["sh", "-c", "kill -9 $(cat /tmp/driver)"]);
    let begin = Instant::now();
    while driver.try_wait().unwrap().is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "the driver is gone"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_drill_ends_by_itself_when_its_driver_or_the_daemon_dies() {
    let cluster = Cluster::up(SKEP, 1, 2);
    web(&cluster, "3");
    let driver = begun(&cluster, "node-1", "node-3", "15s");
    killed(&cluster, "node-1", driver);
    let back = || open(&cluster, "node-3");
    cluster.until("the node lets everything pass again", back);
    whole(&cluster, "node-1", 3);
    // Its lease still runs, so that nobody else disturbs what may be measured; who knows better ends it.
    let running = cluster.list("node-1", &["drill", "ls"]);
    assert_eq!(running[0]["state"], "running");
    refused(
        &cluster,
        "node-1",
        &["task", "web"],
        &["another drill goes on", "drill stop"],
    );
    cluster.skep("node-1", &["drill", "stop"]);

    // The daemon dies in the middle: the cut goes with it, and it is not taken up again.
    let driver = begun(&cluster, "node-1", "node-3", "300s");
    cluster.lab.kill_daemon("node-3").unwrap();
    cluster.start("node-3");
    cluster.until("the node lets everything pass again", back);
    whole(&cluster, "node-1", 3);
    killed(&cluster, "node-1", driver);
    let stopped = cluster.attempt("node-1", &["drill", "stop"]);
    assert!(
        stopped.code == 0 || stopped.err.contains("no drill goes on"),
        "{stopped:?}"
    );
    let address = SocketAddr::from((cluster.lab.address("node-3").unwrap(), 8080));
    cluster.until("the node answers for its services", || {
        cluster
            .lab
            .in_network("outside", || ask::get(address))
            .unwrap()
            .is_ok()
    });
}

/// Services of [`services_on_one_node`].
const PLACED: [&str; 4] = ["web", "only", "kept", "once"];

/// Two of `web`, and services that have all they need on node-3 alone.
fn services_on_one_node(cluster: &Cluster) {
    web(cluster, "2");
    let placed = |name: &str, args: &[&str]| {
        let here = ["--constraint", "node.hostname==node-3"];
        let quick = ["--restart-delay", "0s"];
        service(cluster, name, &[&here[..], &quick, args].concat());
    };
    placed("only", &["--label", "drill.minimum=0"]);
    placed("kept", &["--label", "drill=never"]);
    let once = ["--restart-condition", "none", "--label", "drill.minimum=0"];
    placed("once", &once);
}

#[test]
fn what_must_not_fail_is_refused_before_anything_happens() {
    let cluster = Cluster::up(SKEP, 1, 2);
    services_on_one_node(&cluster);
    let before = pids(&cluster, "node-1", &PLACED, 5);
    let minimum = [
        "service",
        "update",
        "-d",
        "--label-add",
        "drill.minimum=2",
        "web",
    ];
    cluster.skep("node-1", &minimum);
    for (args, why) in [
        (&["leader"][..], &["is a manager", "needs 1"][..]),
        (&["restart-daemon", "node-1"], &["you ask through node-1"]),
        (
            &["node", "node-3"],
            &[
                "only.1 would find no other place",
                "service \"kept\" has the label drill=never",
            ],
        ),
        (&["task", "kept"], &["drill=never"]),
        (&["task", "once"], &["--restart-condition none"]),
        (
            &["task", "web"],
            &["left with 1 of 2 tasks", "its minimum is 2"],
        ),
        (
            &["task", "wbe"],
            &["no service and no task \"wbe\"", "near it is \"web\""],
        ),
        (&["link", "node-9"], &["node-9", "skep node ls"]),
        (
            &["link", "node-2", "--for", "2h"],
            &["between 1 s and 600 s"],
        ),
    ] {
        refused(&cluster, "node-1", args, why);
    }
    let odd = ["drill", "task", "only", "--report", "/tmp/x.pdf"];
    let odd = cluster.attempt("node-1", &odd);
    assert!(odd.code != 0 && odd.err.contains(".html"), "{odd:?}");
    let elsewhere = cluster.attempt("node-2", &["drill", "task", "only"]);
    assert!(
        elsewhere.code == REFUSED && elsewhere.err.contains("ask a manager instead"),
        "{elsewhere:?}"
    );
    assert_eq!(
        pids(&cluster, "node-1", &PLACED, 5),
        before,
        "nothing was touched"
    );
    assert!(cluster.list("node-1", &["drill", "ls"]).is_empty());
}

#[test]
fn a_plan_changes_nothing_and_a_budget_that_is_not_kept_fails_the_drill() {
    let cluster = Cluster::up(SKEP, 1, 1);
    service(
        &cluster,
        "only",
        &["--label", "drill.minimum=0", "--restart-delay", "0s"],
    );
    let pid = || pids(&cluster, "node-1", &["only"], 1);
    let before = pid();
    let plan = cluster.skep("node-1", &["drill", "plan", "task", "only"]);
    assert!(
        plan.contains("all programs of only.1 on") && plan.contains("are killed"),
        "{plan}"
    );
    assert_eq!(pid(), before);
    let args = [
        "task",
        "only",
        "--max-recovery",
        "1ms",
        "--report",
        "/tmp/drill.json",
    ];
    let (code, report) = drill(&cluster, || "node-1".into(), &args);
    assert_eq!(
        (code, report["verdict"].as_str()),
        (1, Some("failed")),
        "{report:#}"
    );
    let why = report["reasons"][0].as_str().unwrap();
    assert!(why.contains("1 ms are allowed"), "{report:#}");
    let written = cluster.run("node-1", &["cat", "/tmp/drill.json"]).out;
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), report);
}
