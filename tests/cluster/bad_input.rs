//! Bad input gets a clear error and changes nothing.

use skep_harness::cluster::Cluster;

use crate::SKEP;

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let cluster = Cluster::up(SKEP, 1, 0);
    cluster.skep(
        "node-1",
        &["service", "create", "--name", "web", "skep/hello"],
    );
    cluster.skep(
        "node-1",
        &["network", "create", "--subnet", "10.77.0.0/24", "first"],
    );
    let create = ["service", "create", "--name", "x"];
    let with = |rest: &[&'static str]| [&create[..], rest].concat();
    let cases = [
        (
            vec!["service", "create", "--name", "web", "skep/hello"],
            "exists already",
        ),
        (
            vec!["service", "create", "--name=-bad", "skep/hello"],
            "--name",
        ),
        (with(&["no/such"]), "no/such:latest"),
        (with(&["--network", "none-such", "skep/hello"]), "none-such"),
        (with(&["--limit-memory", "1m", "skep/hello"]), "6MiB"),
        (
            with(&["--constraint", "node.rolle==x", "skep/hello"]),
            "character 1",
        ),
        (with(&["--publish", "99999:80", "skep/hello"]), "65535"),
        (vec!["service", "rm", "none-such"], "none-such"),
        (vec!["service", "scale", "none-such=2"], "none-such"),
        (
            vec!["network", "create", "--subnet", "10.1.2.3/24", "net"],
            "10.1.2.0/24",
        ),
        (
            vec!["network", "create", "--subnet", "10.77.0.128/25", "second"],
            "first",
        ),
        (vec!["swarm", "init"], "already"),
        (
            vec![
                "daemon",
                "--data-root=/run/lab/store/data",
                "--exec-root=/run/second",
                "--host=unix:///run/second.sock",
            ],
            "another daemon is running on /run/lab/store/data",
        ),
    ];
    for (args, expected) in cases {
        let ended = cluster.attempt("node-1", &args);
        assert_ne!(ended.code, 0, "{args:?}");
        assert!(ended.err.contains(expected), "{args:?}: {}", ended.err);
    }
    assert_eq!(cluster.list("node-1", &["service", "ls"]).len(), 1);
    assert_eq!(cluster.running("node-1", "web").len(), 1);
}

#[test]
fn wrong_tokens_are_refused() {
    let cluster = Cluster::bare(SKEP, 2);
    cluster.skep("node-1", &["swarm", "init"]);
    let address = cluster.lab.address("node-1").unwrap().to_string();
    let token = cluster
        .skep("node-1", &["swarm", "join-token", "-q", "worker"])
        .trim()
        .to_owned();
    let (head, secret) = token.rsplit_once('-').unwrap();
    let wrong_secret = format!("{head}-{}", "0".repeat(secret.len()));
    let other_root: String = head.chars().rev().take_while(|c| *c != '-').collect();
    let foreign = format!("SKEP-1-{}-{secret}", "1".repeat(other_root.len()));
    for bad in ["nonsense", wrong_secret.as_str(), foreign.as_str()] {
        let ended = cluster.attempt("node-2", &["swarm", "join", "--token", bad, &address]);
        assert_ne!(ended.code, 0, "{bad}");
        assert!(ended.err.contains("token"), "{bad}: {}", ended.err);
    }
    cluster.skep("node-1", &["swarm", "join-token", "--rotate", "worker"]);
    let ended = cluster.attempt("node-2", &["swarm", "join", "--token", &token, &address]);
    assert_ne!(ended.code, 0, "the old token is worth nothing");
    cluster.join("node-2", "worker");
    assert_eq!(cluster.list("node-1", &["node", "ls"]).len(), 2);
    let root = cluster.skep("node-1", &["swarm", "ca"]);
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----\n"), "{root}");
    let refused = cluster.attempt("node-2", &["swarm", "ca"]);
    assert!(refused.err.contains("is a worker"), "{}", refused.err);
}

#[test]
fn outside_a_cluster_the_way_into_one_is_told() {
    let cluster = Cluster::bare(SKEP, 1);
    let ended = cluster.attempt("node-1", &["service", "ls"]);
    assert_ne!(ended.code, 0);
    assert!(ended.err.contains("swarm init"), "{}", ended.err);
}
