//! A full file system under the data of a manager.

use skep_harness::cluster::Cluster;

use crate::SKEP;

/// Where a node of a lab keeps what it has.
const STORE: &str = "/run/lab/store/data";
/// Bytes of one argument; the kernel takes at most 128 KiB.
const LARGE: usize = 100 << 10;
/// Far more than the log's segments of 8 MiB hold with services of [`LARGE`] each.
const MOST: usize = 400;

fn shell(cluster: &Cluster, command: &str) {
    let ended = cluster.run("node-1", &["sh", "-c", command]);
    assert_eq!(ended.code, 0, "{command}: {}", ended.err);
}

/// Makes a service of no replicas whose spec is large.
fn create(cluster: &Cluster, name: &str) -> Result<(), String> {
    let large = format!("FILL={}", "x".repeat(LARGE));
    let args = ["service", "create", "-d", "--replicas", "0", "--name", name];
    let ended = cluster.attempt(
        "node-1",
        &[&args[..], &["--env", &large, "skep/hello"]].concat(),
    );
    match ended.code {
        0 => Ok(()),
        _ => Err(ended.err),
    }
}

fn services(cluster: &Cluster) -> usize {
    let listed = cluster.try_list("node-1", &["service", "ls"]);
    listed.map_or(0, |services| services.len())
}

#[test]
fn a_full_disk_refuses_in_words_keeps_what_was_and_goes_on_once_there_is_room() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep(
        "node-1",
        &["service", "create", "--name", "web", "skep/hello"],
    );
    cluster.lab.kill_daemon("node-1").expect("a kill");
    // A file system of its own, with what is there.
    shell(
        &cluster,
        &format!(
            "cp -a {STORE} {STORE}.old && mount -t tmpfs -o size=160m tmpfs {STORE} && \
             cp -a {STORE}.old/. {STORE}/ && rm -rf {STORE}.old"
        ),
    );
    cluster.start("node-1");
    cluster.until("it is back", || services(&cluster) == 1);
    // What is left of it is taken.
    shell(
        &cluster,
        &format!("dd if=/dev/zero of={STORE}/ballast bs=64k 2>/dev/null; true"),
    );
    let mut made = 0;
    let refused = (0..MOST).find_map(|number| match create(&cluster, &format!("s{number}")) {
        Ok(()) => {
            made += 1;
            None
        }
        Err(refused) => Some(refused),
    });
    let refused = refused.expect("a full disk refuses in the end");
    assert!(refused.contains("gives no more room"), "{refused}");
    assert!(made > 0, "the segment that was there is used");
    assert_eq!(services(&cluster), made + 1);
    assert_eq!(
        cluster.running("node-1", "web").len(),
        1,
        "it never noticed"
    );
    // A start on a full disk neither fails nor forgets.
    cluster.lab.kill_daemon("node-1").expect("a kill");
    cluster.start("node-1");
    cluster.until("all is there that was acknowledged", || {
        services(&cluster) == made + 1
    });
    shell(&cluster, &format!("rm {STORE}/ballast"));
    cluster.until("it takes orders again", || {
        create(&cluster, "after").is_ok()
    });
    cluster.lab.kill_daemon("node-1").expect("a kill");
    cluster.start("node-1");
    cluster.until("nothing was lost", || services(&cluster) == made + 2);
    assert_eq!(cluster.running("node-1", "web").len(), 1);
}
