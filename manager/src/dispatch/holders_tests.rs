use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use skep_proto::node::{Availability, Node, NodeDescription, NodeSpec, NodeStatus, Role};

use super::*;
use crate::plan::SeenNode;
use crate::state::{Change, Entry};

const IMAGE: Digest = Digest([1; 32]);
const BUILT_IN: Digest = Digest([2; 32]);

fn node(number: u8, state: NodeState) -> Change {
    Change::PutNode(Arc::new(Node {
        id: NodeId::new(number.into()),
        version: 0,
        created: Default::default(),
        spec: NodeSpec {
            labels: BTreeMap::new(),
            role: Role::Worker,
            availability: Availability::Active,
        },
        description: NodeDescription {
            hostname: format!("node-{number}"),
            door: Some(2377),
            ..NodeDescription::default()
        },
        address: IpAddr::from([192, 168, 0, number]),
        status: NodeStatus {
            state,
            since: Default::default(),
            message: String::new(),
        },
        number: 0,
        manager: None,
    }))
}

fn check(third: NodeState, images: Option<BTreeSet<Digest>>, expected: Option<HolderState>) {
    let mut state = State::default();
    let changes = vec![node(1, NodeState::Up), node(3, third)];
    let entry = Entry {
        changes,
        ..Entry::default()
    };
    state.apply(1, &entry);
    let mut seen = Seen::default();
    let entry = |images| SeenNode {
        images,
        ..SeenNode::default()
    };
    let mine = BTreeSet::from([IMAGE, BUILT_IN]);
    seen.nodes.insert(NodeId::new(1), entry(mine));
    if let Some(images) = images {
        seen.nodes.insert(NodeId::new(3), entry(images));
    }
    let expected: Vec<Holder> = expected
        .map(|state| Holder {
            name: "node-3".into(),
            door: Some("192.168.0.3:2377".parse().unwrap()),
            state,
        })
        .into_iter()
        .collect();
    assert_eq!(holders(&state, &seen, IMAGE, NodeId::new(1)), expected);
}

#[test]
fn a_node_that_is_up_and_has_it_is_named_with_its_door() {
    let images = BTreeSet::from([IMAGE, BUILT_IN]);
    check(NodeState::Up, Some(images), Some(HolderState::Up));
    check(NodeState::Up, Some(BTreeSet::from([BUILT_IN])), None);
}

#[test]
fn a_node_that_is_down_and_had_it_is_told_from_one_that_had_it_not() {
    let images = BTreeSet::from([IMAGE, BUILT_IN]);
    check(NodeState::Down, Some(images), Some(HolderState::Down));
    check(NodeState::Down, Some(BTreeSet::from([BUILT_IN])), None);
}

#[test]
fn a_node_that_a_new_leader_has_not_heard_may_have_it() {
    check(NodeState::Down, None, Some(HolderState::Unheard));
    let nothing = Some(BTreeSet::new());
    check(NodeState::Down, nothing, Some(HolderState::Unheard));
}
