//! What reaches a plan although nothing of the service was marked: a time that came, a node, somebody else's
//! task, what a session said. The memory of the leader is as after a look at everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders::{self, MIB};
use skep_manager::plan::{Author, Session, revised};
use skep_manager::state::{Change, Mark};
use skep_proto::ids::{NodeId, ServiceId};
use skep_proto::service::UpdateState;
use skep_proto::spec::{PublishMode, ServiceSpec, TaskSpec, UpdateConfig};
use skep_proto::task::{Task, TaskState};

use crate::bench::{Bench, WEB, two};

/// A service beside the usual one.
const OTHER: ServiceId = ServiceId::new(101);

/// Nothing is left to look at in the service: what happens next has to find its way to the plan by itself.
fn nothing_is_marked(bench: &Bench) {
    let looked = bench.seen.looked;
    let left = bench.state.marks().filter(|(mark, at)| {
        let of_service = matches!(mark, Mark::Service(WEB) | Mark::Slot(WEB, _));
        of_service && *at > looked
    });
    assert_eq!(left.collect::<Vec<_>>(), []);
}

fn only(bench: &Bench) -> Arc<Task> {
    let mut wanted = bench.wanted();
    assert_eq!(wanted.len(), 1);
    wanted.remove(0)
}

fn with_port(name: &str, id: ServiceId, task: TaskSpec) -> Change {
    let mut spec = builders::service_spec(name, 1, task);
    spec.ports = vec![builders::publish(Some(8000), PublishMode::Host)];
    Change::PutService(Arc::new(builders::service(id.bits(), spec)))
}

#[test]
fn the_time_of_the_next_attempt_comes() {
    let mut bench = two();
    let mut task = builders::task_spec();
    task.restart.delay = Duration::from_secs(5);
    bench.create(1, task);
    bench.settle();
    bench.run();
    let failed = only(&bench);
    bench.see(&failed, TaskState::Failed);
    let last = bench.settle();
    assert_eq!(only(&bench).desired, TaskState::Ready);
    nothing_is_marked(&bench);
    bench.now += 5000;
    assert_eq!(
        last.wake_at,
        Some(skep_proto::time::ClusterTime::from_millis(bench.now))
    );
    bench.settle();
    assert_eq!(only(&bench).desired, TaskState::Running);
}

#[test]
fn a_node_comes_back_to_a_task_that_found_none() {
    let mut bench = Bench::new(vec![builders::up_node(1)]);
    bench.session(1, Session::Silent);
    bench.settle();
    bench.create(1, builders::task_spec());
    bench.settle();
    assert_eq!(bench.places(), [0]);
    nothing_is_marked(&bench);
    bench.session(1, Session::Open);
    bench.settle();
    assert_eq!(bench.places(), [1]);
}

#[test]
fn a_node_comes_back_with_a_task_that_was_replaced() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    let lost = only(&bench);
    bench.session(1, Session::Silent);
    bench.settle();
    bench.run();
    assert_eq!(bench.places(), [2]);
    nothing_is_marked(&bench);
    bench.session(1, Session::Open);
    bench.settle();
    assert!(
        bench.state.times(lost.id).drained,
        "it is told to stop what was replaced"
    );
}

#[test]
fn a_node_is_down_for_so_long_that_its_tasks_are_given_up() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    let lost = only(&bench);
    bench.session(1, Session::Silent);
    bench.settle();
    bench.run();
    let at = bench.settle().wake_at.unwrap();
    nothing_is_marked(&bench);
    bench.now = at.millis();
    bench.settle();
    let given_up = bench.state.task(lost.id).map(|task| task.status.state);
    assert_eq!(given_up, Some(TaskState::Orphaned));
}

#[test]
fn a_node_has_more_of_a_generic_resource() {
    let mut bench = two();
    let task = TaskSpec {
        generic: BTreeMap::from([("gpu".to_owned(), 2)]),
        ..builders::task_spec()
    };
    bench.create(1, task);
    bench.settle();
    assert_eq!(bench.places(), [0]);
    let gpus = |number| {
        move |node: &mut skep_proto::node::Node| {
            node.description.generic = BTreeMap::from([("gpu".to_owned(), number)]);
        }
    };
    nothing_is_marked(&bench);
    bench.edit_node(2, gpus(2));
    bench.settle();
    assert_eq!(bench.places(), [2]);
    bench.run();
    nothing_is_marked(&bench);
    bench.edit_node(2, gpus(1));
    bench.settle();
    assert_eq!(bench.places(), [0], "it has less than its task reserves");
}

#[test]
fn an_update_was_watched_for_long_enough() {
    let mut bench = two();
    bench.create(1, builders::task_spec());
    bench.settle();
    bench.run();
    let old = bench.state.service(WEB).unwrap();
    let mut spec = ServiceSpec::clone(&old.spec);
    spec.task.force += 1;
    spec.update = UpdateConfig {
        delay: Duration::ZERO,
        monitor: Duration::from_secs(5),
        ..UpdateConfig::default()
    };
    let new = revised(&bench.state, old, spec, Author::default());
    bench.put(Change::PutService(Arc::new(new)));
    bench.settle();
    for gone in bench.tasks(|task| task.desired > TaskState::Running) {
        bench.see(&gone, TaskState::Shutdown);
    }
    bench.settle();
    bench.run();
    let state = |bench: &Bench| {
        let service = bench.state.service(WEB).unwrap();
        service.update.as_ref().map(|update| update.state)
    };
    assert_eq!(state(&bench), Some(UpdateState::Updating));
    nothing_is_marked(&bench);
    bench.now += 5000;
    bench.settle();
    assert_eq!(state(&bench), Some(UpdateState::Completed));
}

#[test]
fn somebody_else_leaves_a_host_port_and_room() {
    let mut bench = Bench::new(vec![builders::up_node(1)]);
    let mut large = builders::task_spec();
    large.reservations.memory = 700 * MIB;
    bench.put(with_port("other", OTHER, large.clone()));
    bench.settle();
    bench.put(with_port("web", WEB, large));
    bench.settle();
    assert_eq!(bench.places(), [0]);
    let other = bench.state.tasks_of(OTHER).next().unwrap().clone();
    assert_eq!(other.node, Some(NodeId::new(1)));
    nothing_is_marked(&bench);
    let mut service = bench.state.service(OTHER).unwrap().as_ref().clone();
    service.removed = Some(bench.state.time());
    bench.put(Change::PutService(Arc::new(service)));
    bench.settle();
    assert_eq!(bench.places(), [0], "it has not ended yet");
    nothing_is_marked(&bench);
    bench.see(&other, TaskState::Shutdown);
    bench.settle();
    assert_eq!(bench.places(), [1]);
}

#[test]
fn the_last_node_acknowledges_that_an_address_is_gone() {
    let mut bench = two();
    bench.network();
    let attached = TaskSpec {
        networks: vec![builders::on(crate::bench::NET)],
        ..builders::task_spec()
    };
    bench.create(2, attached);
    bench.settle();
    bench.run();
    bench.acknowledge();
    bench.scale(1);
    bench.settle();
    let gone = bench.tasks(|task| task.desired == TaskState::Remove);
    bench.see(&gone[0], TaskState::Shutdown);
    bench.settle();
    assert!(bench.state.task(gone[0].id).is_some());
    nothing_is_marked(&bench);
    bench.acknowledge();
    bench.settle();
    assert!(bench.state.task(gone[0].id).is_none());
}
