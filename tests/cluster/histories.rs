//! What concurrent users of all managers see of the same services, while managers are killed, stopped and cut off: one order
//! explains it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use skep_deploy::lab::DaemonStatus;
use skep_harness::cluster::{Cluster, Ended, node};
use skep_harness::linear::{self, Call, Op, Outcome};

use crate::SKEP;

const SERVICES: usize = 4;
const CLIENTS: usize = 6;
/// Answers that are to come after each fault, and after its end.
const ANSWERS: usize = 60;

/// What all clients did so far, by service.
struct History {
    begin: Instant,
    calls: [Mutex<Vec<Call>>; SERVICES],
    values: AtomicU64,
    stop: AtomicBool,
}

impl History {
    fn answers(&self) -> usize {
        let answered = |calls: &Mutex<Vec<Call>>| {
            let calls = calls.lock().unwrap();
            let told = |call: &&Call| call.outcome != Outcome::Unknown;
            calls.iter().filter(told).count()
        };
        self.calls.iter().map(answered).sum()
    }

    /// Calls of one client, through the manager of one node, until somebody says stop.
    fn call(&self, cluster: &Cluster, client: usize) {
        let mut random = SmallRng::seed_from_u64(u64::try_from(client).unwrap());
        let on = node(client % 3 + 1);
        while !self.stop.load(Ordering::Relaxed) {
            let service = random.random_range(0..SERVICES);
            let value = self.values.fetch_add(1, Ordering::Relaxed);
            let op = match random.random_range(0..10) {
                0..2 => Op::Create(value),
                2..5 => Op::Update(value),
                5 => Op::Remove,
                _ => Op::Read,
            };
            let asked = self.begin.elapsed();
            let Some(outcome) = asked_of(cluster, &on, service, op) else {
                std::thread::park_timeout(Duration::from_millis(50));
                continue;
            };
            let call = Call {
                client,
                op,
                outcome,
                asked,
                answered: self.begin.elapsed(),
            };
            self.calls[service].lock().unwrap().push(call);
        }
    }
}

/// Runs the command of a call; none when its node is off.
fn asked_of(cluster: &Cluster, on: &str, service: usize, op: Op) -> Option<Outcome> {
    let name = format!("s{service}");
    let label = |value: u64| format!("value={value}");
    let argv = match op {
        Op::Create(value) => format!(
            "service create -d -q --name {name} --replicas 0 --label {} skep/hello",
            label(value)
        ),
        Op::Update(value) => format!("service update -d -q --label-add {} {name}", label(value)),
        Op::Remove => format!("service rm {name}"),
        Op::Read => format!("service inspect --format {{{{.Spec.Labels.value}}}} {name}"),
    };
    let argv: Vec<&str> = argv.split(' ').collect();
    let ended = cluster.try_attempt(on, &argv)?;
    Some(outcome(op, &ended))
}

/// Only what is certain is taken for an answer.
fn outcome(op: Op, ended: &Ended) -> Outcome {
    match (op, ended.code) {
        (Op::Read, 0) => Outcome::Value(ended.out.trim().parse().unwrap()),
        (_, 0) => Outcome::Done,
        (Op::Create(_), _) if ended.err.contains("exists already") => Outcome::Exists,
        (_, _) if ended.err.contains("there is no service") => Outcome::Absent,
        _ => Outcome::Unknown,
    }
}

/// Sends a signal to a daemon.
fn signal(cluster: &Cluster, to: &str, name: &str) {
    let nodes = cluster.lab.nodes().unwrap();
    let status = nodes.into_iter().find(|node| node.name == to).unwrap();
    let DaemonStatus::Running(pid) = status.daemon else {
        panic!("the daemon of {to} does not run: {:?}", status.daemon);
    };
    let ended = cluster.run(to, &["kill", &format!("-{name}"), &pid.to_string()]);
    assert_eq!(ended.code, 0, "{}", ended.err);
}

/// A fault and what ends it.
type Fault = (&'static str, fn(&Cluster, &str), fn(&Cluster, &str));

const FAULTS: [Fault; 4] = [
    (
        "killed",
        |cluster, node| cluster.lab.kill(node).unwrap(),
        |cluster, node| cluster.start(node),
    ),
    (
        "stopped",
        |cluster, node| signal(cluster, node, "STOP"),
        |cluster, node| signal(cluster, node, "CONT"),
    ),
    (
        "cut off",
        |cluster, node| cluster.lab.cut(node).unwrap(),
        |cluster, node| cluster.lab.heal(node).unwrap(),
    ),
    (
        "killed alone",
        |cluster, node| cluster.lab.kill_daemon(node).unwrap(),
        |cluster, node| cluster.start(node),
    ),
];

#[test]
fn one_order_explains_what_users_of_all_managers_see_while_leaders_fail() {
    let cluster = Cluster::up(SKEP, 3, 0);
    let history = History {
        begin: Instant::now(),
        calls: Default::default(),
        values: AtomicU64::new(1),
        stop: AtomicBool::new(false),
    };
    let further = |what: &str| {
        let before = history.answers();
        cluster.until(what, || history.answers() >= before + ANSWERS);
    };
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (history, cluster) = (&history, &cluster);
            scope.spawn(move || history.call(cluster, client));
        }
        // Whatever fails here, the clients end with it.
        let stop = Stop(&history.stop);
        further("clients are answered");
        for (what, begin, end) in FAULTS {
            let mut leader = None;
            cluster.until("somebody leads", || {
                leader = (1..=3).find_map(|number| cluster.leader(&node(number)));
                leader.is_some()
            });
            let leader = leader.unwrap();
            begin(&cluster, &leader);
            further(&format!(
                "clients of the others are answered with the leader {what}"
            ));
            end(&cluster, &leader);
            further(&format!("clients are answered after the leader was {what}"));
        }
        drop(stop);
    });
    for (service, calls) in history.calls.iter().enumerate() {
        let calls = calls.lock().unwrap();
        let checked = linear::check(&calls);
        assert!(
            checked.is_ok(),
            "s{service}, {} calls: {}",
            calls.len(),
            checked.unwrap_err()
        );
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
