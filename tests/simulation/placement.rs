//! Where tasks go, why a task has no place, and that what a spec demands of a node holds while a task runs.

use std::collections::BTreeMap;

use skep_harness::builders::{self, MIB};
use skep_manager::plan::why::why;
use skep_proto::constraint::Key;
use skep_proto::ids::{NodeId, ServiceId};
use skep_proto::node::{Availability, Node};
use skep_proto::spec::{Platform, PublishMode, TaskSpec};
use skep_proto::task::TaskState;
use skep_proto::time::ClusterTime;

use crate::bench::{Bench, WEB, two};

/// Nodes with the label `zone` and `rack` as given.
fn in_zones(zones: &[(&str, &str)]) -> Bench {
    let nodes = (1u8..).zip(zones).map(|(number, (zone, rack))| {
        let mut node = builders::up_node(number);
        node.spec.labels = BTreeMap::from([
            ("zone".to_owned(), (*zone).to_owned()),
            ("rack".to_owned(), (*rack).to_owned()),
        ]);
        node
    });
    Bench::new(nodes.collect())
}

fn label(name: &str) -> Key {
    Key::Label(name.to_owned())
}

fn reserving(memory: u64) -> TaskSpec {
    let mut task = builders::task_spec();
    task.reservations.memory = memory;
    task
}

fn reason(bench: &Bench) -> String {
    let waits = bench.tasks(|task| task.node.is_none() && task.desired <= TaskState::Running);
    waits.first().unwrap().status.error.clone()
}

fn with_gpus(number: u8, gpus: u64) -> Node {
    let mut node = builders::up_node(number);
    node.description.generic = BTreeMap::from([("gpu".to_owned(), gpus)]);
    node
}

#[test]
fn a_preference_spreads_over_what_nodes_say_and_not_over_nodes() {
    let mut bench = in_zones(&[("a", ""), ("a", ""), ("a", ""), ("b", "")]);
    let task = TaskSpec {
        spread: vec![label("zone")],
        ..builders::task_spec()
    };
    bench.create(6, task);
    bench.settle();
    assert_eq!(bench.places(), [1, 2, 3, 4, 4, 4]);
}

#[test]
fn preferences_nest() {
    let zones = [("a", "x"), ("a", "x"), ("a", "y"), ("b", "z"), ("b", "z")];
    let mut bench = in_zones(&zones);
    let task = TaskSpec {
        spread: vec![label("zone"), label("rack")],
        ..builders::task_spec()
    };
    bench.create(8, task);
    bench.settle();
    assert_eq!(bench.places(), [1, 2, 3, 3, 4, 4, 5, 5]);
}

