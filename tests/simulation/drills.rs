//! What a drill would take and touch, and each thing that speaks against it.

use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders::{self, MIB};
use skep_manager::plan::drill::{Drilled, Target, Wish, behind, cut_ports, drilled, steps};
use skep_manager::state::Change;
use skep_proto::drill::{Drill, DrillEnd, DrillKind, FUSE, Fill, Obeyed};
use skep_proto::ids::{DrillId, NodeId, RaftId};
use skep_proto::node::{ManagerStatus, Node, NodeState, Role};
use skep_proto::service::Service;
use skep_proto::spec::{Mode, RestartCondition, ServiceSpec};
use skep_proto::task::TaskState;
use skep_proto::time::{ClusterTime, WallTime};

use crate::bench::{Bench, NET, WEB};

const LEADER: NodeId = NodeId::new(1);

fn manager(number: u8) -> Node {
    let mut node = builders::up_node(number);
    node.spec.role = Role::Manager;
    node.manager = Some(ManagerStatus {
        raft: RaftId(u64::from(number)),
        address: (node.address, 2377).into(),
    });
    node
}

/// Managers, then workers; each has a task of `web`, which is whole.
fn world(managers: u8, workers: u8) -> Bench {
    let managing = (1..=managers).map(manager);
    let working = (managers + 1..=managers + workers).map(builders::up_node);
    let mut bench = Bench::new(managing.chain(working).collect());
    bench.create(u32::from(managers + workers), builders::task_spec());
    bench.settle();
    bench.run();
    bench
}

fn wish(kind: DrillKind, target: Option<Target>) -> Wish {
    Wish {
        kind,
        target,
        fill: Fill::default(),
        lasts: Duration::from_secs(15),
        asked_on: Some(LEADER),
        leader: LEADER,
    }
}

fn of_node(number: u128) -> Option<Target> {
    Some(Target::Node(NodeId::new(number)))
}

fn look(bench: &Bench, kind: DrillKind, target: Option<Target>) -> Drilled {
    let now = ClusterTime::from_millis(bench.now);
    drilled(&bench.state, &bench.seen, now, &wish(kind, target)).unwrap()
}

fn refused(bench: &Bench, kind: DrillKind, target: Option<Target>, why: &str) {
    let found = look(bench, kind, target);
    let all = found.refusals.join("; ");
    assert!(all.contains(why), "{kind}: no \"{why}\" in \"{all}\"");
    assert_eq!(found.refusals.len(), 1, "{kind}: only that: {all}");
}

fn spec(bench: &mut Bench, change: impl FnOnce(&mut ServiceSpec)) {
    bench.edit(|service: &mut Service| {
        let mut spec = ServiceSpec::clone(&service.spec);
        change(&mut spec);
        service.spec = Arc::new(spec);
    });
    bench.settle();
}

fn label(bench: &mut Bench, name: &str, value: &str) {
    spec(bench, |spec| {
        spec.labels.insert(name.into(), value.into());
    });
}

#[test]
fn what_is_touched_is_told_and_nothing_speaks_against_it() {
    let bench = world(3, 2);
    for kind in [
        DrillKind::Node,
        DrillKind::Link,
        DrillKind::RestartDaemon,
        DrillKind::Disk,
    ] {
        let found = look(&bench, kind, of_node(4));
        assert_eq!(found.refusals, [""; 0]);
        assert_eq!((found.target.as_str(), found.tasks.len()), ("node-4", 1));
        let web = &found.services[0];
        assert_eq!((web.desired, web.running, web.touched), (5, 5, 1));
    }
    let found = look(&bench, DrillKind::Task, Some(Target::Service(WEB)));
    assert_eq!(found.refusals, [""; 0]);
    assert!(
        found.task.is_some() && found.target.starts_with("web."),
        "{found:?}"
    );
    let wish = wish(DrillKind::Node, of_node(4));
    let told = steps(
        &bench.state,
        &wish,
        &look(&bench, DrillKind::Node, of_node(4)),
    );
    let told = told.join("\n");
    assert!(
        told.contains("TCP 2377 and UDP 4789") && told.contains("after 15s"),
        "{told}"
    );
    assert_eq!(cut_ports(&bench.state).tcp, [2377]);
    let disk = Wish {
        kind: DrillKind::Disk,
        ..wish
    };
    let told = steps(
        &bench.state,
        &disk,
        &look(&bench, DrillKind::Disk, of_node(4)),
    );
    let told = told.join("\n");
    assert!(
        told.contains("but for 0 bytes")
            && told.contains("refuses the drill")
            && !told.contains("2377"),
        "{told}"
    );
}

