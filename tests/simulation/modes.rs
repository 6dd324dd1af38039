//! What each mode of a service does: global, jobs, and attempts after failures.

use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders;
use skep_manager::plan::{Session, standing};
use skep_proto::ids::NodeId;
use skep_proto::node::Availability;
use skep_proto::service::Service;
use skep_proto::spec::{Mode, RestartCondition, TaskSpec};
use skep_proto::task::{Slot, Task, TaskState};

use crate::bench::{Bench, WEB, two};

fn constrained(text: &str) -> TaskSpec {
    TaskSpec {
        constraints: vec![text.parse().unwrap()],
        ..builders::task_spec()
    }
}

fn counts(bench: &Bench) -> (u32, u32, Option<u32>, bool) {
    let found = standing(&bench.state, bench.state.service(WEB).unwrap());
    (
        found.running,
        found.desired,
        found.completed,
        found.converged,
    )
}

/// The tasks that run now end like this.
fn end(bench: &mut Bench, state: TaskState) {
    let running = bench.tasks(|task| {
        task.desired == TaskState::Running && task.status.state == TaskState::Running
    });
    for task in running {
        bench.see(&task, state);
    }
    bench.settle();
}

/// A new spec of which only the force number differs.
fn force(service: &mut Service) {
    service.revision += 1;
    service.template = service.revision;
    let mut spec = service.spec.as_ref().clone();
    spec.task.force += 1;
    service
        .templates
        .insert(service.template, Arc::new(spec.task.clone()));
    service.spec = Arc::new(spec);
}

#[test]
fn a_global_service_has_one_task_on_each_node_also_on_one_that_joins() {
    let mut bench = two();
    bench.create_as(Mode::Global, builders::task_spec());
    bench.settle();
    assert_eq!(bench.places(), [1, 2]);
    let at_home = |task: &Arc<Task>| Some(task.slot) == task.node.map(Slot::Node);
    assert!(bench.wanted().iter().all(at_home));
    bench.join(builders::up_node(3));
    bench.settle();
    assert_eq!(bench.places(), [1, 2, 3]);
    assert_eq!(counts(&bench), (0, 3, None, false));
    bench.run();
    assert_eq!(counts(&bench), (3, 3, None, true));
}

#[test]
fn a_global_service_leaves_nodes_that_do_not_meet_its_constraints() {
    let mut bench = two();
    bench.label(1, "disk", "ssd");
    bench.create_as(Mode::Global, constrained("node.labels.disk==ssd"));
    bench.settle();
    bench.run();
    assert_eq!(bench.places(), [1]);
    bench.label(2, "disk", "ssd");
    bench.label(1, "disk", "hdd");
    bench.settle();
    assert_eq!(bench.places(), [2]);
    bench.run();
    assert_eq!(counts(&bench), (1, 1, None, false), "one ends still");
}

#[test]
fn a_global_task_stays_with_a_node_that_is_down_and_runs_on_when_it_returns() {
    let mut bench = two();
    bench.create_as(Mode::Global, builders::task_spec());
    bench.settle();
    bench.run();
    let before: Vec<_> = bench.wanted().iter().map(|task| task.id).collect();
    bench.session(1, Session::Silent);
    bench.settle();
    assert_eq!(counts(&bench), (1, 1, None, true));
    bench.session(1, Session::Open);
    bench.settle();
    let after: Vec<_> = bench.wanted().iter().map(|task| task.id).collect();
    assert_eq!(before, after);
    assert_eq!(counts(&bench), (2, 2, None, true));
}

#[test]
fn a_drained_node_has_no_global_task_and_a_paused_one_keeps_its() {
    let mut bench = two();
    bench.create_as(Mode::Global, builders::task_spec());
    bench.settle();
    bench.run();
    bench.set(1, Availability::Drain);
    bench.set(2, Availability::Pause);
    bench.settle();
    assert_eq!(bench.places(), [2]);
    assert_eq!(counts(&bench).1, 1);
    bench.set(1, Availability::Active);
    bench.settle();
    assert_eq!(bench.places(), [1, 2]);
}

#[test]
fn a_global_task_without_room_says_so_and_waits_for_its_own_node() {
    let mut bench = two();
    bench.edit_node(1, |node| node.description.resources.memory = 1);
    let mut task = builders::task_spec();
    task.reservations.memory = 2;
    bench.create_as(Mode::Global, task);
    bench.settle();
    assert_eq!(bench.places(), [0, 2]);
    let waits = bench.tasks(|task| task.node.is_none()).remove(0);
    let reason = "no suitable node (insufficient memory on 1 node)";
    assert_eq!(waits.status.error, reason);
    bench.edit_node(1, |node| node.description.resources.memory = 2);
    bench.settle();
    assert_eq!(bench.places(), [1, 2]);
}

