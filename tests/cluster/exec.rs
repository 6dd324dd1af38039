//! Programs that run in a task's container, asked for from anywhere.

use std::fmt::Write;

use skep_harness::cluster::{Cluster, Ended};

use crate::SKEP;
use crate::archive::{PROGRAM, shell_root};
use crate::images::given;

/// A cluster with a service "box" of so many tasks that can run a shell.
pub fn boxes(managers: usize, workers: usize) -> Cluster {
    let cluster = Cluster::up(SKEP, managers, workers);
    let ended = given(
        &cluster,
        "node-1",
        &["image", "import", "-", "box:1"],
        &shell_root("box"),
    );
    assert_eq!(ended.code, 0, "{}", ended.err);
    let replicas = (managers + workers).to_string();
    let create = [
        "service",
        "create",
        "-d",
        "--name",
        "box",
        "--replicas",
        &replicas,
    ];
    cluster.skep(
        "node-1",
        &[&create[..], &["box:1", PROGRAM, "100000"]].concat(),
    );
    cluster.until("all tasks run", || {
        cluster.running("node-1", "box").len() == managers + workers
    });
    cluster
}

/// Ids of the tasks and their nodes.
pub fn tasks(cluster: &Cluster) -> Vec<(String, String)> {
    let tasks = cluster.running("node-1", "box");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    tasks
        .iter()
        .map(|task| (text(&task["id"]), text(&task["node"])))
        .collect()
}

fn exec(cluster: &Cluster, on: &str, options: &[&str], task: &str, command: &[&str]) -> Ended {
    cluster.attempt(on, &[&["task", "exec"], options, &[task], command].concat())
}

#[test]
fn any_manager_runs_a_program_in_any_task() {
    let cluster = boxes(2, 1);
    let script = "echo $COLOUR; pwd; echo oops >&2; exit 7";
    for (task, node) in tasks(&cluster) {
        for on in ["node-1", "node-2"] {
            let options = ["-e", "COLOUR=red", "-w", "/etc"];
            let ended = exec(&cluster, on, &options, &task, &["sh", "-c", script]);
            let seen = (ended.code, ended.out.as_str(), ended.err.as_str());
            assert_eq!(
                seen,
                (7, "red\n/etc\n", "oops\n"),
                "on {on}, task on {node}"
            );
        }
    }
    let (task, _) = tasks(&cluster).pop().unwrap();
    let check = |command: &[&str], code: i32, words: &str| {
        let ended = exec(&cluster, "node-2", &[], &task, command);
        assert_eq!(ended.code, code, "{command:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{command:?}: {}", ended.err);
    };
    check(&["no-such-program"], 127, "not found");
    check(&["/etc/mark", "1"], 126, "");
    let unknown = exec(&cluster, "node-1", &[], "zzz", &["sh"]);
    assert!(
        unknown.code != 0 && unknown.err.contains("zzz"),
        "{}",
        unknown.err
    );
    let worker = exec(&cluster, "node-3", &[], &task, &["sh"]);
    assert!(worker.err.contains("skep container exec"), "{}", worker.err);

    let mut sent = String::new();
    for number in 0..100_000 {
        writeln!(sent, "line {number}").unwrap();
    }
    let cat = ["task", "exec", "-i", &task, "cat"];
    let ended = given(&cluster, "node-2", &cat, sent.as_bytes());
    assert_eq!(
        (ended.code, ended.out.len()),
        (0, sent.len()),
        "{}",
        ended.err
    );
    assert!(ended.out == sent);

    let words = "stty rows 41 cols 101; skep-tested task exec -it TASK sh -c 'stty size; tty=$(stty -a) && echo raw && exit 3'";
    let words = words.replace("TASK", &task);
    let ended = cluster.run("node-2", &["script", "-qec", &words, "/dev/null"]);
    assert!(ended.out.contains("41 101"), "{}{}", ended.out, ended.err);
    assert_eq!(ended.code, 3, "{}{}", ended.out, ended.err);
}

#[test]
fn a_task_on_a_node_that_dies_ends_the_program_with_a_sentence() {
    let cluster = boxes(1, 1);
    let all = tasks(&cluster);
    let (task, _) = all.iter().find(|(_, node)| node == "node-2").unwrap();
    let name = std::path::Path::new(SKEP)
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let argv = [
        name,
        "task",
        "exec",
        task,
        "sh",
        "-c",
        "echo ready; sleep 1000",
    ];
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = cluster.lab.command("node-1", &argv).unwrap();
    command
        .stdout(log.reopen().unwrap())
        .stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    cluster.until("the program runs", || {
        std::fs::read_to_string(log.path()).unwrap() == "ready\n"
    });
    cluster.lab.kill("node-2").unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("connection"), "{said}");
    cluster.until("the node is down", || cluster.ready() == 1);
    let later = exec(&cluster, "node-1", &[], task, &["sh"]);
    assert!(
        later.code != 0 && !later.err.trim().is_empty(),
        "{}",
        later.err
    );
}

#[test]
fn a_node_shows_and_steers_its_own_containers() {
    let cluster = boxes(1, 0);
    let (task, _) = tasks(&cluster).pop().unwrap();
    let list = cluster.list("node-1", &["container", "ls"]);
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["id"], task.as_str());
    let name = list[0]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("box.1."), "{name}");
    let table = cluster.skep("node-1", &["container", "ls"]);
    assert!(
        table.contains("CONTAINER ID") && table.contains("Up"),
        "{table}"
    );
    let top = cluster.skep("node-1", &["container", "top", &name]);
    assert!(
        top.contains("/bin/sleep 100000") && top.contains("PPID"),
        "{top}"
    );
    let stats = cluster.skep("node-1", &["container", "stats", "--no-stream"]);
    assert!(
        stats.contains("MEM USAGE / LIMIT") && stats.contains(&name),
        "{stats}"
    );
    let inside = cluster.skep("node-1", &["container", "exec", &name, "cat", "/etc/mark"]);
    assert_eq!(inside, "box");

    cluster.skep("node-1", &["container", "pause", &name]);
    let table = cluster.skep("node-1", &["container", "ls"]);
    assert!(table.contains("Up (Paused)"), "{table}");
    let paused = cluster.attempt("node-1", &["container", "exec", &name, "sh"]);
    assert!(paused.err.contains("paused"), "{}", paused.err);
    let again = cluster.attempt("node-1", &["container", "pause", &name]);
    assert!(again.err.contains("paused already"), "{}", again.err);
    cluster.skep("node-1", &["container", "unpause", &name]);

    cluster.skep("node-1", &["container", "kill", &name]);
    cluster.until("it has ended and another took its place", || {
        let all = cluster
            .try_list("node-1", &["container", "ls", "-a"])
            .unwrap_or_default();
        let ended = |one: &serde_json::Value| one["id"] == task.as_str() && one["exit_code"] == 137;
        all.iter().any(ended) && cluster.running("node-1", "box").len() == 1
    });
}
