//! What plan and assign do with small states, behaviour by behaviour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders::{self, MIB};
use skep_manager::dispatch::assign::assign;
use skep_manager::plan::{LARGEST_PASS, Session};
use skep_manager::state::Change;
use skep_proto::ids::NodeId;
use skep_proto::node::{Availability, NodeState};
use skep_proto::resources::Resources;
use skep_proto::spec::{PublishMode, RestartCondition, TaskSpec};
use skep_proto::task::{Slot, TaskState};
use skep_proto::time::ClusterTime;
use skep_proto::view::EndpointState;

use crate::bench::{Bench, NET, WEB, two};

fn reserving(memory: u64) -> TaskSpec {
    let reservations = Resources {
        nano_cpus: 0,
        memory,
    };
    TaskSpec {
        reservations,
        ..builders::task_spec()
    }
}

fn attached() -> TaskSpec {
    TaskSpec {
        networks: vec![builders::on(NET)],
        ..builders::task_spec()
    }
}

#[test]
fn a_new_service_is_created_addressed_and_placed_in_one_entry() {
    let mut bench = two();
    bench.network();
    bench.settle();
    bench.create(4, attached());
    let before = bench.state.applied();
    bench.settle();
    assert_eq!(bench.state.applied(), before + 1);
    let tasks = bench.wanted();
    assert_eq!(tasks.len(), 4);
    assert!(
        tasks
            .iter()
            .all(|task| task.status.state == TaskState::Assigned)
    );
    assert!(tasks.iter().all(|task| task.attachments.len() == 1));
    for number in 1..=2 {
        assert_eq!(bench.state.spread_of(WEB, NodeId::new(number)), 2);
    }
    assert!(bench.state.service(WEB).unwrap().vips.contains_key(&NET));
}

#[test]
fn a_pending_task_names_every_filter_with_its_nodes() {
    let mut labelled = builders::up_node(3);
    labelled.spec.labels = BTreeMap::from([("x".into(), "z".into())]);
    let mut nodes = vec![builders::up_node(1), builders::up_node(2), labelled];
    for node in nodes.iter_mut().take(2) {
        node.spec.labels = BTreeMap::from([("x".into(), "y".into())]);
    }
    let mut bench = Bench::new(nodes);
    let constraints = vec!["node.labels.x==y".parse().unwrap()];
    bench.create(
        1,
        TaskSpec {
            constraints,
            ..reserving(2048 * MIB)
        },
    );
    bench.settle();
    let text =
        "no suitable node (node.labels.x==y not met on 1 node; insufficient memory on 2 nodes)";
    assert_eq!(bench.wanted()[0].status.error, text);
}

#[test]
fn tasks_of_a_silent_node_are_replaced_at_once_and_given_up_on_its_return() {
    let mut bench = two();
    bench.create(2, builders::task_spec());
    bench.settle();
    bench.run();
    let lost = bench.tasks(|task| task.node == Some(NodeId::new(1)));
    bench.seen.nodes.get_mut(&NodeId::new(1)).unwrap().session = Session::Silent;
    bench.settle();
    let wanted = bench.wanted();
    assert_eq!(wanted.len(), 2);
    assert!(
        wanted
            .iter()
            .all(|task| task.node == Some(NodeId::new(2)) && task.start_at.is_none())
    );
    bench.seen.nodes.get_mut(&NodeId::new(1)).unwrap().session = Session::Open;
    bench.settle();
    let told = assign(&bench.state, NodeId::new(1), 1).tasks[&lost[0].id].clone();
    assert_eq!(
        (told.desired, told.drained),
        (TaskState::Shutdown, false),
        "not yet replaced"
    );
    bench.run();
    let told = assign(&bench.state, NodeId::new(1), 1).tasks[&lost[0].id].clone();
    assert!(told.drained, "the replacement runs");
}

#[test]
fn a_drained_node_gives_its_tasks_away() {
    let mut bench = two();
    bench.create(2, builders::task_spec());
    bench.settle();
    bench.run();
    let mut node = bench.state.node(NodeId::new(1)).unwrap().as_ref().clone();
    node.spec.availability = Availability::Drain;
    bench.put(Change::PutNode(Arc::new(node)));
    bench.settle();
    assert!(
        bench
            .wanted()
            .iter()
            .all(|task| task.node == Some(NodeId::new(2)))
    );
}

