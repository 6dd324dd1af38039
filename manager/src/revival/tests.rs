//! Backups read back or are refused; who goes on is the only manager.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use skep_proto::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use skep_proto::drill::{Drill, DrillKind, FUSE};
use skep_proto::ids::{ClusterId, DrillId, NodeId, RaftId};
use skep_proto::node::{
    Availability, ManagerStatus, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use skep_proto::time::{ClusterTime, WallTime};

use super::{Backup, BackupError, Survivor, force, forget, restore};
use crate::raft::{Config, Consensus, Published};
use crate::state::{Change, Entry, State};

const FIRST: NodeId = NodeId::new(1);
const SECOND: NodeId = NodeId::new(2);
const WORKER: NodeId = NodeId::new(3);
const NEW: NodeId = NodeId::new(9);

fn address(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 0, last)), 2377)
}

fn node(id: NodeId, role: Role, last: u8) -> Arc<Node> {
    let manager = (role == Role::Manager).then(|| ManagerStatus {
        raft: RaftId(u64::from(last)),
        address: address(last),
    });
    Arc::new(Node {
        id,
        version: 0,
        created: WallTime::default(),
        spec: NodeSpec {
            labels: Default::default(),
            role,
            availability: Availability::Active,
        },
        description: NodeDescription::default(),
        address: address(last).ip(),
        status: NodeStatus {
            state: NodeState::Up,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
        number: u16::from(last),
        manager,
    })
}

fn entry() -> Entry {
    let cluster = Cluster {
        id: ClusterId::new(5),
        version: 0,
        created: WallTime::default(),
        spec: ClusterSpec::default(),
        authority: Authority {
            certificate: vec![1],
            key: vec![2],
        },
        tokens: JoinSecrets {
            worker: [3; 16],
            manager: [4; 16],
        },
        feature_level: 1,
        incarnation: 4,
    };
    let nodes = [
        node(FIRST, Role::Manager, 1),
        node(SECOND, Role::Manager, 2),
        node(WORKER, Role::Worker, 3),
    ];
    let mut changes = vec![Change::PutCluster(Arc::new(cluster))];
    changes.extend(nodes.map(Change::PutNode));
    Entry {
        changes,
        ..Entry::default()
    }
}

fn backup() -> Backup {
    let mut state = State::default();
    assert!(state.apply(40, &entry()).dropped.is_empty());
    Backup::new(Published { state, applied: 40 })
}

fn bytes(backup: &Backup) -> Vec<u8> {
    let mut bytes = Vec::new();
    backup.write(&mut bytes).unwrap();
    bytes
}

fn survivor(node: Arc<Node>) -> Survivor {
    Survivor {
        node,
        raft: RaftId(90),
        address: address(9),
        images: Vec::new(),
        asked: "test",
    }
}

fn roles(state: &State) -> Vec<(NodeId, Role, Option<RaftId>)> {
    let role = |node: &Arc<Node>| {
        (
            node.id,
            node.spec.role,
            node.manager.as_ref().map(|it| it.raft),
        )
    };
    state.nodes().map(role).collect()
}

#[test]
fn a_backup_reads_back_equal() {
    let made = backup();
    let read = Backup::read(&mut bytes(&made).as_slice()).unwrap();
    assert_eq!(read.published.state, made.published.state);
    assert_eq!(read.content(), made.content());
    assert_eq!(read.content().revision, 40);
    assert_eq!(read.content().nodes, 3);
    assert_eq!(read.cluster().unwrap().id, ClusterId::new(5));
}

#[test]
fn a_backup_that_is_cut_or_altered_anywhere_is_refused() {
    let whole = bytes(&backup());
    for len in 0..whole.len() {
        let read = Backup::read(&mut whole.get(..len).unwrap());
        assert!(read.is_err(), "cut at {len} of {}", whole.len());
    }
    for at in 0..whole.len() {
        let mut altered = whole.clone();
        if let Some(byte) = altered.get_mut(at) {
            *byte ^= 0x41;
        }
        assert!(Backup::read(&mut altered.as_slice()).is_err(), "byte {at}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    let refused = Backup::read(&mut longer.as_slice()).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged(_)), "{refused}");
}

#[test]
fn what_is_no_backup_or_a_newer_one_says_so() {
    let refused = Backup::read(&mut b"PK nonsense of some length".as_slice()).unwrap_err();
    assert!(matches!(refused, BackupError::Foreign), "{refused}");
    let mut newer = bytes(&backup());
    if let Some(version) = newer.get_mut(8) {
        *version = 7;
    }
    let refused = Backup::read(&mut newer.as_slice()).unwrap_err();
    assert!(matches!(refused, BackupError::Version(7)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_goes_on_from_a_backup_as_the_only_manager() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("manager");
    let new = node(NEW, Role::Worker, 9);
    restore(&directory, backup(), survivor(new)).await.unwrap();
    let restored: Published<State> = Consensus::salvage(Config::new(&directory)).await.unwrap();
    assert_eq!(restored.applied, 41);
    assert_eq!(restored.state.cluster().unwrap().incarnation, 5);
    assert_eq!(
        roles(&restored.state),
        [
            (FIRST, Role::Worker, None),
            (SECOND, Role::Worker, None),
            (WORKER, Role::Worker, None),
            (NEW, Role::Manager, Some(RaftId(90))),
        ]
    );
    let again = restore(&directory, backup(), survivor(node(NEW, Role::Worker, 9))).await;
    assert!(again.is_err(), "nothing is written over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_of_then_is_called_off() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("manager");
    let mut state = backup().published.state;
    let id = DrillId::new(7);
    let drill = Drill {
        id,
        version: 0,
        kind: DrillKind::Link,
        node: WORKER,
        task: None,
        fill: None,
        target: "worker".into(),
        by: "anna@first".into(),
        begun: WallTime::default(),
        begun_at: ClusterTime::ZERO,
        fuse: FUSE,
        lasts: Duration::from_secs(15),
        lease: Duration::from_secs(60),
        services: Vec::new(),
        obeyed: None,
        end: None,
    };
    let begun = Entry {
        changes: vec![Change::PutDrill(Arc::new(drill))],
        ..Entry::default()
    };
    assert!(state.apply(41, &begun).dropped.is_empty());
    assert!(state.drill_of(WORKER, state.time()).is_some());
    let backup = Backup::new(Published { state, applied: 41 });
    let new = survivor(node(NEW, Role::Worker, 9));
    restore(&directory, backup, new).await.unwrap();
    let restored: Published<State> = Consensus::salvage(Config::new(&directory)).await.unwrap();
    let state = restored.state;
    assert_eq!(state.drill_of(WORKER, state.time()), None);
    let end = state.drill(id).unwrap().end.as_ref().unwrap();
    assert_eq!(end.verdict, "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_is_forced_to_go_on_alone_with_all_it_had() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("manager");
    let first = node(FIRST, Role::Manager, 1);
    restore(&directory, backup(), survivor(node(NEW, Role::Worker, 9)))
        .await
        .unwrap();
    // A try that was cut short before.
    std::fs::create_dir(home.path().join("manager.next")).unwrap();
    std::fs::write(home.path().join("manager.next/lock"), "").unwrap();

    let unknown = force(&directory, NodeId::new(99), address(1)).await;
    assert!(unknown.unwrap_err().to_string().contains("not known"));
    force(&directory, FIRST, address(1)).await.unwrap();
    let forced: Published<State> = Consensus::salvage(Config::new(&directory)).await.unwrap();
    assert_eq!(forced.applied, 42);
    assert_eq!(forced.state.cluster().unwrap().incarnation, 6);
    let managers = forced.state.nodes().filter(|node| node.manager.is_some());
    assert_eq!(managers.map(|node| node.id).collect::<Vec<_>>(), [first.id]);
    forget(&directory).unwrap();
    assert!(!home.path().join("manager.next").exists());
}
