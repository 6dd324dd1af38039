//! What `apply` promises, change by change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use skep_proto::ids::{NodeId, RaftId, RequestId, ServiceId, TaskId};
use skep_proto::node::{
    Availability, ManagerStatus, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{ContainerSpec, PortSpec, Protocol, PublishMode, ServiceSpec, TaskSpec};
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};

use super::{Answer, Change, Entry, Misfit, State};

const WEB: ServiceId = ServiceId::new(1);
const NODE: NodeId = NodeId::new(7);
const OTHER: NodeId = NodeId::new(8);

fn node(id: NodeId) -> Change {
    Change::PutNode(Arc::new(Node {
        id,
        version: 0,
        created: WallTime::default(),
        spec: NodeSpec {
            labels: BTreeMap::new(),
            role: Role::Worker,
            availability: Availability::Active,
        },
        description: NodeDescription {
            resources: Resources {
                nano_cpus: 1_000_000_000,
                memory: 1 << 30,
            },
            ..NodeDescription::default()
        },
        address: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1)),
        status: NodeStatus {
            state: NodeState::Up,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
        number: 0,
        manager: None,
    }))
}

fn manager(id: NodeId) -> Node {
    let Change::PutNode(node) = node(id) else {
        panic!("a node");
    };
    let mut node = Node::clone(&node);
    node.spec.role = Role::Manager;
    let address = "192.168.0.1:2377".parse().unwrap();
    let raft = RaftId(u64::try_from(id.bits()).unwrap());
    node.manager = Some(ManagerStatus { raft, address });
    node
}

fn service(id: ServiceId, name: &str, port: Option<u16>) -> Service {
    let task = TaskSpec {
        reservations: Resources {
            nano_cpus: 0,
            memory: 600 << 20,
        },
        ..TaskSpec::new(ContainerSpec::new("skep/hello:latest"))
    };
    let ports = port.into_iter().map(|published| PortSpec {
        protocol: Protocol::Tcp,
        target: 80,
        published: Some(published),
        mode: PublishMode::Ingress,
    });
    let spec = ServiceSpec {
        ports: ports.collect(),
        ..ServiceSpec::new(name, task.clone())
    };
    Service {
        id,
        version: 0,
        created: WallTime::default(),
        updated: WallTime::default(),
        spec: Arc::new(spec),
        revision: 1,
        template: 1,
        templates: BTreeMap::from([(1, Arc::new(task))]),
        vips: BTreeMap::new(),
        ports: Vec::new(),
        removed: None,
        auth: None,
        history: Vec::new(),
        update: None,
    }
}

fn put(service: Service) -> Change {
    Change::PutService(Arc::new(service))
}

fn task(id: u128, slot: u32, node: Option<NodeId>) -> Task {
    Task {
        id: TaskId::new(id),
        version: 0,
        service: WEB,
        template: 1,
        slot: Slot::Replica(slot),
        node,
        desired: TaskState::Running,
        status: TaskStatus::of(TaskState::New, WallTime::default()),
        created: ClusterTime::ZERO,
        start_at: None,
        attachments: Vec::new(),
    }
}

fn put_task(task: Task) -> Change {
    Change::PutTask(Arc::new(task))
}

fn seen(id: u128, state: TaskState) -> Change {
    Change::Observed {
        task: TaskId::new(id),
        status: TaskStatus::of(state, WallTime::default()),
    }
}

/// Applies one entry for each change, from index 1; gives the last one's misfits.
fn after(changes: Vec<Change>) -> (State, Vec<Misfit>) {
    let mut state = State::default();
    let mut last = Vec::new();
    for (index, change) in (1..).zip(changes) {
        let entry = Entry {
            changes: vec![change],
            ..Entry::default()
        };
        last = state
            .apply(index, &entry)
            .dropped
            .into_iter()
            .map(|it| it.reason)
            .collect();
    }
    (state, last)
}

fn base(more: Vec<Change>) -> (State, Vec<Misfit>) {
    let mut changes = vec![node(NODE), node(OTHER), put(service(WEB, "web", Some(80)))];
    changes.extend(more);
    after(changes)
}

#[test]
fn observed_state_never_moves_back() {
    let (state, last) = base(vec![
        put_task(task(1, 1, Some(NODE))),
        seen(1, TaskState::Running),
        seen(1, TaskState::Preparing),
    ]);
    assert!(
        matches!(last.as_slice(), [Misfit::Backwards { .. }]),
        "{last:?}"
    );
    let found = state.task(TaskId::new(1)).unwrap();
    assert_eq!(found.status.state, TaskState::Running);
}

#[test]
fn a_task_keeps_its_node() {
    let mut moved = task(1, 1, Some(OTHER));
    moved.version = 4;
    let (_, last) = base(vec![put_task(task(1, 1, Some(NODE))), put_task(moved)]);
    assert!(
        matches!(last.as_slice(), [Misfit::SetOnce { .. }]),
        "{last:?}"
    );
}

#[test]
fn a_node_is_not_filled_above_what_it_has() {
    let (_, last) = base(vec![
        put_task(task(1, 1, Some(NODE))),
        put_task(task(2, 2, Some(NODE))),
    ]);
    assert!(
        matches!(last.as_slice(), [Misfit::NodeRefuses { .. }]),
        "{last:?}"
    );
    let ended = vec![
        put_task(task(1, 1, Some(NODE))),
        seen(1, TaskState::Failed),
        put_task(task(2, 2, Some(NODE))),
    ];
    assert_eq!(base(ended).1, []);
}

