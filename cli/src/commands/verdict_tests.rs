use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::ids::ServiceId;
use skep_proto::service::Revision;
use skep_proto::spec::{ContainerSpec, ServiceSpec, TaskSpec, UpdateConfig};
use skep_proto::time::WallTime;

use super::*;

fn service(revision: u64, update: Option<(UpdateState, u64, u64)>, by: &str) -> Service {
    let spec = Arc::new(ServiceSpec::new(
        "web",
        TaskSpec::new(ContainerSpec::new("skep/hello")),
    ));
    let revisions = (1..=revision).map(|number| Revision {
        number,
        spec: spec.clone(),
        at: WallTime::default(),
        by: by.to_owned(),
        why: "it broke".to_owned(),
    });
    Service {
        id: ServiceId::new(1),
        version: 1,
        created: WallTime::default(),
        updated: WallTime::default(),
        history: revisions.collect(),
        spec,
        revision,
        template: 1,
        templates: BTreeMap::new(),
        vips: BTreeMap::new(),
        ports: Vec::new(),
        removed: None,
        auth: None,
        update: update.map(|(state, from, to)| Update {
            state,
            from,
            to,
            started: WallTime::default(),
            ended: None,
            message: "a message".to_owned(),
            config: UpdateConfig::default(),
            total: 3,
            replacing: BTreeSet::new(),
            failed: BTreeSet::new(),
        }),
    }
}

fn check(goal: Goal, of: &Service, converged: bool, code: Option<u8>) {
    let end = verdict(goal, of, converged);
    assert_eq!(end.as_ref().map(End::code), code, "{end:?}");
}

#[test]
fn every_end_has_its_code() {
    use UpdateState::{
        Completed, Paused, RollbackCompleted, RollbackPaused, RollbackStarted, Updating,
    };
    let two = Goal::Revision(2);
    check(two, &service(2, Some((Updating, 1, 2)), "ann"), true, None);
    check(
        two,
        &service(2, Some((Completed, 1, 2)), "ann"),
        true,
        Some(0),
    );
    check(
        two,
        &service(2, Some((Completed, 1, 2)), "ann"),
        false,
        None,
    );
    check(
        two,
        &service(2, Some((Paused, 1, 2)), "ann"),
        false,
        Some(11),
    );
    check(
        two,
        &service(3, Some((RollbackStarted, 2, 3)), "skep"),
        false,
        None,
    );
    check(
        two,
        &service(3, Some((RollbackCompleted, 2, 3)), "skep"),
        true,
        Some(10),
    );
    check(
        two,
        &service(3, Some((RollbackPaused, 2, 3)), "skep"),
        false,
        Some(11),
    );
    check(
        two,
        &service(3, Some((Updating, 1, 3)), "bob"),
        false,
        Some(14),
    );
    check(
        two,
        &service(3, Some((RollbackStarted, 2, 3)), "bob"),
        false,
        Some(14),
    );
}

#[test]
fn a_rollback_that_was_asked_for_converges() {
    let done = service(3, Some((UpdateState::RollbackCompleted, 2, 3)), "ann");
    check(Goal::Revision(3), &done, true, Some(0));
    check(Goal::Settled, &done, true, Some(0));
    let failed = service(3, Some((UpdateState::RollbackCompleted, 2, 3)), "skep");
    check(Goal::Settled, &failed, true, Some(10));
}

#[test]
fn scaling_meanwhile_supersedes_nothing() {
    let scaled = service(3, Some((UpdateState::Completed, 1, 2)), "ann");
    check(Goal::Revision(2), &scaled, true, Some(0));
    check(Goal::Revision(3), &scaled, true, Some(0));
    let scaled_again = service(4, Some((UpdateState::Completed, 1, 2)), "ann");
    check(Goal::Revision(3), &scaled_again, true, Some(14));
}

#[test]
fn a_service_without_an_update_converges() {
    check(Goal::Revision(1), &service(1, None, "ann"), true, Some(0));
    check(Goal::Revision(1), &service(1, None, "ann"), false, None);
    check(Goal::Revision(1), &service(2, None, "ann"), false, Some(14));
}