#[test]
fn a_task_that_ended_by_itself_is_tried_again_after_its_delay() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    bench.now = 1000;
    let failed = bench.wanted().remove(0);
    bench.see(&failed, TaskState::Failed);
    let last = bench.settle();
    let again = bench.wanted().remove(0);
    assert_eq!(
        (again.desired, again.slot),
        (TaskState::Ready, Slot::Replica(1))
    );
    assert_eq!(last.wake_at, Some(ClusterTime::from_millis(6000)));
    bench.now = 6000;
    bench.settle();
    assert_eq!(bench.wanted()[0].desired, TaskState::Running);
}

#[test]
fn an_attempt_that_fails_before_its_time_is_followed_no_sooner() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    let first = bench.wanted().remove(0);
    bench.see(&first, TaskState::Rejected);
    bench.settle();
    // It is made ready during its delay, and its image cannot be had either.
    for now in [5_000, 10_000] {
        let waiting = bench.wanted().remove(0);
        assert_eq!(waiting.desired, TaskState::Ready);
        bench.see(&waiting, TaskState::Rejected);
        let last = bench.settle();
        assert_eq!(bench.wanted()[0].id, waiting.id);
        assert_eq!(last.wake_at, Some(ClusterTime::from_millis(now)));
        bench.now = now;
        bench.settle();
        assert_ne!(bench.wanted()[0].id, waiting.id);
    }
}

#[test]
fn a_policy_ends_the_attempts() {
    for (condition, attempts, ended, made) in [
        (RestartCondition::None, None, TaskState::Failed, 1),
        (RestartCondition::OnFailure, None, TaskState::Complete, 1),
        (RestartCondition::OnFailure, Some(2), TaskState::Failed, 3),
        (RestartCondition::Any, Some(1), TaskState::Complete, 2),
    ] {
        let mut bench = two();
        let mut task = builders::task_spec();
        task.restart.condition = condition;
        task.restart.delay = Duration::ZERO;
        task.restart.max_attempts = attempts;
        bench.create(1, task);
        bench.settle();
        for _ in 0..5 {
            let wanted = bench.wanted().remove(0);
            if !wanted.status.state.ended() {
                bench.see(&wanted, ended);
            }
            bench.settle();
        }
        assert_eq!(
            bench.tasks(|_| true).len(),
            made,
            "{condition:?} {attempts:?} {ended:?}"
        );
    }
}

#[test]
fn scaling_down_takes_the_highest_slots_and_leaves_nothing_of_them() {
    let mut bench = two();
    bench.create(3, builders::task_spec());
    bench.settle();
    bench.run();
    bench.scale(1);
    bench.settle();
    for task in bench.tasks(|task| task.desired == TaskState::Remove) {
        bench.see(&task, TaskState::Shutdown);
    }
    bench.settle();
    let left: Vec<Slot> = bench.tasks(|_| true).iter().map(|task| task.slot).collect();
    assert_eq!(left, [Slot::Replica(1)]);
}

#[test]
fn a_backend_drains_before_it_is_stopped() {
    let mut bench = two();
    bench.network();
    bench.create(2, attached());
    bench.settle();
    bench.run();
    bench.acknowledge();
    bench.scale(1);
    let last = bench.settle();
    let stopping = bench
        .tasks(|task| task.desired == TaskState::Remove)
        .remove(0);
    assert_eq!(
        bench.state.endpoint(&stopping),
        Some(EndpointState::Draining)
    );
    assert!(!bench.state.times(stopping.id).drained);
    assert_eq!(last.wake_at, Some(ClusterTime::from_millis(10_000)));
    bench.acknowledge();
    bench.settle();
    assert!(bench.state.times(stopping.id).drained);
}

#[test]
fn a_backend_waits_ten_seconds_for_a_laggard_at_most() {
    let mut bench = two();
    bench.network();
    bench.create(2, attached());
    bench.settle();
    bench.run();
    bench.scale(1);
    bench.settle();
    bench.now = 9_999;
    bench.settle();
    let stops = |bench: &Bench| bench.tasks(|task| bench.state.times(task.id).drained);
    assert_eq!(stops(&bench), []);
    bench.now = 10_000;
    bench.settle();
    let stopping = bench
        .tasks(|task| task.desired == TaskState::Remove)
        .remove(0);
    assert!(bench.state.times(stopping.id).drained);
}

#[test]
fn an_address_is_free_only_when_its_removal_is_acknowledged() {
    let mut bench = two();
    bench.network();
    bench.create(2, attached());
    bench.settle();
    bench.run();
    bench.acknowledge();
    bench.scale(1);
    bench.settle();
    let stopping = bench
        .tasks(|task| task.desired == TaskState::Remove)
        .remove(0);
    bench.see(&stopping, TaskState::Shutdown);
    bench.settle();
    let address = stopping.attachments[0].address;
    assert!(bench.state.holder(NET, address).is_some());
    bench.acknowledge();
    bench.settle();
    assert!(bench.state.holder(NET, address).is_none());
}

