//! All calls that there are, and who may make them from outside.

use std::collections::BTreeSet;

use skep_proto::token::DeployBounds;
use skep_proto::wire;

use super::*;

/// Services that nobody from outside reaches: nodes prove by certificates that they may call them, or they are on a
/// daemon's own socket alone. What a node that joins calls has a secret of its own.
const INSIDE: &[&str] = &[
    "/skep.v1.Blobs/",
    "/skep.v1.Ca/",
    "/skep.v1.Containers/",
    "/skep.v1.Dispatch/",
    "/skep.v1.Images/",
    "/skep.v1.Local/",
    "/skep.v1.Raft/",
    "/skep.v1.Volumes/",
];

#[test]
fn every_call_of_the_schema_is_decided_on() {
    for call in wire::CALLS {
        let inside = INSIDE.iter().any(|service| call.starts_with(service));
        assert!(
            who(call).is_some() != inside,
            "{call}: say in CALLS who may make this call from outside, or in INSIDE that its service is for \
             nodes alone"
        );
    }
    let known: BTreeSet<&str> = wire::CALLS.iter().copied().collect();
    for (call, _) in CALLS {
        assert!(known.contains(call), "{call} is in no schema");
    }
    let once: BTreeSet<&str> = CALLS.iter().map(|(call, _)| *call).collect();
    assert_eq!(once.len(), CALLS.len(), "a call stands twice");
}

#[test]
fn each_role_may_make_these_calls_and_no_others() {
    let of = |role: &TokenRole| -> BTreeSet<&str> {
        let name = |call: &&'static str| call.rsplit('/').next().unwrap_or_default();
        let let_in = wire::CALLS.iter().filter(|call| may(role, call));
        let_in.map(name).collect()
    };
    let deploy = of(&TokenRole::Deploy(DeployBounds::default()));
    let expected = [
        "GetService",
        "GetTask",
        "ListTasks",
        "RollbackService",
        "UpdateService",
        "WatchService",
        "WhyTask",
    ];
    assert_eq!(deploy, expected.into());
    let read = of(&TokenRole::Read);
    let changes = [
        "Create", "Update", "Remove", "Rotate", "Put", "Forget", "Change", "Drain",
    ];
    for call in &read {
        assert!(!changes.iter().any(|word| call.starts_with(word)), "{call}");
    }
    for call in ["Exec", "JoinTokens", "RollbackService"] {
        assert!(!read.contains(call), "{call}");
    }
    assert!(read.contains("ListNodes") && read.contains("Logs") && read.contains("Events"));
    assert_eq!(of(&TokenRole::Admin).len(), CALLS.len());
    for call in [
        "/skep.v1.Raft/Append",
        "/skep.v1.Ca/Join",
        "",
        "/skep.v1.Control/",
        "x",
    ] {
        assert!(!may(&TokenRole::Admin, call), "{call}");
    }
}

#[test]
fn a_call_is_named_in_words() {
    assert_eq!(words("/skep.v1.Control/ListNodes"), "list nodes");
    assert_eq!(words("Exec"), "exec");
}