#[test]
fn a_target_is_chosen_that_can_be_spared() {
    let mut bench = world(3, 2);
    // Neither the leader, through which it is asked, nor one that is labelled.
    bench.label(4, "drill", "never");
    for kind in [DrillKind::Node, DrillKind::Link, DrillKind::RestartDaemon] {
        let found = look(&bench, kind, None);
        assert_eq!(found.refusals, [""; 0]);
        assert!(![1, 4].contains(&found.node.bits()), "{found:?}");
    }
    assert!(look(&bench, DrillKind::Task, None).task.is_some());
    // Where none can be, the first says why.
    label(&mut bench, "drill", "never");
    refused(
        &bench,
        DrillKind::Task,
        None,
        "service \"web\" has the label drill=never",
    );
}

#[test]
fn a_majority_of_managers_has_to_be_left() {
    let mut bench = world(3, 1);
    let other = Some(NodeId::new(4));
    let ask = |bench: &Bench, number| {
        let wish = Wish {
            asked_on: other,
            ..wish(DrillKind::Link, of_node(number))
        };
        let found = drilled(&bench.state, &bench.seen, ClusterTime::ZERO, &wish);
        found.unwrap().refusals
    };
    assert_eq!(ask(&bench, 2), [""; 0]);
    bench.put(Change::Turned {
        node: NodeId::new(3),
        status: skep_proto::node::NodeStatus {
            state: NodeState::Down,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
    });
    bench.session(3, skep_manager::plan::Session::Silent);
    bench.settle();
    bench.run();
    let refusals = ask(&bench, 2).join("; ");
    assert!(
        refusals.contains("node-2 is a manager: without it 1 of 3"),
        "{refusals}"
    );
    assert!(ask(&bench, 3).join("; ").contains("node-3 is down"));
    // A task may end all the same.
    assert_eq!(look(&bench, DrillKind::Task, None).refusals, [""; 0]);
}

#[test]
fn the_leader_is_taken_and_not_from_its_own_socket() {
    let bench = world(3, 0);
    refused(
        &bench,
        DrillKind::Leader,
        None,
        "you ask through node-1 itself",
    );
    let wish = Wish {
        asked_on: Some(NodeId::new(2)),
        ..wish(DrillKind::Leader, None)
    };
    let found = drilled(&bench.state, &bench.seen, ClusterTime::ZERO, &wish).unwrap();
    assert_eq!((found.node, found.refusals.len()), (LEADER, 0));
}

#[test]
fn a_service_keeps_its_minimum_and_its_labels_count() {
    let mut bench = world(1, 2);
    let node = || of_node(3);
    label(&mut bench, "drill.minimum", "3");
    refused(
        &bench,
        DrillKind::Node,
        node(),
        "left with 2 of 3 tasks, and its minimum is 3",
    );
    assert_eq!(
        look(&bench, DrillKind::RestartDaemon, node()).refusals,
        [""; 0]
    );
    label(&mut bench, "drill.minimum", "many");
    refused(
        &bench,
        DrillKind::Link,
        node(),
        "drill.minimum=many, which is no number",
    );
    label(&mut bench, "drill.minimum", "0");
    assert_eq!(look(&bench, DrillKind::Node, node()).refusals, [""; 0]);
    label(&mut bench, "drill", "never");
    refused(&bench, DrillKind::RestartDaemon, node(), "drill=never");
    let mut alone = world(1, 0);
    refused(&alone, DrillKind::Task, None, "left with 0 of 1 tasks");
    label(&mut alone, "drill.minimum", "0");
    assert_eq!(look(&alone, DrillKind::Task, None).refusals, [""; 0]);
}

#[test]
fn what_would_not_come_back_is_refused() {
    let mut bench = world(1, 2);
    spec(&mut bench, |spec| {
        spec.task.restart.condition = RestartCondition::None;
    });
    for kind in [DrillKind::Node, DrillKind::Task] {
        let target = (kind == DrillKind::Node).then_some(Target::Node(NodeId::new(3)));
        refused(&bench, kind, target, "--restart-condition none");
    }
    // One that is cut off goes on, and is replaced as lost.
    assert_eq!(look(&bench, DrillKind::Link, of_node(3)).refusals, [""; 0]);

    let mut job = Bench::new((1..=2).map(builders::up_node).collect());
    let mode = Mode::ReplicatedJob {
        total: 2,
        max_concurrent: 2,
    };
    job.create_as(mode, builders::task_spec());
    job.settle();
    job.run();
    refused(&job, DrillKind::Link, of_node(2), "is a job");
}

#[test]
fn a_service_that_is_not_whole_is_waited_for() {
    let mut bench = world(1, 2);
    let task = bench.wanted()[0].clone();
    bench.see(&task, TaskState::Failed);
    bench.settle();
    let number = 3;
    refused(
        &bench,
        DrillKind::Link,
        of_node(number),
        "is not whole: 2 of 3 tasks run",
    );
}

#[test]
fn there_has_to_be_room_for_what_is_replaced() {
    let mut bench = Bench::new((1..=2).map(builders::up_node).collect());
    let mut task = builders::task_spec();
    task.reservations.memory = 600 * MIB;
    bench.create(2, task);
    bench.settle();
    bench.run();
    refused(
        &bench,
        DrillKind::Node,
        of_node(2),
        "would find no other place",
    );
    bench.join(builders::up_node(3));
    bench.settle();
    assert_eq!(look(&bench, DrillKind::Node, of_node(2)).refusals, [""; 0]);
}

#[test]
fn one_drill_at_a_time_until_its_lease_is_over() {
    let mut bench = world(1, 2);
    let drill = Drill {
        id: DrillId::new(1),
        version: 0,
        kind: DrillKind::Link,
        node: NodeId::new(2),
        task: None,
        fill: None,
        target: "node-2".into(),
        by: "anna@node-1".into(),
        begun: WallTime::default(),
        begun_at: ClusterTime::from_millis(bench.now),
        fuse: FUSE,
        lasts: Duration::from_secs(15),
        lease: Duration::from_secs(60),
        services: vec![WEB],
        obeyed: None,
        end: None,
    };
    bench.put(Change::PutDrill(Arc::new(drill.clone())));
    let why = "another drill goes on: link of node-2, begun by anna@node-1; it ends by itself within 61 s";
    refused(&bench, DrillKind::Task, None, why);
    // It is ended, and its node, which accepted it, cannot be told.
    let kept = bench.state.drill(drill.id).unwrap();
    bench.put(Change::PutDrill(Arc::new(Drill {
        version: kept.version,
        obeyed: Some(Obeyed {
            accepted: WallTime::default(),
            undone: None,
        }),
        end: Some(DrillEnd {
            at: WallTime::default(),
            verdict: "stopped".into(),
            report: String::new(),
        }),
        ..drill
    })));
    let why = "node-2 has not said yet that the drill link of node-2 is over there";
    refused(&bench, DrillKind::Task, None, why);
    bench.now += 60_000;
    assert_eq!(look(&bench, DrillKind::Task, None).refusals, [""; 0]);
}

#[test]
fn who_has_not_got_the_new_names_is_named() {
    let mut bench = Bench::new((1..=3).map(builders::up_node).collect());
    bench.network();
    let mut task = builders::task_spec();
    task.networks.push(builders::on(NET));
    bench.create(3, task);
    bench.settle();
    bench.acknowledge();
    bench.run();
    let networks = [NET].into();
    let late = behind(&bench.state, &bench.seen, &networks);
    assert_eq!(late.len(), 3, "all of them run since, and nobody said so");
    bench.acknowledge();
    assert!(behind(&bench.state, &bench.seen, &networks).is_empty());
    // One that is down is not waited for.
    bench.now = 10_000;
    bench.session(3, skep_manager::plan::Session::Silent);
    bench.settle();
    let late = behind(&bench.state, &bench.seen, &networks);
    assert!(
        !late.contains(&NodeId::new(3)) && !late.is_empty(),
        "{late:?}"
    );
}