#[test]
fn failed_tasks_are_kept_up_to_the_history() {
    let mut bench = two();
    let mut task = builders::task_spec();
    task.restart.delay = Duration::ZERO;
    bench.create(1, task);
    bench.settle();
    for _ in 0..8 {
        let wanted = bench.wanted().remove(0);
        bench.see(&wanted, TaskState::Failed);
        let last = bench.settle();
        // After some of them there is a delay.
        bench.now = last.wake_at.map_or(bench.now, ClusterTime::millis);
        bench.settle();
    }
    assert_eq!(bench.tasks(|task| task.status.state.ended()).len(), 5);
}

#[test]
fn a_node_where_the_service_failed_five_times_is_taken_last() {
    let mut bench = Bench::new(vec![builders::up_node(1)]);
    let mut task = builders::task_spec();
    task.restart.delay = Duration::ZERO;
    bench.create(1, task);
    bench.settle();
    for _ in 0..5 {
        let wanted = bench.wanted().remove(0);
        bench.see(&wanted, TaskState::Failed);
        bench.settle();
    }
    let node = builders::up_node(2);
    bench.seen.nodes.entry(node.id).or_default().session = Session::Open;
    bench.put(Change::PutNode(Arc::new(node)));
    bench.scale(3);
    bench.settle();
    assert_eq!(bench.state.spread_of(WEB, NodeId::new(2)), 2);
}

#[test]
fn an_ingress_port_is_chosen_and_reaches_every_node() {
    let mut bench = two();
    let mut spec = builders::service_spec("web", 1, builders::task_spec());
    spec.ports = vec![builders::publish(None, PublishMode::Ingress)];
    bench.put(Change::PutService(Arc::new(builders::service(
        WEB.bits(),
        spec,
    ))));
    bench.settle();
    bench.run();
    assert_eq!(bench.state.service(WEB).unwrap().ports[0].published, 30_000);
    for number in 1..=2 {
        let view = assign(&bench.state, NodeId::new(number), 1).view;
        assert_eq!(view.ports.len(), 1);
        assert_eq!(view.networks[0].endpoints.len(), 1);
        assert_eq!(view.networks[0].endpoints[0].state, EndpointState::Live);
        assert!(
            view.nodes
                .iter()
                .all(|node| node.ingress.is_some() && node.number > 0)
        );
    }
}

#[test]
fn the_pool_skips_what_nodes_route() {
    let mut node = builders::up_node(1);
    node.description.routes = vec!["10.0.0.0/16".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
    let mut bench = Bench::new(vec![node]);
    bench.settle();
    bench.network();
    let subnet = bench.state.network(NET).unwrap().subnet;
    assert_eq!(subnet.to_string(), "10.1.16.0/24");
}

#[test]
fn a_large_service_is_planned_in_several_entries() {
    let mut bench = two();
    bench.create(5000, builders::task_spec());
    let before = bench.state.applied();
    bench.settle();
    assert!(bench.state.applied() > before + 1);
    let placed = bench
        .wanted()
        .iter()
        .filter(|task| task.node.is_some())
        .count();
    assert_eq!(placed, 5000);
}

#[test]
fn a_pass_that_just_reaches_its_limit_is_the_same_pass_everywhere() {
    let mut bench = two();
    bench.create(3, builders::task_spec());
    bench.settle();
    bench.scale(3 + u32::try_from(LARGEST_PASS).unwrap());
    bench.settle();
    assert!(!bench.places().contains(&0));
}

#[test]
fn an_unknown_node_gets_nothing_until_its_session_is_open() {
    let mut bench = Bench::new(vec![builders::node(1)]);
    bench.seen.nodes.get_mut(&NodeId::new(1)).unwrap().session = Session::Opening;
    bench.create(1, builders::task_spec());
    bench.settle();
    assert_eq!(
        bench.wanted()[0].status.error,
        "no suitable node (not up on 1 node)"
    );
    bench.seen.nodes.get_mut(&NodeId::new(1)).unwrap().session = Session::Open;
    bench.settle();
    assert_eq!(
        bench.state.node(NodeId::new(1)).unwrap().status.state,
        NodeState::Up
    );
    assert_eq!(bench.wanted()[0].status.state, TaskState::Assigned);
}
