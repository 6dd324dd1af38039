//! Images from Debian's docker-registry, on the machine outside of a lab: plain, with TLS of its own, with a login.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use skep_harness::cluster::{Cluster, Ended};
use skep_harness::images::{self, OciImage};
use skep_harness::packages;
use skep_harness::registry::{Kind, Registry};

use crate::SKEP;
use crate::archive::{PROGRAM, root};

fn image(mark: &str) -> OciImage {
    OciImage::new(vec![root(mark)], json!({"Cmd": [PROGRAM, "100000"]}))
}

/// Files that the machines of a lab see: they have a /tmp of their own.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(packages::cache()).unwrap()
}

/// A registry at `outside:PORT`, with `app:1` and `app:2` in it.
fn with_images(port: u16, kind: Kind) -> Registry {
    let registry = Registry::new(port, kind);
    for tag in ["1", "2"] {
        image(tag).put(&registry.store(), "app", tag);
    }
    registry
}

fn create(cluster: &Cluster, name: &str, replicas: &str, rest: &[&str]) {
    let before = [
        "service",
        "create",
        "-d",
        "--name",
        name,
        "--replicas",
        replicas,
    ];
    cluster.skep("node-1", &[&before[..], rest].concat());
}

fn nodes(tasks: &[Value]) -> BTreeSet<String> {
    let names = tasks.iter().filter_map(|task| task["node"].as_str());
    names.map(str::to_owned).collect()
}

/// What a node says of an image of its own.
fn digest_on(cluster: &Cluster, node: &str, name: &str) -> Option<String> {
    let images = cluster.try_list(node, &["image", "ls"])?;
    let here = images
        .iter()
        .find(|image| image["name"] == name && image["here"] == true)?;
    here["digest"].as_str().map(str::to_owned)
}

/// Whether an image is on a node, under whatever name.
fn holds(cluster: &Cluster, node: &str, digest: &str) -> bool {
    let images = cluster.try_list(node, &["image", "ls"]);
    let held = |image: &Value| image["digest"] == digest && image["here"] == true;
    images.is_some_and(|images| images.iter().any(held))
}

