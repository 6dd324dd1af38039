//! A disk that is full on purpose has room again, whoever dies meanwhile.

use skep_harness::cluster::Cluster;

use super::{REFUSED, begun_as, killed, web, whole};
use crate::SKEP;

/// Where a node of a lab keeps what it has.
const STORE: &str = "/run/lab/store/data";

fn shell(cluster: &Cluster, on: &str, command: &str) -> i32 {
    cluster.run(on, &["sh", "-c", command]).code
}

/// Whether somebody can write a megabyte where a node has its data.
fn room(cluster: &Cluster, on: &str) -> bool {
    let write = format!("dd if=/dev/zero of={STORE}/room bs=64k count=16 2>/dev/null");
    let done = shell(cluster, on, &write) == 0;
    shell(cluster, on, &format!("rm -f {STORE}/room"));
    done
}

/// Gives a node's data a file system of its own.
fn apart(cluster: &Cluster, on: &str) {
    cluster.lab.kill_daemon(on).unwrap();
    let moved = format!(
        "cp -a {STORE} {STORE}.old && mount -t tmpfs -o size=160m tmpfs {STORE} && \
         cp -a {STORE}.old/. {STORE}/ && rm -rf {STORE}.old"
    );
    assert_eq!(shell(cluster, on, &moved), 0);
    cluster.start(on);
}

#[test]
fn a_full_disk_has_room_again_when_its_time_is_over_or_the_daemon_dies() {
    let cluster = Cluster::up(SKEP, 1, 2);
    web(&cluster, "3");
    // A node of a lab shares its disk with the machine: that is the system's own.
    let shared = [
        "drill",
        "disk",
        "node-2",
        "--for",
        "2s",
        "--max-recovery",
        "100s",
    ];
    let refused = cluster.attempt("node-1", &shared);
    assert_eq!(refused.code, REFUSED, "{refused:?}");
    assert!(refused.out.contains("--allow-shared"), "{refused:?}");
    let little = ["drill", "plan", "disk", "node-2", "--allow-shared"];
    let little = cluster.attempt("node-1", &little);
    assert!(
        little.code == REFUSED && little.err.contains("64 MiB"),
        "{little:?}"
    );
    assert!(room(&cluster, "node-2"));

    apart(&cluster, "node-3");
    whole(&cluster, "node-1", 3);
    assert!(room(&cluster, "node-3"));
    let full = || !room(&cluster, "node-3");
    let begin = |lasts| begun_as(&cluster, "node-1", "disk", "node-3", lasts, full);
    // Whoever began it dies.
    let driver = begin("20s");
    killed(&cluster, "node-1", driver);
    cluster.until("there is room again", || room(&cluster, "node-3"));
    cluster.attempt("node-1", &["drill", "stop"]);
    // The daemon dies.
    let driver = begin("300s");
    cluster.lab.kill_daemon("node-3").unwrap();
    cluster.until("the kernel has given it back", || room(&cluster, "node-3"));
    cluster.start("node-3");
    whole(&cluster, "node-1", 3);
    assert!(room(&cluster, "node-3"));
    killed(&cluster, "node-1", driver);
}