#[test]
fn a_preference_counts_what_runs_already_and_goes_on_where_a_part_is_full() {
    let mut bench = in_zones(&[("a", ""), ("b", "")]);
    let task = TaskSpec {
        spread: vec![label("zone")],
        ..reserving(400 * MIB)
    };
    bench.create(2, task);
    bench.settle();
    bench.run();
    let mut third = builders::up_node(3);
    third.spec.labels = BTreeMap::from([("zone".into(), "b".into())]);
    bench.join(third);
    bench.scale(6);
    bench.settle();
    assert_eq!(bench.places(), [1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_node_has_no_more_tasks_of_a_service_than_it_may() {
    let mut bench = two();
    let task = TaskSpec {
        max_per_node: Some(2),
        ..builders::task_spec()
    };
    bench.create(5, task);
    bench.settle();
    assert_eq!(bench.places(), [0, 1, 1, 2, 2]);
    let text = "no suitable node (max replicas per node (2) reached on 2 nodes)";
    assert_eq!(reason(&bench), text);
    bench.join(builders::up_node(3));
    bench.settle();
    assert_eq!(bench.places(), [1, 1, 2, 2, 3]);
}

#[test]
fn other_things_are_reserved_as_memory_is() {
    let mut bench = Bench::new(vec![with_gpus(1, 3), with_gpus(2, 1), builders::up_node(3)]);
    let task = TaskSpec {
        generic: BTreeMap::from([("gpu".to_owned(), 2)]),
        ..builders::task_spec()
    };
    bench.create(2, task);
    bench.settle();
    assert_eq!(bench.places(), [0, 1]);
    assert_eq!(
        reason(&bench),
        "no suitable node (insufficient gpu on 3 nodes)"
    );
    bench.run();
    let first = bench.tasks(|task| task.node.is_some()).remove(0);
    bench.scale(1);
    bench.settle();
    assert_eq!(bench.state.generic_taken(NodeId::new(1), "gpu"), 2);
    bench.see(&first, TaskState::Shutdown);
    assert_eq!(bench.state.generic_taken(NodeId::new(1), "gpu"), 0);
}

#[test]
fn an_image_runs_only_where_its_platform_is() {
    let mut arm = builders::up_node(2);
    arm.description.arch = "aarch64".into();
    let mut bench = Bench::new(vec![builders::up_node(1), arm]);
    let platform = |arch: &str| Platform {
        os: "linux".into(),
        arch: arch.into(),
    };
    let task = TaskSpec {
        platforms: vec![platform("arm64"), platform("s390x")],
        ..builders::task_spec()
    };
    bench.create(2, task);
    bench.settle();
    assert_eq!(bench.places(), [2, 2]);
    bench.set(2, Availability::Pause);
    bench.scale(3);
    bench.settle();
    let text = "no suitable node (paused or drained on 1 node; cannot run linux/arm64, linux/s390x on 1 node)";
    assert_eq!(reason(&bench), text);
}

#[test]
fn every_constraint_has_to_be_met() {
    let mut bench = in_zones(&[("a", "x"), ("a", "y"), ("b", "x")]);
    let constraints = ["node.labels.zone==a", "node.labels.rack!=y"];
    let task = TaskSpec {
        constraints: constraints
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        ..builders::task_spec()
    };
    bench.create(2, task);
    bench.settle();
    assert_eq!(bench.places(), [1, 1]);
}

#[test]
fn a_task_leaves_a_node_that_no_longer_meets_its_constraint() {
    let mut bench = in_zones(&[("a", ""), ("a", "")]);
    let task = TaskSpec {
        constraints: vec!["node.labels.zone==a".parse().unwrap()],
        ..builders::task_spec()
    };
    bench.create(2, task);
    bench.settle();
    bench.run();
    bench.label(1, "zone", "b");
    bench.settle();
    assert_eq!(bench.places(), [2, 2]);
    bench.run();
    bench.label(1, "zone", "a");
    bench.settle();
    assert_eq!(bench.places(), [2, 2], "what runs well stays");
}

#[test]
fn the_youngest_tasks_leave_a_node_that_has_less_than_they_reserve() {
    let mut bench = two();
    bench.set(2, Availability::Pause);
    bench.create(2, reserving(400 * MIB));
    bench.settle();
    bench.run();
    let old: Vec<_> = bench.wanted().iter().map(|task| task.id).collect();
    bench.set(2, Availability::Active);
    bench.edit_node(1, |node| node.description.resources.memory = 500 * MIB);
    bench.settle();
    assert_eq!(bench.places(), [1, 2]);
    let kept = bench.wanted();
    let kept = kept.iter().filter(|task| old.contains(&task.id)).count();
    assert_eq!(kept, 1);
}

#[test]
fn a_pending_task_is_placed_in_the_plan_after_whatever_frees_its_place() {
    type Free = fn(&mut Bench);
    let frees: [(&str, TaskSpec, Free); 4] = [
        (
            "a label",
            TaskSpec {
                constraints: vec!["node.labels.x==y".parse().unwrap()],
                ..builders::task_spec()
            },
            |bench| bench.label(2, "x", "y"),
        ),
        ("memory", reserving(2048 * MIB), |bench| {
            bench.edit_node(2, |node| node.description.resources.memory = 4096 * MIB);
        }),
        ("a node", reserving(2048 * MIB), |bench| {
            let mut node = builders::up_node(3);
            node.description.resources.memory = 4096 * MIB;
            bench.join(node);
        }),
        (
            "a thing",
            TaskSpec {
                generic: BTreeMap::from([("gpu".to_owned(), 1)]),
                ..builders::task_spec()
            },
            |bench| {
                bench.edit_node(2, |node| {
                    node.description.generic.insert("gpu".into(), 1);
                });
            },
        ),
    ];
    for (what, task, free) in frees {
        let mut bench = two();
        bench.create(1, task);
        bench.settle();
        assert_eq!(bench.places(), [0], "{what}");
        free(&mut bench);
        let before = bench.state.applied();
        bench.settle();
        assert_ne!(bench.places(), [0], "{what}");
        assert_eq!(bench.state.applied(), before + 1, "{what}: in one plan");
    }
}

#[test]
fn a_task_says_why_every_node_refuses_it_and_what_would_place_it() {
    let mut bench = in_zones(&[("a", ""), ("b", ""), ("b", "")]);
    bench.set(1, Availability::Pause);
    bench.edit_node(3, |node| node.description.resources.memory = 64 * MIB);
    let task = TaskSpec {
        constraints: vec!["node.labels.zone==a".parse().unwrap()],
        ..reserving(128 * MIB)
    };
    bench.create(1, task);
    bench.settle();
    let told = why(&bench.state, &bench.wanted()[0], ClusterTime::ZERO);
    assert_eq!(told.reason, "no node takes it: 3 nodes refused");
    let by: Vec<Vec<&str>> = told
        .nodes
        .iter()
        .map(|it| it.by.iter().map(String::as_str).collect())
        .collect();
    assert_eq!(
        by,
        [
            vec!["paused"],
            vec!["node.labels.zone==a not met"],
            vec![
                "node.labels.zone==a not met",
                "insufficient memory: it reserves 128 MiB, 64 MiB of 64 MiB are free"
            ],
        ]
    );
    let change = "let node-1 have tasks: skep node update --availability active node-1";
    assert_eq!(told.changes, [change]);
}

#[test]
fn the_smallest_change_is_named_for_each_filter_and_works() {
    let mut bench = two();
    let constrained = |text: &str| TaskSpec {
        constraints: vec![text.parse().unwrap()],
        ..builders::task_spec()
    };
    let mut generic = builders::task_spec();
    generic.generic = BTreeMap::from([("gpu".to_owned(), 2)]);
    let mut cpus = builders::task_spec();
    cpus.reservations.nano_cpus = 8_500_000_000;
    let arm = TaskSpec {
        platforms: vec![Platform {
            os: "linux".into(),
            arch: "arm64".into(),
        }],
        ..builders::task_spec()
    };
    for (spec, change) in [
        (
            constrained("node.labels.x==y"),
            "label node-1: skep node update --label-add x=y node-1",
        ),
        (
            constrained("node.labels.x exists"),
            "label node-1: skep node update --label-add x=1 node-1",
        ),
        (
            constrained("node.role==manager"),
            "drop the constraint: skep service update --constraint-rm 'node.role==manager' web",
        ),
        (
            reserving(2048 * MIB),
            "free memory on node-1, or reserve at most 1024 MiB: skep service update --reserve-memory 1024m web",
        ),
        (
            cpus,
            "free processor time on node-1, or reserve at most 4: skep service update --reserve-cpu 4 web",
        ),
        (generic, "free gpu on node-1, or reserve at most 0 of it"),
        (arm, "let a node join that runs linux/arm64"),
    ] {
        bench = two();
        bench.create(1, spec);
        bench.settle();
        let told = why(&bench.state, &bench.wanted()[0], ClusterTime::ZERO);
        assert_eq!(told.changes, [change]);
    }
    bench.create_port_clash();
}

impl Bench {
    /// Two services on one host port: the second one's task is told who holds it.
    fn create_port_clash(&mut self) {
        *self = Bench::new(vec![builders::up_node(1)]);
        for (id, name) in [(WEB.bits(), "web"), (101, "other")] {
            let mut spec = builders::service_spec(name, 1, builders::task_spec());
            spec.ports = vec![builders::publish(Some(8080), PublishMode::Host)];
            let service = builders::service(id, spec);
            self.put(skep_manager::state::Change::PutService(service.into()));
            self.settle();
        }
        let mut tasks = self.state.tasks_of(ServiceId::new(101));
        let told = why(&self.state, tasks.next().unwrap(), ClusterTime::ZERO);
        assert_eq!(told.nodes[0].by, ["port 8080 in use by service \"web\""]);
        let change =
            "end what holds port 8080 on node-1 (service \"web\"), or publish another port";
        assert_eq!(told.changes, [change]);
    }
}

#[test]
fn a_task_that_does_not_wait_for_a_node_says_what_it_waits_for() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    let said = |bench: &Bench| {
        let now = ClusterTime::from_millis(bench.now);
        why(&bench.state, &bench.wanted()[0], now).reason
    };
    assert_eq!(
        said(&bench),
        "its node node-1 is at it, the task is assigned"
    );
    bench.run();
    assert_eq!(said(&bench), "it runs");
    let task = bench.wanted().remove(0);
    bench.see(&task, TaskState::Failed);
    bench.settle();
    assert_eq!(
        said(&bench),
        "it is to start in 5s: the delay after 1 failure in a row"
    );
}
