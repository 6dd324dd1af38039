//! Who is heard as a member of the Raft group, by what a manager knows and what a certificate says.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use skep_proto::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use skep_proto::ids::{ClusterId, NodeId};
use skep_proto::node::{
    Availability, ManagerStatus, Node, NodeDescription, NodeSpec, NodeState, NodeStatus,
};
use skep_proto::time::{ClusterTime, WallTime};

use super::*;
use crate::state::{Change, Entry};

const CLUSTER: ClusterId = ClusterId::new(1);
const NODE: NodeId = NodeId::new(7);
const NUMBER: RaftId = RaftId(70);
/// The log was applied up to here.
const APPLIED: u64 = 100;
const INCARNATION: u64 = 2;

fn cluster() -> Change {
    Change::PutCluster(Arc::new(Cluster {
        id: CLUSTER,
        version: 0,
        created: WallTime::default(),
        spec: ClusterSpec::default(),
        authority: Authority {
            certificate: Vec::new(),
            key: Vec::new(),
        },
        tokens: JoinSecrets {
            worker: [0; 16],
            manager: [1; 16],
        },
        feature_level: 1,
        incarnation: INCARNATION,
    }))
}

fn node((role, number): (Role, Option<RaftId>)) -> Change {
    let address = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1));
    Change::PutNode(Arc::new(Node {
        id: NODE,
        version: 0,
        created: WallTime::default(),
        spec: NodeSpec {
            labels: BTreeMap::new(),
            role,
            availability: Availability::Active,
        },
        description: NodeDescription::default(),
        address,
        status: NodeStatus {
            state: NodeState::Up,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
        number: 0,
        manager: number.map(|raft| ManagerStatus {
            raft,
            address: (address, 2377).into(),
        }),
    }))
}

fn state(known: Option<(Role, Option<RaftId>)>) -> State {
    let mut state = State::default();
    let changes = [cluster()].into_iter().chain(known.map(node)).collect();
    let entry = Entry {
        changes,
        ..Entry::default()
    };
    assert_eq!(state.apply(APPLIED, &entry).dropped, []);
    state
}

fn stamped(incarnation: u64, index: u64) -> Option<Stamp> {
    Some(Stamp {
        incarnation,
        index,
        raft: Some(NUMBER),
    })
}

fn heard(state: &State, role: Role, stamp: Option<Stamp>, group: &[RaftId]) -> bool {
    let peer = Peer {
        node: NODE,
        role,
        cluster: CLUSTER,
    };
    is_heard(state, &peer, stamp, |raft| group.contains(&raft))
}

/// What a state may say of a node that is no manager (any more).
const NONE: [Option<(Role, Option<RaftId>)>; 3] = [
    None,
    Some((Role::Worker, None)),
    // It was made one and has not asked for its number.
    Some((Role::Manager, None)),
];

#[test]
fn who_was_demoted_or_removed_is_refused_by_who_knows() {
    for said in NONE {
        let state = state(said);
        for stamp in [
            stamped(INCARNATION, APPLIED - 1),
            stamped(INCARNATION, APPLIED),
            // Of before the cluster was restored or forced.
            stamped(INCARNATION - 1, APPLIED + 1_000),
        ] {
            assert!(!heard(&state, Role::Manager, stamp, &[]), "{said:?}");
        }
    }
}

#[test]
fn a_manager_that_is_behind_hears_one_it_does_not_know_yet() {
    for said in NONE {
        let state = state(said);
        for stamp in [
            stamped(INCARNATION, APPLIED + 1),
            stamped(INCARNATION + 1, 0),
        ] {
            assert!(heard(&state, Role::Manager, stamp, &[]), "{said:?}");
            assert!(!heard(&state, Role::Worker, stamp, &[]), "{said:?}");
        }
    }
    // One that knows nothing hears the founder, whose certificate is older than the log.
    assert!(heard(&State::default(), Role::Manager, stamped(1, 0), &[]));
}

#[test]
fn who_is_on_its_way_out_is_heard_until_the_group_goes_on_without_it() {
    let old = stamped(INCARNATION, 1);
    let leaving = state(Some((Role::Worker, Some(NUMBER))));
    assert!(heard(&leaving, Role::Manager, old, &[]));
    for said in NONE {
        let state = state(said);
        assert!(heard(&state, Role::Manager, old, &[RaftId(1), NUMBER]));
        assert!(!heard(&state, Role::Manager, old, &[RaftId(1)]));
    }
}

#[test]
fn a_certificate_without_a_stamp_counts_where_nobody_says_otherwise() {
    assert!(heard(&state(None), Role::Manager, None, &[]));
    assert!(!heard(&state(None), Role::Worker, None, &[]));
    let worker = state(Some((Role::Worker, None)));
    assert!(!heard(&worker, Role::Manager, None, &[]));
    let manager = state(Some((Role::Manager, Some(NUMBER))));
    assert!(heard(&manager, Role::Manager, None, &[]));
}
