//! Registries that go away in the middle, that nobody vouches for, and disks that have no room for what they give.

use serde_json::{Value, json};
use skep_harness::cluster::Cluster;
use skep_harness::gate::Gate;
use skep_harness::images::{OciImage, tar};
use skep_harness::registry::{Kind, Registry};

use crate::SKEP;
use crate::archive::{PROGRAM, root};

/// Where a node of a lab keeps what it has.
const STORE: &str = "/run/lab/store/data";
/// What a large layer takes.
const LARGE: usize = 24 << 20;

/// An image of a program and a layer that no compression makes smaller.
fn image(large: usize) -> OciImage {
    let noise = tar(&[("noise".to_owned(), noise(large))]);
    OciImage::new(
        vec![root("app"), noise],
        json!({"Cmd": [PROGRAM, "100000"]}),
    )
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length / 8).flatten().collect()
}

fn shell(cluster: &Cluster, node: &str, command: &str) -> String {
    let ended = cluster.run(node, &["sh", "-c", command]);
    assert_eq!(ended.code, 0, "{command}: {}", ended.err);
    ended.out
}

/// One replica on the only worker.
fn create(cluster: &Cluster, name: &str, image: &str) {
    // Between two attempts there is time to look.
    let on = [
        "--restart-delay",
        "5s",
        "--constraint",
        "node.role==worker",
        image,
    ];
    let create = ["service", "create", "-d", "--name", name];
    cluster.skep("node-1", &[&create[..], &on].concat());
}

/// Some task of the service is in this state and says this.
fn says(cluster: &Cluster, service: &str, state: &str, words: &str) -> bool {
    let tasks = cluster.try_list("node-1", &["service", "ps", service]);
    let says = |task: &Value| task["state"] == state && task.to_string().contains(words);
    tasks.is_some_and(|tasks| tasks.iter().any(says))
}

fn runs(cluster: &Cluster, service: &str) -> bool {
    cluster.running("node-1", service).len() == 1
}

struct End<'a>(&'a Gate);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[test]
fn a_pull_goes_on_where_its_registry_went_away() {
    let plain = "--insecure-registry=outside:5000";
    let cluster = Cluster::up_with(SKEP, 1, 1, &[plain]);
    let mut registry = Registry::new(5001, Kind::Plain);
    image(LARGE).put(&registry.store(), "app", "1");
    registry.start(&cluster);
    let half = u64::try_from(LARGE / 2).unwrap();
    let gate = Gate::new(half);
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.lab.in_network("outside", || gate.serve(5000, 5001)));
        // Whatever fails here, the door closes with it.
        let _end = End(&gate);
        create(&cluster, "app", "outside:5000/app:1");
        cluster.until("half of it is there", || gate.holds());
        registry.stop();
        gate.cut();
        cluster.until("the task says what it waits for", || {
            says(&cluster, "app", "preparing", "cannot get image")
        });
        registry.start(&cluster);
        cluster.until("it runs", || runs(&cluster, "app"));
    });
    let tasks = cluster.list("node-1", &["service", "ps", "app"]);
    assert_eq!(tasks.len(), 1, "it is the same attempt: {tasks:?}");
    let (passed, all) = (gate.passed(), 2 * half);
    assert!(passed < all + half / 2, "{passed} bytes for {all}");
}

#[test]
fn a_full_disk_takes_no_image_leaves_nothing_and_has_it_once_there_is_room() {
    let plain = "--insecure-registry=outside:5000";
    let cluster = Cluster::up_with(SKEP, 1, 1, &[plain]);
    let mut registry = Registry::new(5000, Kind::Plain);
    image(LARGE).put(&registry.store(), "app", "1");
    registry.start(&cluster);
    create(&cluster, "before", "skep/hello");
    cluster.until("it runs", || runs(&cluster, "before"));
    cluster.lab.kill_daemon("node-2").unwrap();
    // Room for the layer as it comes, or unpacked, and not for both.
    let own = format!(
        "cp -a {STORE} {STORE}.old && mount -t tmpfs -o size=40m tmpfs {STORE} && \
         cp -a {STORE}.old/. {STORE}/ && rm -rf {STORE}.old"
    );
    shell(&cluster, "node-2", &own);
    cluster.start("node-2");
    cluster.until("it is back", || cluster.ready() == 2);
    let used = || {
        let used = shell(
            &cluster,
            "node-2",
            &format!("df --output=used -k {STORE} | tail -n 1"),
        );
        used.trim().parse::<u64>().unwrap()
    };
    let before = used();

    create(&cluster, "app", "outside:5000/app:1");
    cluster.until("it is refused in words", || {
        says(&cluster, "app", "rejected", "there is no room for image")
    });
    let tasks = cluster.list("node-1", &["service", "ps", "app"]);
    let said = Value::from(tasks).to_string();
    assert!(
        said.contains("No space left") && said.contains("image prune"),
        "{said}"
    );
    // Between two attempts nothing half-made stands in anybody's way.
    cluster.until("what was half there is gone", || {
        let images = format!("{STORE}/images");
        let halves = shell(
            &cluster,
            "node-2",
            &format!("ls {images}/partial {images}/tmp"),
        );
        let files = halves
            .lines()
            .filter(|line| !line.is_empty() && !line.ends_with(':'));
        files.count() == 0 && used() < before + (8 << 10)
    });
    assert!(runs(&cluster, "before"), "it never noticed");

    shell(
        &cluster,
        "node-2",
        &format!("mount -o remount,size=200m {STORE}"),
    );
    cluster.until("it runs by itself", || runs(&cluster, "app"));
    assert!(runs(&cluster, "before"));
    // What it did meanwhile is durable: a daemon that starts again finds all of it.
    cluster.lab.kill_daemon("node-2").unwrap();
    cluster.start("node-2");
    cluster.until("it is back", || cluster.ready() == 2);
    assert!(runs(&cluster, "app") && runs(&cluster, "before"));
}

#[test]
fn an_authority_of_ones_own_is_believed_for_its_registry_alone() {
    let mut trusted = Registry::new(5443, Kind::Mutual);
    let mut stranger = Registry::new(5444, Kind::Tls);
    let config = format!("--config={}", trusted.config().display());
    let cluster = Cluster::up_with(SKEP, 1, 1, &[&config]);
    for registry in [&mut trusted, &mut stranger] {
        image(1024).put(&registry.store(), "app", "1");
        registry.start(&cluster);
    }
    create(&cluster, "app", "outside:5443/app:1");
    cluster.until("it runs", || runs(&cluster, "app"));
    let pull = |name: &str| cluster.attempt("node-2", &["image", "pull", name]);
    let refused = pull("outside:5444/app:1");
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.err.contains("certificate"), "{}", refused.err);
    // Who is known by no certificate of his own is sent away.
    std::fs::remove_file(trusted.path("certs.d/outside:5443/client.cert")).unwrap();
    std::fs::remove_file(trusted.path("certs.d/outside:5443/client.key")).unwrap();
    cluster.lab.kill_daemon("node-2").unwrap();
    cluster.start("node-2");
    cluster.until("it is refused", || {
        let refused = pull("outside:5443/app:1");
        refused.code != 0
            && refused
                .err
                .contains("registry outside:5443 cannot be reached")
    });
}