#[test]
fn a_slot_has_one_task_that_is_to_run() {
    let (_, last) = base(vec![put_task(task(1, 1, None)), put_task(task(2, 1, None))]);
    assert!(
        matches!(last.as_slice(), [Misfit::SlotTaken { .. }]),
        "{last:?}"
    );
}

#[test]
fn names_and_ports_have_one_holder() {
    let (_, last) = base(vec![put(service(ServiceId::new(2), "web", None))]);
    assert!(
        matches!(last.as_slice(), [Misfit::NameTaken { .. }]),
        "{last:?}"
    );
    let (_, last) = base(vec![put(service(ServiceId::new(2), "db", Some(80)))]);
    let [misfit] = last.as_slice() else {
        panic!("{last:?}")
    };
    let text = "port 80/tcp is already published by service \"web\"; choose another port";
    assert_eq!(misfit.to_string(), text);
    let mut gone = service(WEB, "web", Some(80));
    (gone.version, gone.removed) = (3, Some(ClusterTime::ZERO));
    let (_, last) = base(vec![
        put(gone),
        put(service(ServiceId::new(2), "web", Some(80))),
    ]);
    assert_eq!(last, [], "a removed service holds neither");
}

#[test]
fn a_command_is_applied_whole_or_not_at_all_and_once() {
    let (mut state, _) = base(Vec::new());
    let mut entry = Entry {
        request: Some(RequestId::new(5)),
        answer: Answer::Service(ServiceId::new(2)),
        atomic: true,
        changes: vec![
            put(service(ServiceId::new(2), "db", None)),
            put(service(ServiceId::new(3), "web", None)),
        ],
        ..Entry::default()
    };
    assert!(!state.apply(10, &entry).fits());
    assert!(state.service_named("db").is_none());
    entry.changes.pop();
    assert!(
        state.apply(11, &entry).fits(),
        "a refused request may be tried again"
    );
    let repeat = state.apply(12, &entry);
    assert_eq!(repeat.repeated, Some(Answer::Service(ServiceId::new(2))));
    assert_eq!(state.service_named("db").unwrap().version, 11);
    let late = Entry {
        time: ClusterTime::from_millis(600_001),
        ..Entry::default()
    };
    state.apply(13, &late);
    assert!(state.answered(RequestId::new(5)).is_none());
}

#[test]
fn the_last_manager_stays_one() {
    let to_be_worker = |version| {
        let mut node = manager(NODE);
        (node.version, node.spec.role) = (version, Role::Worker);
        Change::PutNode(Arc::new(node))
    };
    let deletion = |version| Change::DeleteNode {
        node: NODE,
        version,
    };
    let one = || Change::PutNode(Arc::new(manager(NODE)));
    let two = || Change::PutNode(Arc::new(manager(OTHER)));
    for change in [to_be_worker(1), deletion(1)] {
        let (state, last) = after(vec![one(), change.clone()]);
        assert_eq!(last, [Misfit::LastManager { node: NODE }]);
        assert_eq!(state.managers().count(), 1);
        // One that has no number in the Raft group yet decides nothing.
        let mut promoted = manager(OTHER);
        promoted.manager = None;
        let promoted = Change::PutNode(Arc::new(promoted));
        assert_eq!(after(vec![one(), promoted, change.clone()]).1.len(), 1);
        let (state, last) = after(vec![one(), two(), change]);
        assert_eq!(last, []);
        let managers: Vec<NodeId> = state.managers().map(|node| node.id).collect();
        assert_eq!(managers, [OTHER]);
    }
    let (_, last) = after(vec![one(), two(), to_be_worker(1), deletion(3)]);
    assert_eq!(last, [], "one that is on its way out may go");
}

#[test]
fn marks_go_when_a_plan_has_looked() {
    let (mut state, _) = base(Vec::new());
    assert_eq!(state.marks().count(), 3);
    state.apply(
        9,
        &Entry {
            looked: Some(2),
            ..Entry::default()
        },
    );
    assert_eq!(state.marks().count(), 1);
}

#[test]
fn a_state_taken_apart_and_loaded_is_equal() {
    let (state, _) = base(vec![
        put_task(task(1, 1, Some(NODE))),
        seen(1, TaskState::Failed),
        Change::SetDesired {
            task: TaskId::new(1),
            desired: TaskState::Shutdown,
        },
        put_task(Task {
            start_at: Some(ClusterTime::ZERO),
            ..task(2, 1, Some(OTHER))
        }),
    ]);
    assert_eq!(State::from_objects(state.objects()), state);
    assert_eq!(state.failures(WEB, NODE).len(), 1);
    assert_eq!(state.restarts(WEB, Slot::Replica(1)).unwrap().total, 1);
}

#[test]
fn what_was_asked_to_stop_is_no_failure_of_its_node() {
    let stopped = Change::SetDesired {
        task: TaskId::new(1),
        desired: TaskState::Shutdown,
    };
    let ended = seen(1, TaskState::Failed);
    let (state, _) = base(vec![
        put_task(task(1, 1, Some(NODE))),
        stopped.clone(),
        ended.clone(),
    ]);
    assert_eq!(state.failures(WEB, NODE).len(), 0);
    let (state, _) = base(vec![put_task(task(1, 1, Some(NODE))), ended, stopped]);
    assert_eq!(state.failures(WEB, NODE).len(), 1);
}
