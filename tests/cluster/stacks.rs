//! Stacks of services on real daemons.

use std::path::{Path, PathBuf};

use serde_json::Value;
use skep_harness::cluster::{Cluster, Ended};

use crate::SKEP;

/// Two services on a network of their own, the second behind the first, and one that nothing waits for.
const SHOP: &str = "services:
  db:
    image: skep/hello
    networks: [back]
  web:
    image: skep/hello
    networks: [back, default]
    depends_on:
      db: {condition: service_healthy}
    environment: {GREETING: \"${GREETING:-hello}\"}
    ports: [\"8085:80\"]
    deploy: {replicas: 2}
  old:
    image: skep/hello
networks:
  back: {internal: true}
";

/// Files that all nodes see: a node of a lab has the machine's files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(compose: &str) -> Self {
        // Not in /tmp: that is a node's own.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = Self(tempfile::tempdir_in(target).unwrap());
        folder.write(compose);
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("compose.yaml")
    }

    fn write(&self, compose: &str) {
        std::fs::write(self.file(), compose).unwrap();
    }

    /// Runs `skep stack WORDS -c FILE shop` on node-1.
    fn stack(&self, cluster: &Cluster, words: &[&str]) -> Ended {
        let file = self.file();
        let files = ["-c", file.to_str().unwrap(), "shop"];
        cluster.attempt("node-1", &[&["stack"], words, &files].concat())
    }
}

fn ids(cluster: &Cluster, service: &str) -> Vec<Value> {
    let tasks = cluster.running("node-1", service);
    tasks.into_iter().map(|task| task["id"].clone()).collect()
}

