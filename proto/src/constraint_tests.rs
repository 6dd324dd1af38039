//! How constraints are read, written and met.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::ids::NodeId;
use crate::node::{Availability, NodeDescription, NodeSpec, NodeState, NodeStatus, Role};
use crate::time::{ClusterTime, WallTime};

#[test]
fn what_is_written_reads_back() {
    for text in [
        "node.role==manager",
        "node.labels.disk!=ssd",
        "engine.labels.os==deb*",
        "node.labels.zone in (a, b*)",
        "node.labels.gpu exists",
        "node.labels.cores>4",
        "node.labels.cores<2.5",
        "node.role==manager || node.labels.x exists || node.labels.cores>4",
    ] {
        assert_eq!(text.parse::<Constraint>().unwrap().to_string(), text);
    }
    let spaced: Constraint = " node.hostname == node-1 ".parse().unwrap();
    assert_eq!(spaced.to_string(), "node.hostname==node-1");
}

#[test]
fn an_error_names_the_place() {
    for (text, at) in [
        ("node.role", 9),
        ("node.role=manager", 9),
        ("node.rolle==manager", 0),
        ("node.role==", 11),
        ("node.labels.==x", 0),
        ("node.id==a==b", 10),
        ("node.labels.x in a", 18),
        ("node.labels.x in ()", 17),
        ("node.labels.x in (a,)", 17),
        ("node.labels.x>many", 14),
        ("node.labels.x exist", 19),
        ("node.id==a || node.rolle==b", 14),
        ("node.id==a ||", 13),
    ] {
        assert_eq!(text.parse::<Constraint>().unwrap_err().at, at, "{text}");
    }
}

#[test]
fn a_star_stands_for_any_run() {
    for (pattern, text, equal) in [
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("A*C", "abc", true),
        ("a*b*d", "abc", false),
        ("abc", "abcd", false),
        ("*", "", true),
        ("ab*bc", "abc", false),
    ] {
        assert_eq!(like(pattern, text), equal, "{pattern} {text}");
    }
}

fn node() -> Node {
    Node {
        id: NodeId::new(7),
        version: 1,
        created: WallTime::default(),
        spec: NodeSpec {
            labels: BTreeMap::from([
                ("zone".into(), "Berlin".into()),
                ("cores".into(), "8".into()),
            ]),
            role: Role::Worker,
            availability: Availability::Active,
        },
        description: NodeDescription {
            hostname: "node-7".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            labels: BTreeMap::from([("rack".into(), "r1".into())]),
            ..NodeDescription::default()
        },
        address: IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1)),
        status: NodeStatus {
            state: NodeState::Up,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
        number: 1,
        manager: None,
    }
}

#[test]
fn every_key_is_looked_at_with_every_operator() {
    let node = node();
    let id = node.id.to_string();
    for (key, value) in [
        ("node.id", id.as_str()),
        ("node.hostname", "node-7"),
        ("node.ip", "192.168.7.1"),
        ("node.role", "worker"),
        ("node.platform.os", "linux"),
        ("node.platform.arch", "x86_64"),
        ("node.labels.zone", "berlin"),
        ("engine.labels.rack", "r1"),
    ] {
        for (text, met) in [
            (format!("{key}=={value}"), true),
            (format!("{key}!={value}"), false),
            (format!("{key}==other"), false),
            (format!("{key}!=other"), true),
            (format!("{key} in (other, {value})"), true),
            (format!("{key} in (other, more)"), false),
            (format!("{key} exists"), true),
            (format!("{key}==other || {key}=={value}"), true),
            (format!("{key}==other || {key}==more"), false),
        ] {
            let constraint: Constraint = text.parse().unwrap();
            assert_eq!(constraint.met_by(&node), met, "{text}");
        }
    }
}

#[test]
fn numbers_are_compared_as_numbers_and_absent_labels_are_equal_to_nothing() {
    let node = node();
    for (text, met) in [
        ("node.labels.cores>4", true),
        ("node.labels.cores>8", false),
        ("node.labels.cores<10", true),
        ("node.labels.cores<7.5", false),
        ("node.labels.zone>1", false),
        ("node.labels.none<1", false),
        ("node.labels.none exists", false),
        ("node.labels.none!=x", true),
        ("node.labels.none==*", false),
        ("node.labels.none!=*", true),
    ] {
        let constraint: Constraint = text.parse().unwrap();
        assert_eq!(constraint.met_by(&node), met, "{text}");
    }
}
