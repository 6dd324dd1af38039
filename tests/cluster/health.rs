//! Health checks on real daemons: what is not well is not Running, and is replaced.

use std::process::Command;

use serde_json::Value;
use skep_cli::demo::ask;
use skep_harness::cluster::Cluster;

use crate::SKEP;
use crate::images::given;

const CHECK: [&str; 6] = [
    "--health-interval",
    "200ms",
    "--health-timeout",
    "2s",
    "--health-retries",
    "2",
];

fn tasks(cluster: &Cluster, service: &str) -> Vec<Value> {
    let listed = cluster.try_list("node-1", &["service", "ps", service]);
    listed.unwrap_or_default()
}

fn said(task: &Value) -> String {
    format!("{} {}", task["message"], task["error"])
}

/// A root file system with a shell in it, from this machine.
fn shell_image(cluster: &Cluster) {
    let directory = tempfile::tempdir().unwrap();
    let script = "mkdir -p root/bin root/tmp; cd root; for p in sh cat sleep; do cp /bin/$p bin/; \
        ldd /bin/$p | grep -o '/[^ ]*' | while read l; do mkdir -p .${l%/*}; cp -L $l .$l; done; \
        done; tar -cf ../root.tar .";
    let mut shell = Command::new("sh");
    let made = shell
        .args(["-c", script])
        .current_dir(directory.path())
        .status();
    assert!(made.unwrap().success());
    let archive = std::fs::read(directory.path().join("root.tar")).unwrap();
    let ended = given(
        cluster,
        "node-1",
        &["image", "import", "-", "shell:1"],
        &archive,
    );
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_task_is_starting_until_its_check_succeeds_and_only_then_has_its_name() {
    let cluster = Cluster::up(SKEP, 1, 0);
    shell_image(&cluster);
    cluster.skep("node-1", &["network", "create", "front"]);
    let create = [
        "service",
        "create",
        "-d",
        "--name",
        "app",
        "--network",
        "front",
    ];
    let check = [
        "--health-cmd",
        "cat /tmp/well",
        "--health-start-period",
        "60s",
        "--health-start-interval",
        "100ms",
    ];
    let run = ["shell:1", "sleep", "100000"];
    cluster.skep("node-1", &[&create[..], &CHECK, &check, &run].concat());
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
    cluster.until("it starts and says what its check said", || {
        let starting =
            |task: &Value| task["state"] == "starting" && said(task).contains("No such file");
        tasks(&cluster, "app").iter().any(starting)
    });
    let client = cluster.running("node-1", "client").remove(0);
    let pid = u32::try_from(client["pid"].as_u64().unwrap_or_default()).unwrap();
    let addresses = || {
        let asked = cluster
            .lab
            .in_network_of("node-1", pid, || ask::resolve("tasks.app").is_ok());
        asked.unwrap_or(false)
    };
    assert!(!addresses(), "it has its name before it is well");
    let inside = tasks(&cluster, "app")[0]["pid"]
        .as_u64()
        .unwrap_or_default();
    let made = cluster.run(
        "node-1",
        &["touch", &format!("/proc/{inside}/root/tmp/well")],
    );
    assert_eq!(made.code, 0, "{made:?}");
    cluster.until("it runs", || cluster.running("node-1", "app").len() == 1);
    cluster.until("it has its name", addresses);
}

#[test]
fn what_is_not_well_any_more_is_replaced_and_says_why() {
    let cluster = Cluster::up(SKEP, 1, 0);
    shell_image(&cluster);
    let create = [
        "service",
        "create",
        "-d",
        "--name",
        "app",
        "--restart-delay",
        "0s",
        "--stop-grace-period",
        "500ms",
    ];
    let check = ["--health-cmd", "! cat /tmp/sick"];
    let run = ["shell:1", "sleep", "100000"];
    cluster.skep("node-1", &[&create[..], &CHECK, &check, &run].concat());
    cluster.until("it runs", || cluster.running("node-1", "app").len() == 1);
    let first = cluster.running("node-1", "app").remove(0);
    let pid = first["pid"].as_u64().unwrap_or_default();
    let script = format!("echo it hurts > /proc/{pid}/root/tmp/sick");
    assert_eq!(cluster.run("node-1", &["sh", "-c", &script]).code, 0);
    cluster.until("another one runs", || {
        let tasks = cluster.running("node-1", "app");
        tasks.len() == 1 && tasks[0]["id"] != first["id"]
    });
    let failed = tasks(&cluster, "app")
        .into_iter()
        .find(|task| task["id"] == first["id"]);
    let failed = failed.unwrap();
    assert_eq!(failed["state"], "failed", "{failed}");
    let why = said(&failed);
    assert!(
        why.contains("unhealthy") && why.contains("it hurts"),
        "{why}"
    );
}