fn names(cluster: &Cluster, args: &[&str]) -> Vec<String> {
    let rows = cluster.list("node-1", args);
    let names = rows.iter().filter_map(|row| row["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Version and revision of every service: a write of any of them changes it.
fn versions(cluster: &Cluster) -> Vec<(Value, Value)> {
    let services = cluster.list(
        "node-1",
        &["service", "inspect", "shop_db", "shop_old", "shop_web"],
    );
    let version = |sheet: &Value| (sheet["version"].clone(), sheet["revision"].clone());
    services.iter().map(version).collect()
}

#[test]
fn a_stack_is_made_changed_and_removed() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let folder = Folder::new(SHOP);

    let would = folder.stack(&cluster, &["diff"]);
    assert_eq!(would.code, 2, "{would:?}");
    assert!(would.out.contains("+ network shop_back") && would.out.contains("+ service shop_web"));
    assert!(
        cluster.list("node-1", &["stack", "ls"]).is_empty(),
        "a diff makes nothing"
    );

    let made = folder.stack(&cluster, &["deploy"]);
    assert_eq!(made.code, 0, "{made:?}\n{}", cluster.logs());
    let position = |text: &str| made.out.find(text).unwrap();
    assert!(position("Creating service shop_db") < position("Creating service shop_web"));
    assert_eq!(
        names(&cluster, &["stack", "services", "shop"]),
        ["shop_db", "shop_old", "shop_web"]
    );
    assert_eq!(cluster.list("node-1", &["stack", "ls"])[0]["services"], 3);
    assert_eq!(cluster.list("node-1", &["stack", "ps", "shop"]).len(), 4);
    assert_eq!(ids(&cluster, "shop_web").len(), 2);

    // The same files again: nothing is written, no task is touched.
    let (before, tasks) = (versions(&cluster), ids(&cluster, "shop_web"));
    let again = folder.stack(&cluster, &["deploy"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.err.contains("nothing to do"), "{again:?}");
    assert_eq!(folder.stack(&cluster, &["deploy", "--plan"]).code, 0);
    assert_eq!(
        (versions(&cluster), ids(&cluster, "shop_web")),
        (before, tasks.clone())
    );

    // One more replica of one service: the others stay as they are.
    folder.write(&SHOP.replace("replicas: 2", "replicas: 3"));
    let would = folder.stack(&cluster, &["deploy", "--plan"]);
    assert_eq!(would.code, 2, "{would:?}");
    assert!(would.out.contains("~ service shop_web") && !would.out.contains("shop_db"));
    assert_eq!(folder.stack(&cluster, &["deploy"]).code, 0);
    let scaled = ids(&cluster, "shop_web");
    assert_eq!(scaled.len(), 3);
    assert!(
        tasks.iter().all(|task| scaled.contains(task)),
        "old tasks run on"
    );

    // A service that the files no longer name goes with --prune only.
    let without = SHOP.replace("  old:\n    image: skep/hello\n", "");
    folder.write(&without.replace("replicas: 2", "replicas: 3"));
    assert_eq!(folder.stack(&cluster, &["deploy"]).code, 0);
    assert_eq!(ids(&cluster, "shop_old").len(), 1);
    let pruned = folder.stack(&cluster, &["deploy", "--prune"]);
    assert!(
        pruned.out.contains("Removing service shop_old"),
        "{pruned:?}"
    );
    assert_eq!(
        names(&cluster, &["stack", "services", "shop"]),
        ["shop_db", "shop_web"]
    );

    cluster.skep("node-1", &["stack", "rm", "shop"]);
    assert!(cluster.list("node-1", &["stack", "ls"]).is_empty());
    let left = names(&cluster, &["network", "ls"]);
    assert!(
        !left.iter().any(|name| name.starts_with("shop_")),
        "{left:?}"
    );
    assert_ne!(cluster.attempt("node-1", &["stack", "ps", "shop"]).code, 0);
}

#[test]
fn what_cannot_be_deployed_is_refused_before_anything_happens() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let folder = Folder::new(SHOP);
    cluster.skep(
        "node-1",
        &["service", "create", "--name", "shop_db", "skep/hello"],
    );
    for (compose, code, expected) in [
        (SHOP.to_owned(), 15, "belongs to no stack"),
        (
            SHOP.replace("image:", "imag:"),
            15,
            "did you mean \"image\"?",
        ),
        (
            SHOP.replace("db:\n", "other:\n"),
            15,
            "there is no service \"db\"",
        ),
        (
            SHOP.replace("{internal: true}", "{external: true}")
                .replace("  db:", "  db2:")
                .replace("db: {", "db2: {"),
            15,
            "network \"back\" is external and does not exist",
        ),
        (
            format!("{SHOP}secrets: {{s: {{external: true}}}}\n")
                .replace("  old:\n", "  old:\n    secrets: [s]\n"),
            15,
            "secret \"s\" is external and does not exist",
        ),
    ] {
        folder.write(&compose);
        let refused = folder.stack(&cluster, &["deploy"]);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.err.contains(expected), "{expected}: {refused:?}");
        assert_eq!(names(&cluster, &["service", "ls"]), ["shop_db"]);
    }
    let missing = cluster.attempt(
        "node-1",
        &["stack", "deploy", "-c", "/none/such.yaml", "shop"],
    );
    assert_eq!(missing.code, 15, "{missing:?}");
    assert!(
        missing.err.contains("/none/such.yaml does not exist"),
        "{missing:?}"
    );
    folder.write(SHOP);
    let file = folder.file();
    let away = [
        "-H",
        "unix:///run/none.sock",
        "stack",
        "deploy",
        "-c",
        file.to_str().unwrap(),
        "shop",
    ];
    assert_eq!(cluster.attempt("node-1", &away).code, 16, "nobody answers");
}

#[test]
fn a_service_without_a_place_and_one_that_takes_too_long_end_with_their_codes() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let folder = Folder::new(
        "services:\n  a:\n    image: skep/hello\n    deploy: {placement: {constraints: [node.labels.none==such]}}\n",
    );
    let nowhere = folder.stack(&cluster, &["deploy"]);
    assert_eq!(nowhere.code, 13, "{nowhere:?}");
    folder.write("services: {b: {image: skep/hello}}\n");
    let late = folder.stack(&cluster, &["deploy", "--timeout", "1ms"]);
    assert_eq!(late.code, 12, "{late:?}");
}

#[test]
fn the_example_of_the_built_in_image_runs() {
    let cluster = Cluster::up(SKEP, 1, 0);
    let folder = Folder::new("services: {}\n");
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/hello/compose.yaml");
    std::fs::copy(example, folder.file()).unwrap();
    let made = folder.stack(&cluster, &["deploy"]);
    assert_eq!(made.code, 0, "{made:?}\n{}", cluster.logs());
    assert_eq!(ids(&cluster, "shop_hello").len(), 3);
}