/// What the tag of a service's image meant.
fn digest_of(cluster: &Cluster, service: &str) -> String {
    let entry = cluster.list("node-1", &["service", "inspect", service]);
    entry[0]["digest"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn three_nodes_run_the_digest_that_the_tag_meant() {
    let mirror = "--registry-mirror=outside:5000=http://outside:5999";
    let plain = "--insecure-registry=outside:5000";
    let cluster = Cluster::up_with(SKEP, 1, 2, &[plain, mirror]);
    let mut registry = with_images(5000, Kind::Plain);
    registry.start(&cluster);
    let store = registry.store();
    // Node 3 has other content by that name, from when the tag meant that.
    image("2").put(&store, "app", "1");
    cluster.skep("node-3", &["image", "pull", "outside:5000/app:1"]);
    image("1").put(&store, "app", "1");
    create(
        &cluster,
        "app",
        "3",
        &["outside:5000/app:1", PROGRAM, "100000"],
    );
    cluster.until("three nodes run it", || {
        nodes(&cluster.running("node-1", "app")).len() == 3
    });
    assert_eq!(digest_of(&cluster, "app"), image("1").digest());
    for node in ["node-1", "node-2"] {
        let held = digest_on(&cluster, node, "outside:5000/app:1");
        assert_eq!(held, Some(image("1").digest()), "{node}");
    }
    // The tag means something else now: what runs stays what it was.
    image("2").put(&store, "app", "1");
    cluster.skep("node-1", &["service", "scale", "-d", "app=4"]);
    cluster.until("four run", || cluster.running("node-1", "app").len() == 4);
    assert_eq!(digest_of(&cluster, "app"), image("1").digest());
    // The program takes no signal as the first process of its container.
    let quick = ["--stop-grace-period", "1s", "--update-monitor", "1s"];
    let update = ["service", "update", "-q", "--update-parallelism", "0"];
    let forced = [&update[..], &quick, &["--force", "app"]].concat();
    cluster.skep("node-1", &forced);
    assert_eq!(digest_of(&cluster, "app"), image("1").digest());
    // Who names the image asks what it means now.
    let update = ["service", "update", "--image", "outside:5000/app:1", "app"];
    cluster.skep("node-1", &[&update[..], &["-q"]].concat());
    assert_eq!(digest_of(&cluster, "app"), image("2").digest());
    let again = cluster.attempt("node-1", &update);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("nothing to do"), "{again:?}");
    // Which name an image of before has on a node is not the service's to change.
    for node in nodes(&cluster.running("node-1", "app")) {
        let held = || holds(&cluster, &node, &image("2").digest());
        cluster.until("the node holds what it runs", held);
    }
    refusals(&cluster);
}

/// What cannot be had is said, with what there is instead; what is used stays.
fn refusals(cluster: &Cluster) {
    let refused = |image: &str, words: &str| {
        let ended = cluster.attempt("node-1", &["service", "create", "-d", image]);
        assert_ne!(ended.code, 0, "{image}");
        assert!(ended.err.contains(words), "{image}: {}", ended.err);
    };
    refused("outside:5000/app:3", "app has 1, 2");
    refused("outside:5000/none:1", "no repository none");
    refused("outside:5998/app:1", "cannot be reached");
    let digest = image("2").digest();
    let remove = || cluster.attempt("node-2", &["image", "rm", &digest]);
    let ended = remove();
    assert!(ended.err.contains("is used by task"), "{}", ended.err);
    cluster.skep("node-1", &["service", "rm", "app"]);
    cluster.until("nothing uses it", || remove().code == 0);
}

#[test]
fn a_private_image_runs_with_the_login_that_its_service_brought() {
    let mut registry = with_images(5443, Kind::Private);
    let config = format!("--config={}", registry.config().display());
    let cluster = Cluster::up_with(SKEP, 1, 2, &[&config]);
    registry.start(&cluster);
    let name = "outside:5443/app:1";
    let create_it = [
        "service",
        "create",
        "-d",
        "--name",
        "app",
        "--replicas",
        "3",
    ];
    let ended = cluster.attempt("node-1", &[&create_it[..], &[name]].concat());
    assert!(
        ended.err.contains("skep login outside:5443"),
        "{}",
        ended.err
    );

    let home = format!("HOME={}", registry.path("").display());
    let skep = Path::new(SKEP)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap();
    let as_user = |args: &[&str]| {
        let argv = [&["env", &home, skep], args].concat();
        cluster.run("node-1", &argv)
    };
    let wrong = as_user(&["login", "-u", "me", "-p", "wrong", "outside:5443"]);
    assert!(wrong.err.contains("password is wrong"), "{}", wrong.err);
    let right = as_user(&["login", "-u", "me", "-p", "sesame", "outside:5443"]);
    assert_eq!(right.code, 0, "{}", right.err);
    // Nobody asks for it yet, and each node is refused; then the login comes.
    let blind = [&create_it[..], &["--no-resolve-image", name]].concat();
    let made = as_user(&blind);
    assert_eq!(made.code, 0, "{}", made.err);
    cluster.until("a task says that a login is missing", || {
        let tasks = cluster.try_list("node-1", &["service", "ps", "app"]);
        tasks.is_some_and(|tasks| tasks.iter().any(|task| task.to_string().contains("login")))
    });
    let update = ["service", "update", "-d", "--with-registry-auth", "app"];
    let given = as_user(&update);
    assert_eq!(given.code, 0, "{}", given.err);
    cluster.until("three nodes run it", || {
        nodes(&cluster.running("node-1", "app")).len() == 3
    });
    for args in [["service", "inspect", "app"], ["service", "ps", "app"]] {
        assert!(
            !cluster
                .skep("node-1", &[&args[..], &["--format", "json"]].concat())
                .contains("sesame")
        );
    }
    private_stack(&cluster, &registry, &as_user);
    let out = as_user(&["logout", "outside:5443"]);
    assert!(out.out.contains("Removed"), "{}", out.out);
}

/// The same image in a stack: with a login, and looked up again at the next deploy.
fn private_stack(cluster: &Cluster, registry: &Registry, as_user: &dyn Fn(&[&str]) -> Ended) {
    let compose = "services:\n  one:\n    image: outside:5443/app:2\n";
    let file = registry.path("compose.yml");
    std::fs::write(&file, compose).unwrap();
    let file = ["-c", file.to_str().unwrap()];
    let deploy = |rest: &[&str]| {
        let argv = [&["stack", "deploy"], rest, &file[..], &["shop"]].concat();
        as_user(&argv)
    };
    let refused = deploy(&[]);
    assert_eq!(refused.code, 15, "{refused:?}");
    assert!(refused.err.contains("skep login"), "{}", refused.err);
    let made = deploy(&["--with-registry-auth"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(digest_of(cluster, "shop_one"), image("2").digest());
    let same = deploy(&["--with-registry-auth"]);
    assert!(same.err.contains("nothing to do"), "{same:?}");
    image("3").put(&registry.store(), "app", "2");
    let kept = deploy(&["--resolve-image", "changed"]);
    assert!(kept.err.contains("nothing to do"), "{kept:?}");
    assert_eq!(deploy(&["--plan"]).code, 2);
    let followed = deploy(&["--with-registry-auth"]);
    assert_eq!(followed.code, 0, "{followed:?}");
    assert_eq!(digest_of(cluster, "shop_one"), image("3").digest());
}

#[test]
fn a_registry_that_is_a_service_itself_serves_the_cluster() {
    let cluster = Cluster::up(SKEP, 3, 0);
    let files = directory();
    for tag in ["1", "2"] {
        image(tag).put(files.path(), "app", tag);
    }
    let config = json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": "/store"}},
        "http": {"addr": ":5000"},
    });
    let file = ("config.yml".to_owned(), config.to_string().into_bytes());
    let layers = vec![
        packages::layer(&packages::tree(&["docker-registry"])),
        images::tar(&[file]),
    ];
    let run = json!({"Cmd": ["/usr/bin/docker-registry", "serve", "/config.yml"]});
    let archive = files.path().join("registry.tar");
    std::fs::write(&archive, OciImage::new(layers, run).archive("registry:2")).unwrap();
    cluster.skep(
        "node-2",
        &["image", "load", "-i", archive.to_str().unwrap()],
    );
    let mount = format!("type=bind,source={},target=/store", files.path().display());
    let publish = ["--publish", "5000:5000", "--mount", &mount, "registry:2"];
    create(&cluster, "registry", "1", &publish);
    cluster.until("the registry runs", || {
        cluster.running("node-1", "registry").len() == 1
    });
    // Every node asks itself, and any of them reaches the one task.
    let name = "127.0.0.1:5000/app:1";
    cluster.until("the registry answers", || {
        cluster.attempt("node-3", &["image", "pull", name]).code == 0
    });
    create(&cluster, "app", "3", &[name]);
    cluster.until("three nodes run it", || {
        nodes(&cluster.running("node-1", "app")).len() == 3
    });
    assert_eq!(digest_of(&cluster, "app"), image("1").digest());
    // It moves, and its content with it: the directory is everybody's.
    let home = cluster.running("node-1", "registry").remove(0);
    let home = home["node"].as_str().unwrap().to_owned();
    cluster.skep(
        "node-1",
        &["node", "update", "--availability", "drain", &home],
    );
    cluster.until("it runs elsewhere", || {
        let tasks = cluster.running("node-1", "registry");
        tasks.len() == 1 && tasks[0]["node"] != home.as_str()
    });
    let name = "127.0.0.1:5000/app:2";
    cluster.until("it answers there", || {
        let update = ["service", "update", "-d", "--image", name, "app"];
        cluster.attempt("node-1", &update).code == 0
    });
    assert_eq!(digest_of(&cluster, "app"), image("2").digest());
}
