//! Logs of services and tasks, read from any manager.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};

use skep_harness::cluster::Cluster;

use crate::SKEP;
use crate::archive::shell_root;
use crate::images::given;

fn cluster(managers: usize, workers: usize) -> Cluster {
    let cluster = Cluster::up(SKEP, managers, workers);
    let import = ["image", "import", "-", "box:1"];
    let ended = given(&cluster, "node-1", &import, &shell_root("box"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    cluster
}

fn create(cluster: &Cluster, options: &[&str], script: &str) {
    let create = ["service", "create", "-d", "--name", "web"];
    let image = ["box:1", "sh", "-c", script];
    cluster.skep("node-1", &[&create, options, &image].concat());
}

/// `skep ARGS` in a node, whose output goes to a file while it runs.
fn begin(cluster: &Cluster, on: &str, args: &[&str], to: &Path) -> Child {
    let name = Path::new(SKEP).file_name().unwrap().to_str().unwrap();
    let mut command = cluster.lab.command(on, &[&[name], args].concat()).unwrap();
    let file = std::fs::File::create(to).unwrap();
    command.stdout(file).stderr(Stdio::piped()).spawn().unwrap()
}

/// Numbers of whole lines `FRONT | line NUMBER` by what stands in front.
fn numbers(text: &str) -> BTreeMap<String, Vec<u32>> {
    let mut all: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let (front, rest) = line
            .split_once(" | line ")
            .unwrap_or_else(|| panic!("{line:?}"));
        all.entry(front.to_owned())
            .or_default()
            .push(rest.trim().parse().unwrap());
    }
    all
}

#[test]
fn every_manager_shows_all_logs_by_time_and_names_a_node_that_is_lost() {
    let cluster = cluster(3, 0);
    let script =
        "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; sleep 100000";
    create(&cluster, &["--replicas", "3"], script);
    let whole = |text: &str| {
        let all = numbers(text);
        all.len() == 3
            && all
                .values()
                .all(|lines| *lines == (0..20).collect::<Vec<_>>())
    };
    for on in ["node-1", "node-2", "node-3"] {
        cluster.until("all lines are there", || {
            let logs = cluster.attempt(on, &["service", "logs", "web"]);
            logs.code == 0 && whole(&logs.out)
        });
        let times = cluster.skep(on, &["service", "logs", "--raw", "-t", "web"]);
        let times: Vec<&str> = times
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(times.len(), 60);
        assert!(times.is_sorted(), "{times:?}");
        let tail = cluster.skep(on, &["service", "logs", "--tail", "2", "web"]);
        assert!(
            numbers(&tail).values().all(|lines| *lines == [18, 19]),
            "{tail}"
        );
        let late = cluster.skep(
            on,
            &["service", "logs", "--since", times[30], "--raw", "web"],
        );
        assert_eq!(late.lines().count(), 30);
        let early = cluster.skep(
            on,
            &["service", "logs", "--until", times[29], "--raw", "web"],
        );
        assert_eq!(early.lines().count(), 30);
    }
    let task = cluster.running("node-1", "web")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let one = cluster.skep("node-2", &["task", "logs", "--no-trunc", &task]);
    assert!(
        one.starts_with("web.") && one.contains(&format!(".{task}@node-")),
        "{one}"
    );
    assert_eq!(numbers(&one).len(), 1);
    let none = cluster.attempt("node-2", &["service", "logs", "nothing"]);
    assert!(
        none.code != 0 && none.err.contains("nothing"),
        "{}",
        none.err
    );

    cluster.lab.kill("node-3").unwrap();
    // Before the managers know, and after.
    for round in 0..2 {
        let logs = cluster.attempt("node-2", &["service", "logs", "web"]);
        assert_ne!(logs.code, 0, "{}", logs.out);
        assert!(logs.err.contains("node-3"), "{round}: {}", logs.err);
        let whole = |lines: &&Vec<u32>| **lines == (0..20).collect::<Vec<_>>();
        assert!(
            numbers(&logs.out).values().filter(whole).count() >= 2,
            "{}",
            logs.out
        );
        cluster.until("node-3 is down", || cluster.ready() == 2);
    }
}

#[test]
fn a_follower_sees_each_line_once_over_rotations_restarts_and_replacements() {
    let cluster = cluster(1, 1);
    let script = "i=0; while :; do j=0; while [ $j -lt 50 ]; do echo line $i; i=$((i+1)); j=$((j+1)); done; \
        sleep 0.02; done";
    let options = [
        "--log-opt",
        "max-size=64k",
        "--log-opt",
        "max-file=500",
        "--restart-delay",
        "100ms",
        "--constraint",
        "node.hostname==node-2",
    ];
    create(&cluster, &options, script);
    cluster.until("it runs", || cluster.running("node-1", "web").len() == 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut child = begin(
        &cluster,
        "node-1",
        &["service", "logs", "-f", "web"],
        file.path(),
    );
    let seen = || numbers(&std::fs::read_to_string(file.path()).unwrap());
    let last =
        |all: &BTreeMap<String, Vec<u32>>| all.values().filter_map(|it| it.last()).max().copied();
    cluster.until("some lines came", || last(&seen()) > Some(1_000));
    cluster.lab.kill_daemon("node-2").unwrap();
    cluster.start("node-2");
    let before = last(&seen());
    cluster.until("it goes on after the restart", || {
        last(&seen()) > before.map(|before| before + 3_000)
    });
    let first = cluster.running("node-1", "web")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster.until("the node's daemon answers", || {
        cluster
            .attempt("node-2", &["container", "kill", &first])
            .code
            == 0
    });
    cluster.until("the next task is followed", || {
        let all = seen();
        all.len() == 2 && all.values().all(|lines| lines.len() > 500)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    for (front, lines) in seen() {
        let expected: Vec<u32> = (0..u32::try_from(lines.len()).unwrap()).collect();
        assert!(lines == expected, "{front}: {} lines", lines.len());
    }
    // The log of the task that ended is still there.
    let ended = cluster.skep("node-1", &["task", "logs", "--tail", "1", &first]);
    assert_eq!(ended.lines().count(), 1, "{ended}");
}

#[test]
fn log_drivers_keep_what_they_are_told_to() {
    let cluster = cluster(1, 0);
    create(
        &cluster,
        &["--log-driver", "none"],
        "echo secret; sleep 100000",
    );
    cluster.until("it runs", || cluster.running("node-1", "web").len() == 1);
    let none = cluster.attempt("node-1", &["service", "logs", "web"]);
    assert!(none.err.contains("log driver is none"), "{}", none.err);
    let log = cluster.list("node-1", &["container", "ls"])[0]["log"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(cluster.run("node-1", &["test", "-e", &log]).code, 0);
    let refuse = |options: &[&str], words: &str| {
        let create = ["service", "create", "-d", "--name", "no"];
        let ended = cluster.attempt("node-1", &[&create, options, &["box:1", "sh"]].concat());
        assert!(
            ended.code != 0 && ended.err.contains(words),
            "{}",
            ended.err
        );
    };
    refuse(&["--log-driver", "journald"], "json-file, local or none");
    refuse(&["--log-opt", "max-size=huge"], "max-size=10m");
    refuse(&["--log-opt", "colour=red"], "max-size and max-file");
}
