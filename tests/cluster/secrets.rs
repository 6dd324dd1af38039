//! Secrets and configs on real daemons: who sees them, what is on disk, and what a rotation does.

use std::path::{Path, PathBuf};

use serde_json::Value;
use skep_harness::cluster::{Cluster, Ended};

use crate::SKEP;
use crate::archive::shell_root;
use crate::images::given;

/// Directories of a node in which the daemon keeps something.
const KEPT: [&str; 2] = ["/run/lab/store", "/run/skep"];
/// Waits until its secret is another, after a signal, and says what it is.
const LISTENS: &str = "trap 'echo heard $(cat /run/secrets/key)' HUP; echo ready; \
                       while :; do sleep 0.05; done";

fn cluster(managers: usize, workers: usize) -> Cluster {
    let cluster = Cluster::up(SKEP, managers, workers);
    let import = ["image", "import", "-", "box:1"];
    let ended = given(&cluster, "node-1", &import, &shell_root("box"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    cluster
}

/// Runs `skep ARGS FILE` where the file holds `content`.
fn filed(cluster: &Cluster, args: &[&str], content: &str) -> Ended {
    given(
        cluster,
        "node-1",
        &[args, &["-"]].concat(),
        content.as_bytes(),
    )
}

fn create(cluster: &Cluster, kind: &str, name: &str, content: &str) {
    let ended = filed(cluster, &[kind, "create", name], content);
    assert_eq!(ended.code, 0, "{}", ended.err);
}

fn run(cluster: &Cluster, name: &str, options: &[&str], script: &str) {
    let create = ["service", "create", "-d", "--name", name];
    let image = ["box:1", "sh", "-c", script];
    cluster.skep("node-1", &[&create, options, &image].concat());
}

fn only(cluster: &Cluster, service: &str) -> Value {
    cluster.until("it runs", || cluster.running("node-1", service).len() == 1);
    cluster.running("node-1", service).remove(0)
}

/// What a shell says in the only task of a service.
fn inside(cluster: &Cluster, service: &str, script: &str) -> String {
    let task = only(cluster, service);
    let id = task["id"].as_str().unwrap();
    cluster.skep("node-1", &["task", "exec", id, "sh", "-c", script])
}

fn logs(cluster: &Cluster, service: &str) -> String {
    cluster.attempt("node-1", &["service", "logs", service]).out
}

/// Files of a node that hold `text`.
fn holders(cluster: &Cluster, node: &str, text: &str) -> String {
    let found = cluster.run(node, &[&["grep", "-rlaF", text], &KEPT[..]].concat());
    found.out
}

#[test]
fn a_task_sees_its_files_as_asked_and_only_its_node_holds_them() {
    let cluster = cluster(1, 2);
    create(&cluster, "secret", "key", "open-sesame-77");
    create(&cluster, "config", "page", "welcome-to-page-88");
    let options = [
        "--constraint",
        "node.hostname==node-2",
        "--secret",
        "key",
        "--secret",
        "source=key,target=/etc/keys/deep,uid=103,gid=104,mode=0400",
        "--config",
        "page",
        "--read-only",
    ];
    run(&cluster, "app", &options, "sleep 100000");
    assert_eq!(
        inside(&cluster, "app", "cat /run/secrets/key"),
        "open-sesame-77"
    );
    assert_eq!(
        inside(&cluster, "app", "cat /etc/keys/deep"),
        "open-sesame-77"
    );
    assert_eq!(inside(&cluster, "app", "cat /page"), "welcome-to-page-88");
    let modes = inside(
        &cluster,
        "app",
        "ls -ln /run/secrets/key /etc/keys/deep /page",
    );
    let modes = modes.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(modes.contains("-r--r--r-- 1 0 0 14"), "{modes}");
    assert!(modes.contains("-r-------- 1 103 104 14"), "{modes}");
    let refused = inside(
        &cluster,
        "app",
        "echo x 2>&1 >/run/secrets/key || echo refused",
    );
    assert!(refused.contains("refused"), "{refused}");
    // In memory alone: no file of any node holds them, neither those of a worker nor a manager's log.
    for node in ["node-1", "node-2", "node-3"] {
        for text in ["open-sesame-77", "welcome-to-page-88"] {
            assert_eq!(holders(&cluster, node, text), "", "{text} on {node}");
        }
        let mounts = cluster.run(node, &["cat", "/proc/mounts"]).out;
        assert!(!mounts.contains("ramfs"), "{mounts}");
    }
    let shown = cluster.skep("node-1", &["secret", "inspect", "key"]);
    assert!(
        !shown.contains("content") && !shown.contains("sesame"),
        "{shown}"
    );
    let shown = &cluster.list("node-1", &["config", "inspect", "page"])[0];
    assert_eq!(shown["content"], "welcome-to-page-88");
    assert_eq!(shown["services"][0], "app");
}

#[test]
fn a_rotation_replaces_the_file_and_the_process_hears_of_it() {
    let cluster = cluster(1, 1);
    create(&cluster, "secret", "key", "first");
    run(&cluster, "app", &["--secret", "key"], LISTENS);
    let before = only(&cluster, "app");
    cluster.until("it listens", || logs(&cluster, "app").contains("ready"));
    let rotate = ["secret", "rotate", "--signal", "SIGHUP", "key"];
    let ended = filed(&cluster, &rotate, "second");
    assert_eq!(ended.code, 0, "{ended:?}");
    cluster.until("the signal comes behind the new content", || {
        logs(&cluster, "app").contains("heard second")
    });
    assert!(!logs(&cluster, "app").contains("heard first"));
    // Without a signal: the file alone.
    let ended = filed(&cluster, &["secret", "rotate", "key"], "third");
    assert_eq!(ended.code, 0, "{ended:?}");
    cluster.until("the file is another", || {
        inside(&cluster, "app", "cat /run/secrets/key") == "third"
    });
    assert_eq!(only(&cluster, "app")["id"], before["id"], "the same task");
    assert!(!logs(&cluster, "app").contains("heard third"));
    cluster.until("what was before is revoked", || {
        let shown = &cluster.list("node-1", &["secret", "inspect", "key"])[0];
        let revoked: Vec<_> = shown["revisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["revoked"].as_bool().unwrap())
            .collect();
        revoked == [true, true, false]
    });
    let again = filed(&cluster, &["secret", "rotate", "key"], "third");
    assert!(again.err.contains("nothing changed"), "{again:?}");
}

#[test]
fn a_rolling_rotation_makes_new_tasks_and_revokes_the_old_content_at_the_end() {
    let cluster = cluster(1, 1);
    create(&cluster, "config", "page", "one");
    run(
        &cluster,
        "app",
        &["--config", "source=page,target=/etc/page"],
        "echo $(cat /etc/page); sleep 100000",
    );
    let before = only(&cluster, "app");
    let ended = filed(&cluster, &["config", "rotate", "--rolling", "page"], "two");
    assert!(ended.code == 0 && ended.err.contains("app"), "{ended:?}");
    cluster.until("another task has the new one", || {
        let running = cluster.running("node-1", "app");
        running.len() == 1
            && running[0]["id"] != before["id"]
            && logs(&cluster, "app").contains("two")
    });
    cluster.until("the old one is revoked", || {
        let shown = &cluster.list("node-1", &["config", "inspect", "page"])[0];
        shown["revisions"][0]["revoked"] == true && shown["revisions"][1]["tasks"] == 1
    });
}

#[test]
fn a_killed_daemon_leaves_containers_their_secret_and_a_new_task_gets_it_again() {
    let cluster = cluster(1, 1);
    create(&cluster, "secret", "key", "kept-in-memory");
    let options = ["--secret", "key", "--constraint", "node.hostname==node-2"];
    run(&cluster, "app", &options, LISTENS);
    let before = only(&cluster, "app");
    cluster.lab.kill_daemon("node-2").unwrap();
    let pid = before["pid"].as_u64().unwrap();
    let path = format!("/proc/{pid}/root/run/secrets/key");
    assert_eq!(cluster.run("node-2", &["cat", &path]).out, "kept-in-memory");
    cluster.start("node-2");
    cluster.until("the node is ready", || cluster.ready() == 2);
    assert_eq!(only(&cluster, "app")["id"], before["id"]);
    let rotate = ["secret", "rotate", "--signal", "HUP", "key"];
    assert_eq!(filed(&cluster, &rotate, "after-the-kill").code, 0);
    cluster.until("it hears of a rotation after that too", || {
        logs(&cluster, "app").contains("heard after-the-kill")
    });
    cluster.skep("node-1", &["service", "update", "-d", "--force", "app"]);
    cluster.until("a new task runs", || {
        let running = cluster.running("node-1", "app");
        running.len() == 1 && running[0]["id"] != before["id"]
    });
    assert_eq!(
        inside(&cluster, "app", "cat /run/secrets/key"),
        "after-the-kill"
    );
    assert_eq!(holders(&cluster, "node-2", "kept-in-memory"), "");
}

#[test]
fn what_cannot_be_is_refused_with_names_and_numbers() {
    let cluster = cluster(1, 0);
    create(&cluster, "secret", "db-password", "x");
    let refused = |ended: Ended, words: &[&str]| {
        assert_ne!(ended.code, 0, "{ended:?}");
        for word in words {
            assert!(ended.err.contains(word), "{word}: {ended:?}");
        }
    };
    let big = "x".repeat(512_001);
    refused(
        filed(&cluster, &["secret", "create", "big"], &big),
        &["\"big\"", "512000", "500 KiB"],
    );
    refused(
        filed(&cluster, &["config", "create", "none"], ""),
        &["empty"],
    );
    refused(
        filed(&cluster, &["secret", "create", "db-password"], "y"),
        &["\"db-password\" exists", "rotate db-password"],
    );
    let attempt = |args: &[&str]| cluster.attempt("node-1", args);
    let service = ["service", "create", "-d", "--name", "app", "--secret"];
    refused(
        attempt(&[&service[..], &["db_password", "box:1", "sh"]].concat()),
        &["--secret db_password", "near it is \"db-password\""],
    );
    let largest = "y".repeat(1_024_000);
    assert_eq!(
        filed(&cluster, &["config", "create", "large"], &largest).code,
        0
    );
    let options = [
        "--secret",
        "db-password",
        "--config",
        "source=large,target=/l",
    ];
    run(&cluster, "app", &options, "sleep 100000");
    assert!(inside(&cluster, "app", "ls -ln /l").contains(" 1024000 "));
    refused(
        attempt(&["secret", "rm", "db-password"]),
        &["secret \"db-password\"", "service \"app\""],
    );
    cluster.skep(
        "node-1",
        &[
            "service",
            "update",
            "-d",
            "--secret-rm",
            "db-password",
            "app",
        ],
    );
    cluster.until("nothing uses it any more", || {
        attempt(&["secret", "rm", "db-password"]).code == 0
    });
    let data = ["--format", "{{.Spec.Data}}"];
    let small = filed(&cluster, &["config", "create", "small"], "welcome");
    assert_eq!(small.code, 0);
    let data = cluster.skep(
        "node-1",
        &[&["config", "inspect", "small"], &data[..]].concat(),
    );
    assert_eq!(data.trim(), "d2VsY29tZQ==");
    let told = cluster.skep("node-1", &["events", "--since", "10m", "--until", "0s"]);
    for event in ["secret create", "config create", "secret remove"] {
        assert!(told.contains(event), "{event}: {told}");
    }
}

/// Files that all nodes see.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

#[test]
fn a_stack_brings_its_secrets_and_configs_rotates_and_removes_them() {
    let cluster = cluster(1, 0);
    let folder = folder();
    let file: PathBuf = folder.path().join("compose.yaml");
    let compose = "services:
  web:
    image: box:1
    command: [sh, -c, 'echo $$(cat /run/secrets/key /page); sleep 100000']
    secrets: [key]
    configs: [page]
secrets: {key: {file: key.txt}}
configs: {page: {content: hello-1}}
";
    let write = |page: &str, key: &str| {
        std::fs::write(&file, compose.replace("hello-1", page)).unwrap();
        std::fs::write(folder.path().join("key.txt"), key).unwrap();
    };
    let stack = |words: &[&str]| {
        let files = ["-c", file.to_str().unwrap(), "shop"];
        cluster.attempt("node-1", &[&["stack"], words, &files].concat())
    };
    write("hello-1", "key-1");
    let deployed = stack(&["deploy"]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    assert!(
        deployed.out.contains("Creating secret shop_key"),
        "{deployed:?}"
    );
    cluster.until("it has both", || {
        logs(&cluster, "shop_web").contains("key-1hello-1")
    });
    let again = stack(&["deploy"]);
    assert!(again.err.contains("nothing"), "{again:?}");
    let before = only(&cluster, "shop_web");
    write("hello-1", "key-2");
    let plan = stack(&["diff"]);
    assert!(
        plan.code == 2 && plan.out.contains("~ secret shop_key"),
        "{plan:?}"
    );
    let deployed = stack(&["deploy"]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    assert!(
        deployed
            .out
            .contains("Rotating secret shop_key (being updated: shop_web)"),
        "{deployed:?}"
    );
    assert_ne!(only(&cluster, "shop_web")["id"], before["id"]);
    cluster.until("the new task has the new key", || {
        logs(&cluster, "shop_web").contains("key-2hello-1")
    });
    let removed = cluster.attempt("node-1", &["stack", "rm", "shop"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(cluster.list("node-1", &["secret", "ls"]).is_empty());
    assert!(cluster.list("node-1", &["config", "ls"]).is_empty());
}