#[test]
fn a_node_that_is_removed_takes_its_global_task_with_it() {
    let mut bench = two();
    bench.create_as(Mode::Global, builders::task_spec());
    bench.settle();
    bench.run();
    let node = NodeId::new(1);
    let version = bench.state.node(node).unwrap().version;
    bench.seen.nodes.remove(&node);
    bench.put(skep_manager::state::Change::DeleteNode { node, version });
    bench.settle();
    assert_eq!(bench.places(), [2]);
    assert_eq!(
        bench.tasks(|_| true).len(),
        1,
        "nothing is kept of the other"
    );
}

#[test]
fn a_job_runs_so_many_at_a_time_until_so_many_ended_well() {
    let mut bench = two();
    let mode = Mode::ReplicatedJob {
        total: 5,
        max_concurrent: 2,
    };
    bench.create_as(mode, builders::task_spec());
    for (done, running) in [(0, 2), (2, 2), (4, 1)] {
        bench.settle();
        bench.run();
        assert_eq!(counts(&bench), (running, running, Some(done), false));
        end(&mut bench, TaskState::Complete);
    }
    assert_eq!(counts(&bench), (0, 0, Some(5), true));
    assert_eq!(bench.wanted().len(), 5, "what completed is shown");
    bench.now = 3_600_000;
    assert!(bench.settle().changes.is_empty(), "and is never run again");
}

#[test]
fn a_job_tries_again_what_failed_and_gives_up_when_the_policy_does() {
    let mut bench = two();
    let mode = Mode::ReplicatedJob {
        total: 2,
        max_concurrent: 1,
    };
    let mut task = builders::task_spec();
    task.restart.delay = Duration::ZERO;
    task.restart.max_attempts = Some(1);
    bench.create_as(mode, task);
    bench.settle();
    for _ in 0..2 {
        bench.run();
        assert_eq!(counts(&bench).1, 1);
        end(&mut bench, TaskState::Failed);
    }
    bench.run();
    let second = bench.tasks(|task| task.status.state == TaskState::Running);
    assert_eq!(second[0].slot, Slot::Replica(2), "the next has its turn");
    end(&mut bench, TaskState::Complete);
    let found = standing(&bench.state, bench.state.service(WEB).unwrap());
    assert_eq!((found.completed, found.given_up.len()), (Some(1), 1));
    assert!(found.converged);
}

#[test]
fn a_job_whose_spec_is_forced_begins_anew() {
    for mode in [
        Mode::ReplicatedJob {
            total: 3,
            max_concurrent: 2,
        },
        Mode::GlobalJob,
    ] {
        let mut bench = two();
        bench.create_as(mode, builders::task_spec());
        bench.settle();
        bench.run();
        let slots = bench.wanted().len();
        let first = bench.wanted().remove(0);
        bench.see(&first, TaskState::Complete);
        bench.settle();
        bench.edit(force);
        bench.settle();
        let fresh = bench.wanted();
        assert_eq!(fresh.len(), slots, "{mode:?}");
        assert!(fresh.iter().all(|task| task.template == 2));
        assert_eq!(counts(&bench).2, Some(0));
    }
}

#[test]
fn a_global_job_runs_once_on_each_node_and_on_one_that_joins() {
    let mut bench = two();
    bench.create_as(Mode::GlobalJob, builders::task_spec());
    bench.settle();
    bench.run();
    end(&mut bench, TaskState::Complete);
    assert_eq!(counts(&bench), (0, 0, Some(2), true));
    bench.join(builders::up_node(3));
    bench.settle();
    bench.run();
    assert_eq!(counts(&bench), (1, 1, Some(2), false));
    end(&mut bench, TaskState::Complete);
    assert_eq!(counts(&bench), (0, 0, Some(3), true));
}

#[test]
fn a_task_of_a_job_that_is_lost_with_its_node_runs_elsewhere() {
    let mut bench = two();
    let mode = Mode::ReplicatedJob {
        total: 2,
        max_concurrent: 2,
    };
    bench.create_as(mode, builders::task_spec());
    bench.settle();
    bench.run();
    bench.session(1, Session::Silent);
    bench.settle();
    assert_eq!(bench.places(), [2, 2]);
}

#[test]
fn attempts_wait_longer_after_failures_in_a_row_and_begin_anew_after_a_steady_run() {
    let mut bench = two();
    let mut task = builders::task_spec();
    task.restart.delay = Duration::from_secs(1);
    task.restart.condition = RestartCondition::OnFailure;
    bench.create(1, task);
    bench.settle();
    let mut waited = Vec::new();
    for _ in 0..6 {
        bench.run();
        let begun = bench.now;
        end(&mut bench, TaskState::Failed);
        bench.now = bench.wanted()[0].start_at.unwrap().millis();
        waited.push((bench.now - begun) / 1000);
        bench.settle();
    }
    assert_eq!(waited, [1, 1, 1, 2, 4, 8]);
    bench.run();
    bench.now += 60_000;
    let begun = bench.now;
    end(&mut bench, TaskState::Failed);
    let next = bench.wanted()[0].start_at.unwrap().millis();
    assert_eq!(next - begun, 1000, "it had run for a minute");
}
