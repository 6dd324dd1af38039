//! Drains that surge, nodes that fall silent alone or together, services that are patient.

use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders::{self, MIB};
use skep_harness::check::one_task_per_slot_is_to_run;
use skep_manager::plan::drain::left_without_place;
use skep_manager::plan::{Session, standing};
use skep_proto::ids::NodeId;
use skep_proto::node::Availability;
use skep_proto::spec::{Mode, ServiceSpec, TaskSpec};
use skep_proto::task::{Task, TaskState};
use skep_proto::time::ClusterTime;

use crate::bench::{Bench, WEB, two};

const FIRST: NodeId = NodeId::new(1);

fn many(count: u8) -> Bench {
    Bench::new((1..=count).map(builders::up_node).collect())
}

fn running(bench: &Bench) -> u32 {
    standing(&bench.state, bench.state.service(WEB).unwrap()).running
}

/// Tasks that are to run on a node.
fn wanted_on(bench: &Bench, node: NodeId) -> Vec<Arc<Task>> {
    bench.tasks(|task| task.node == Some(node) && task.desired <= TaskState::Running)
}

#[test]
fn a_drain_that_surges_ends_a_task_only_when_its_replacement_runs() {
    let mut bench = two();
    bench.create(2, builders::task_spec());
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.settle();
    assert_eq!(bench.places(), [1, 2, 2], "the old one and the new one");
    assert_eq!(running(&bench), 2);
    one_task_per_slot_is_to_run(&bench.state, &bench.state).unwrap();
    bench.run();
    assert_eq!(bench.places(), [2, 2]);
    assert_eq!(running(&bench), 2);
}

#[test]
fn a_surge_whose_replacement_fails_keeps_the_old_task_and_tries_again() {
    let mut bench = two();
    let mut task = builders::task_spec();
    task.restart.delay = Duration::ZERO;
    bench.create(1, task);
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.settle();
    let new = bench
        .tasks(|task| task.node == Some(NodeId::new(2)))
        .remove(0);
    bench.see(&new, TaskState::Failed);
    bench.settle();
    assert_eq!(bench.places(), [1, 2]);
    assert_eq!(running(&bench), 1);
    bench.run();
    assert_eq!(bench.places(), [2]);
}

#[test]
fn a_surge_is_seen_in_a_service_that_changed_at_the_same_time() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.scale(2);
    bench.settle();
    assert_eq!(bench.places(), [1, 2, 2]);
}

#[test]
fn a_surge_that_is_called_off_leaves_one_task_in_a_slot() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.settle();
    bench.set(1, Availability::Active);
    bench.settle();
    assert_eq!(bench.places(), [1], "the one that runs stays");
    one_task_per_slot_is_to_run(&bench.state, &bench.state).unwrap();
}

#[test]
fn a_surge_ends_at_once_what_does_not_run_and_what_belongs_to_the_node() {
    let mut bench = two();
    bench.create_as(Mode::Global, builders::task_spec());
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.settle();
    assert_eq!(bench.places(), [2]);
    let mut bench = two();
    bench.create(2, builders::task_spec());
    bench.settle();
    bench.set(1, Availability::Surge);
    bench.settle();
    assert_eq!(bench.places(), [2, 2], "nothing ran yet");
}

#[test]
fn a_node_that_surges_and_is_lost_is_lost() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.session(1, Session::Silent);
    bench.settle();
    assert_eq!(bench.places(), [2]);
}

#[test]
fn what_a_drain_would_leave_without_a_place_is_known_before() {
    let mut bench = two();
    let mut task = builders::task_spec();
    task.reservations.memory = 400 * MIB;
    bench.create(4, task);
    bench.settle();
    bench.run();
    let before = bench.state.clone();
    let left = left_without_place(&bench.state, &bench.seen, ClusterTime::ZERO, FIRST);
    assert_eq!(left.len(), 2);
    let reason = "no suitable node (paused or drained on 1 node; insufficient memory on 1 node)";
    assert!(
        left.iter()
            .all(|(name, why)| name.starts_with("web.") && why == reason)
    );
    bench.join(builders::up_node(3));
    bench.settle();
    let left = left_without_place(&bench.state, &bench.seen, ClusterTime::ZERO, FIRST);
    assert_eq!(left, []);
    assert_eq!(bench.state.tasks().count(), before.tasks().count());
}

#[test]
fn a_patient_service_keeps_its_tasks_on_a_silent_node_for_longer() {
    let mut bench = two();
    bench.create(2, builders::task_spec());
    bench.edit(|service| {
        service.spec = Arc::new(ServiceSpec {
            lost_after: Some(Duration::from_secs(20)),
            ..ServiceSpec::clone(&service.spec)
        });
    });
    bench.settle();
    bench.run();
    bench.now = 10_000;
    bench.session(1, Session::Silent);
    let last = bench.settle();
    assert_eq!(bench.places(), [1, 2], "it was silent for 3 of 20 seconds");
    assert_eq!(last.wake_at, Some(ClusterTime::from_millis(27_000)));
    bench.now = 26_999;
    bench.settle();
    assert_eq!(bench.places(), [1, 2]);
    bench.now = 27_000;
    bench.settle();
    assert_eq!(bench.places(), [2, 2]);
}

#[test]
fn when_most_nodes_fall_silent_at_once_they_are_replaced_one_at_a_time() {
    let mut bench = many(5);
    bench.create(5, builders::task_spec());
    bench.settle();
    bench.run();
    bench.now = 10_000;
    for number in 1..=3 {
        bench.session(number, Session::Silent);
    }
    let last = bench.settle();
    let on: Vec<usize> = (1..=3)
        .map(|it| wanted_on(&bench, NodeId::new(it)).len())
        .collect();
    assert_eq!(on, [0, 1, 1], "the first has its turn at once");
    assert_eq!(last.wake_at, Some(ClusterTime::from_millis(13_000)));
    let message = &bench.state.node(NodeId::new(2)).unwrap().status.message;
    assert!(message.contains("more than half of the nodes"), "{message}");
    bench.now = 13_000;
    bench.settle();
    assert_eq!(wanted_on(&bench, NodeId::new(2)).len(), 0);
    assert_eq!(wanted_on(&bench, NodeId::new(3)).len(), 1);
    bench.session(3, Session::Open);
    bench.settle();
    bench.now = 60_000;
    bench.settle();
    let kept = wanted_on(&bench, NodeId::new(3));
    assert!(
        !kept.is_empty(),
        "the one that came back in time has lost nothing"
    );
}

#[test]
fn nodes_that_fall_silent_one_after_the_other_are_no_storm() {
    let mut bench = many(5);
    bench.create(5, builders::task_spec());
    bench.settle();
    for number in 1..=3u128 {
        bench.now += 5_000;
        bench.session(number, Session::Silent);
        bench.settle();
        assert!(wanted_on(&bench, NodeId::new(number)).is_empty());
    }
}

#[test]
fn a_drain_moves_what_is_attached_and_reserved_too() {
    let mut bench = two();
    let task = TaskSpec {
        max_per_node: Some(1),
        ..builders::task_spec()
    };
    bench.create(2, task);
    bench.settle();
    bench.run();
    bench.set(1, Availability::Surge);
    bench.settle();
    assert_eq!(
        bench.places(),
        [0, 1, 2],
        "it waits for a place and runs on"
    );
    bench.join(builders::up_node(3));
    bench.settle();
    bench.run();
    assert_eq!(bench.places(), [2, 3]);
}
