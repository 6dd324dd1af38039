//! A CI job, for real: a machine with nothing but a deploy token rolls a service out while it is used.

use std::net::SocketAddr;

use skep_harness::cluster::{Cluster, node};
use skep_harness::load::{Load, Stop};
use skep_harness::programs;

use crate::SKEP;
use crate::outsider::Outsider;

const PORT: u16 = 8080;
const REQUESTS_A_SECOND: u32 = 500;

/// How the service is made: `r.example/web:1`, which is used only while its check succeeds.
const WEB: [&str; 28] = [
    "service",
    "create",
    "-q",
    "--name",
    "web",
    "--replicas",
    "6",
    "--publish",
    "8080:80",
    "--health-cmd",
    "busybox wget -q -O /dev/null http://127.0.0.1/",
    "--health-interval",
    "1s",
    "--health-timeout",
    "10s",
    "--health-retries",
    "3",
    "--health-start-period",
    "2s",
    "--health-start-interval",
    "200ms",
    "--update-order=start-first",
    "--update-parallelism=2",
    "--update-monitor=1s",
    "--rollback-monitor=1s",
    "--update-failure-action=rollback",
    "--restart-delay=1s",
    "r.example/web:1",
];

fn update(tag: &str) -> String {
    format!("service update --image r.example/web:{tag} web")
}

#[test]
fn good_bad_and_competing_rollouts_under_load_end_with_their_codes_and_lose_no_request() {
    let cluster = Cluster::alone(SKEP, 3);
    for archive in programs::rollout() {
        cluster.skep(
            "node-1",
            &["image", "load", "-q", "-i", archive.to_str().unwrap()],
        );
    }
    cluster.skep("node-1", &WEB);
    let token = ["--role", "deploy", "--service", "web"];
    let image = ["--image", "r.example/web", "ci"];
    let job = Outsider::new(&cluster, &[1, 2, 3], &[&token[..], &image].concat());
    let other = Outsider::with(&cluster, &[3, 2, 1], job.token.clone());

    let address = |number| cluster.lab.address(&node(number)).unwrap();
    let addresses = (1..=3).map(|number| SocketAddr::from((address(number), PORT)));
    let load = Load::new(addresses.collect(), REQUESTS_A_SECOND);
    let counted = |page: &str| load.seen().answers.get(page).copied().unwrap_or_default();
    let still = |page: &str| {
        let seen = counted(page);
        cluster.until("it goes on serving", || counted(page) > seen + 500);
    };
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| cluster.lab.in_network("outside", || load.run()));
        // Whatever fails here, the load ends with it.
        let stop = Stop(&load);
        still("page 1\n");
        job.ends(&update("2"), 0, "");
        still("page 2\n");
        let (first, third) = (counted("page 1\n"), counted("page 3\n"));
        for (tag, code, says) in [
            ("exits", 10, "rolled back"),
            ("sick", 10, "rolled back"),
            ("wrong", 10, "rolled back"),
            ("none", 15, "r.example/web:none"),
        ] {
            job.ends(&update(tag), code, says);
            still("page 2\n");
        }
        let now = (counted("page 1\n"), counted("page 3\n"));
        assert_eq!(now, (first, third), "only the old version answered");

        // Two at once: the second takes over, and the first is told by whom.
        let begun = scope.spawn(|| job.skep(&update("1")));
        cluster.until("the first is under way", || counted("page 1\n") > first);
        other.ends(&update("3"), 0, "");
        let ended = begun.join().unwrap();
        assert_eq!(ended.code, 14, "{}{}", ended.out, ended.err);
        assert!(ended.err.contains("superseded"), "{}", ended.err);
        still("page 3\n");
        drop(stop);
        sending.join().unwrap().unwrap();
    });
    let seen = load.seen();
    let events = || cluster.skep("node-1", &["events", "--since", "1h", "--until", "0s"]);
    let lost = seen.lost.len();
    let some: Vec<_> = seen.lost.iter().step_by(lost / 40 + 1).collect();
    assert!(lost == 0, "{lost} lost: {some:#?}\n{}", events());
    let pages: Vec<&String> = seen.answers.keys().collect();
    assert_eq!(pages, ["page 1\n", "page 2\n", "page 3\n"]);
}
