//! What a node says of itself: metrics over HTTP, its machine, and what it stores.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use skep_harness::cluster::Cluster;

use crate::SKEP;
use crate::archive::shell_root;
use crate::images::given;

/// What a node's metrics are, asked for from node-1's network.
fn scrape(cluster: &Cluster, node: &str) -> String {
    let address = (cluster.lab.address(node).unwrap(), 9323);
    let asked = cluster
        .lab
        .in_network("node-1", || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: skep\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        });
    asked.unwrap().unwrap()
}

/// The value of one line, by all that stands in front of it.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let found = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map(|number| number.parse().unwrap())
}

#[test]
fn every_node_serves_metrics_that_follow_what_happens() {
    let args = ["--metrics-addr", "{address}:9323"];
    let cluster = Cluster::up_with(SKEP, 1, 1, &args);
    let create = ["service", "create", "--name", "web", "--replicas", "4"];
    cluster.skep("node-1", &[&create[..], &["skep/hello"]].concat());
    let running = |node: &str| {
        let metrics = scrape(&cluster, node);
        value(&metrics, "skep_containers{state=\"running\"}").unwrap_or(0.0)
    };
    cluster.until("all containers are counted where they run", || {
        running("node-1") + running("node-2") == 4.0
    });
    let manager = scrape(&cluster, "node-1");
    assert!(manager.starts_with("HTTP/1.1 200 OK"), "{manager}");
    assert!(manager.ends_with("# EOF\n"), "{manager}");
    for (name, expected) in [
        ("skep_raft_leader", 1.0),
        ("skep_raft_leader_known", 1.0),
        ("skep_services", 1.0),
        ("skep_nodes{state=\"ready\"}", 2.0),
        ("skep_tasks{state=\"running\"}", 4.0),
        ("skep_in_cluster", 1.0),
        ("skep_session_open", 1.0),
    ] {
        assert_eq!(value(&manager, name), Some(expected), "{name}: {manager}");
    }
    for at_least_one in [
        "skep_raft_proposal_seconds_count",
        "skep_raft_log_sync_seconds_count",
        "skep_plan_seconds_count",
        "skep_netd_reconcile_seconds_count",
        "skep_raft_applied_index",
    ] {
        assert!(
            value(&manager, at_least_one) > Some(0.0),
            "{at_least_one}: {manager}"
        );
    }
    assert!(value(&manager, "process_resident_memory_bytes") > Some(1e6));
    let worker = scrape(&cluster, "node-2");
    assert_eq!(value(&worker, "skep_raft_leader"), None);
    assert!(value(&worker, "skep_container_start_seconds_count") > Some(0.0));

    cluster.lab.kill("node-2").unwrap();
    cluster.until("a dead node is counted as down", || {
        let metrics = scrape(&cluster, "node-1");
        value(&metrics, "skep_nodes{state=\"down\"}") == Some(1.0)
    });
}

/// What `skep system df` says of a kind.
fn used(cluster: &Cluster, kind: &str) -> Value {
    let rows = cluster.list("node-1", &["system", "df"]);
    rows.into_iter().find(|row| row["kind"] == kind).unwrap()
}

/// Begins a service "box" of one task, which has written into itself and into the volume "kept" when this returns.
fn begin_writer(cluster: &Cluster) {
    let import = ["image", "import", "-", "box:1"];
    let ended = given(cluster, "node-1", &import, &shell_root("box"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    let create = [
        "service",
        "create",
        "--name",
        "box",
        "--mount",
        "source=kept,target=/kept",
    ];
    let script = "i=0; while [ $i -lt 40 ]; do cat /bin/cat; i=$((i+1)); done > /own; \
        cat /own /own > /kept/twice; echo done; read line; sleep 100000";
    cluster.skep(
        "node-1",
        &[&create[..], &["-t", "box:1", "sh", "-c", script]].concat(),
    );
    cluster.until("it has written", || {
        cluster
            .attempt("node-1", &["service", "logs", "box"])
            .out
            .contains("done")
    });
}

#[test]
fn a_node_says_what_it_stores_and_gives_back_what_nothing_uses() {
    let cluster = Cluster::up(SKEP, 1, 0);
    begin_writer(&cluster);
    let info: Value =
        serde_json::from_str(&cluster.skep("node-1", &["system", "info", "-f", "json"])).unwrap();
    let root = info["DataRoot"].as_str().unwrap();
    assert_eq!(
        (&info["Swarm"]["LocalNodeState"], &info["Swarm"]["Nodes"]),
        (&"active".into(), &1.into())
    );
    let text = cluster.skep("node-1", &["system", "info"]);
    assert!(
        text.contains("Swarm: active\n") && text.contains(" Is Manager: true\n"),
        "{text}"
    );

    let measured = |globs: &str| -> u64 {
        let line = format!("cd {root} && du -scxB1 {globs} | tail -n 1");
        let ended = cluster.run("node-1", &["sh", "-c", &line]);
        let number = ended.out.split_whitespace().next().unwrap();
        number.parse().unwrap()
    };
    let close = |row: &Value, globs: &str| {
        let (said, there) = (row["size"].as_u64().unwrap(), measured(globs));
        assert!(
            there > 1 << 20 && said.abs_diff(there) * 100 < there,
            "{row}: {there}"
        );
    };
    let containers = used(&cluster, "Containers");
    close(&containers, "containers/* images/rootfs/*");
    assert_eq!(
        (&containers["active"], &containers["reclaimable"]),
        (&1.into(), &0.into())
    );
    let volumes = used(&cluster, "Local Volumes");
    close(&volumes, "volumes/*/_data");
    assert_eq!(
        (&volumes["total"], &volumes["active"]),
        (&1.into(), &1.into())
    );
    assert_eq!(used(&cluster, "Images")["active"], 1);
    assert!(
        cluster
            .skep("node-1", &["system", "df"])
            .contains("RECLAIMABLE")
    );

    let each = cluster.skep("node-1", &["system", "df", "-v", "--format", "json"]);
    let each: Value = serde_json::from_str(&each).unwrap();
    close(&each["Containers"][0], "containers/* images/rootfs/*");
    close(&each["Volumes"][0], "volumes/*/_data");
    let mut images = each["Images"].as_array().unwrap().iter();
    let used_once = |image: &Value| image["name"] == "box:1" && image["containers"] == 1;
    assert!(images.any(used_once), "{each}");
    let tables = cluster.skep("node-1", &["system", "df", "-v"]);
    assert!(tables.contains("Local Volumes space usage:"), "{tables}");

    cluster.skep("node-1", &["service", "rm", "box"]);
    cluster.until("its container is gone", || {
        used(&cluster, "Containers")["total"] == 0
    });
    let without = cluster.attempt("node-1", &["system", "prune"]);
    assert!(without.err.contains("--force"), "{}", without.err);
    let nameless = cluster.skep("node-1", &["volume", "create"]);
    let prune = cluster.skep("node-1", &["system", "prune", "-f"]);
    assert!(prune.contains("Total reclaimed space: 0B"), "{prune}");
    let prune = cluster.skep("node-1", &["system", "prune", "-af", "--volumes"]);
    assert!(
        prune.contains(nameless.trim()) && prune.contains("box:1"),
        "{prune}"
    );
    assert!(!prune.contains("kept"), "{prune}");
    assert_eq!(used(&cluster, "Local Volumes")["total"], 1);
}
