//! What is told of what happens: derived in `apply`, kept in a ring, told to whoever follows.

mod drill;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use skep_harness::builders::{self, up_node};
use skep_harness::in_process::{Alone, User, request, until};
use skep_manager::state::{Change, EVENTS_AGE, EVENTS_KEPT, Entry, State};
use skep_proto::event::Event;
use skep_proto::ids::{NodeId, TaskId};
use skep_proto::node::{Availability, Node};
use skep_proto::service::{Update, UpdateState};
use skep_proto::spec::UpdateConfig;
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};
use skep_proto::wire::v1;
use tonic::{Code, Request};

use crate::{creation, service};

/// A state that entries are applied to one after another.
#[derive(Default)]
struct Told {
    state: State,
    time: ClusterTime,
}

impl Told {
    /// Applies an entry; gives what it told, as `kind action name`.
    fn apply(&mut self, by: &str, changes: Vec<Change>) -> Vec<String> {
        let before = self.state.applied();
        let entry = Entry {
            time: self.time,
            wall: WallTime::from_unix_millis(5),
            by: by.into(),
            changes,
            ..Entry::default()
        };
        let outcome = self.state.apply(before + 1, &entry);
        assert!(outcome.fits(), "{outcome:?}");
        self.events(before).iter().map(said).collect()
    }

    fn events(&self, after: u64) -> Vec<Event> {
        let events = self.state.events_after((after, u32::MAX));
        events.map(|event| Event::clone(event)).collect()
    }

    fn last(&self) -> Event {
        self.events(0).pop().expect("an event")
    }

    fn node(&self, number: u8) -> Node {
        let id = NodeId::new(number.into());
        Node::clone(self.state.node(id).expect("a node"))
    }
}

fn said(event: &Event) -> String {
    format!(
        "{} {} {}",
        event.kind, event.action, event.attributes["name"]
    )
}

fn task(id: u128, node: Option<u8>) -> Task {
    Task {
        id: TaskId::new(id),
        version: 0,
        service: builders::service(1, builders::service_spec("web", 1, builders::task_spec())).id,
        template: 1,
        slot: Slot::Replica(1),
        node: node.map(|number| NodeId::new(number.into())),
        desired: TaskState::Running,
        status: TaskStatus::of(TaskState::New, WallTime::default()),
        created: ClusterTime::ZERO,
        start_at: None,
        attachments: Vec::new(),
    }
}

fn web() -> Change {
    let mut spec = builders::service_spec("web", 1, builders::task_spec());
    spec.labels.insert("tier".into(), "front".into());
    Change::PutService(Arc::new(builders::service(1, spec)))
}

fn put_node(node: Node) -> Change {
    Change::PutNode(Arc::new(node))
}

fn seen(id: u128, state: TaskState, exit_code: Option<i32>) -> Change {
    let mut status = TaskStatus::of(state, WallTime::default());
    status.exit_code = exit_code;
    status.message = "it said so".into();
    Change::Observed {
        task: TaskId::new(id),
        status,
    }
}

#[test]
fn one_entry_tells_in_the_order_of_its_changes() {
    let mut told = Told::default();
    let said = told.apply("anna@n1", vec![put_node(up_node(1)), web()]);
    assert_eq!(said, ["node join node-1", "service create web"]);
    let events = told.events(0);
    assert_eq!(
        events
            .iter()
            .map(|it| (it.revision, it.position))
            .collect::<Vec<_>>(),
        [(1, 0), (1, 1)]
    );
    assert!(
        events
            .iter()
            .all(|it| it.by == "anna@n1" && it.at == WallTime::from_unix_millis(5))
    );
    assert_eq!(events[1].labels["tier"], "front");
    let rest: Vec<_> = told.state.events_after((1, 0)).collect();
    assert_eq!(rest.len(), 1, "the second alone comes after the first");
}

#[test]
fn a_nodes_changes_are_told_with_old_and_new() {
    let mut told = Told::default();
    told.apply("", vec![put_node(up_node(1))]);
    let mut node = told.node(1);
    node.spec.availability = Availability::Drain;
    node.spec.labels.insert("disk".into(), "ssd".into());
    assert_eq!(
        told.apply("anna@n1", vec![put_node(node)]),
        ["node update node-1"]
    );
    let event = told.last();
    for (name, value) in [
        ("availability.old", "active"),
        ("availability.new", "drain"),
        ("labels.new", "disk=ssd"),
    ] {
        assert_eq!(event.attributes[name], value, "{event:?}");
    }
    let mut status = told.node(1).status;
    status.state = skep_proto::node::NodeState::Down;
    status.message = "silent for 3s".into();
    let turned = Change::Turned {
        node: NodeId::new(1),
        status,
    };
    assert_eq!(told.apply("", vec![turned]), ["node down node-1"]);
    assert_eq!(told.last().attributes["reason"], "silent for 3s");
    // What changed is nothing that people ask about.
    let mut node = told.node(1);
    node.number = 9;
    assert_eq!(told.apply("", vec![put_node(node)]), Vec::<String>::new());
}

#[test]
fn each_turn_of_an_update_is_told_and_its_steps_are_not() {
    let mut told = Told::default();
    told.apply("", vec![web()]);
    let service = told.state.services().next().expect("a service").id;
    let update = |state, message: &str, replacing: &[u32]| Update {
        state,
        from: 1,
        to: 2,
        started: WallTime::default(),
        ended: None,
        message: message.into(),
        config: UpdateConfig::default(),
        total: 3,
        replacing: replacing.iter().map(|slot| Slot::Replica(*slot)).collect(),
        failed: BTreeSet::new(),
    };
    let mut step = |update: Update| {
        let version = told.state.service(service).expect("it is there").version;
        let said = told.apply(
            "",
            vec![Change::Progressed {
                service,
                version,
                update: Arc::new(update),
            }],
        );
        let attributes = told.last().attributes;
        let of = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        let turned = (of("updatestate.old"), of("updatestate.new"), of("reason"));
        assert!(said.iter().all(|one| one == "service update web"));
        (said.len(), turned.0, turned.1, turned.2)
    };
    let told = |old: &str, new: &str, reason: &str| (1, old.into(), new.into(), reason.into());
    use UpdateState::{Paused, RollbackCompleted, RollbackStarted, Updating};
    assert_eq!(step(update(Updating, "", &[1])), told("", "updating", ""));
    assert_eq!(step(update(Updating, "1 of 3", &[2])).0, 0);
    assert_eq!(
        step(update(Paused, "task web.2 failed", &[])),
        told("updating", "paused", "task web.2 failed")
    );
    assert_eq!(
        step(update(RollbackStarted, "task web.2 failed", &[2])),
        told("paused", "rollback_started", "task web.2 failed")
    );
    assert_eq!(
        step(update(RollbackCompleted, "done", &[])),
        told("rollback_started", "rollback_completed", "")
    );
}

#[test]
fn the_rungs_that_people_ask_about_are_told_of_a_task() {
    let mut told = Told::default();
    told.apply("", vec![put_node(up_node(1)), web()]);
    let placed = vec![Change::PutTask(Arc::new(task(7, Some(1))))];
    assert_eq!(
        told.apply("", placed),
        ["task new web.1", "task assigned web.1"]
    );
    let mut rungs = Vec::new();
    for (state, code) in [
        (TaskState::Preparing, None),
        (TaskState::Starting, None),
        (TaskState::Running, None),
        (TaskState::Running, None),
        (TaskState::Failed, Some(137)),
    ] {
        rungs.extend(told.apply("", vec![seen(7, state, code)]));
    }
    assert_eq!(rungs, ["task running web.1", "task failed web.1"]);
    let event = told.last();
    for (name, value) in [
        ("service", "web"),
        ("node", "node-1"),
        ("slot", "1"),
        ("exitCode", "137"),
        ("reason", "it said so"),
        ("image", skep_proto::image::BUILT_IN),
    ] {
        assert_eq!(event.attributes[name], value, "{event:?}");
    }
    assert_eq!(
        event.labels["tier"], "front",
        "a task has its service's labels"
    );
}

#[test]
fn what_was_refused_and_what_is_planned_tells_nothing() {
    let mut told = Told::default();
    told.apply("", vec![put_node(up_node(1))]);
    let entry = Entry {
        atomic: true,
        changes: vec![web(), Change::PutTask(Arc::new(task(7, Some(9))))],
        ..Entry::default()
    };
    assert!(!told.state.apply(2, &entry).fits());
    assert_eq!(told.events(1), []);
    let mut draft = told.state.draft();
    let entry = Entry {
        changes: vec![web()],
        ..Entry::default()
    };
    assert!(draft.apply(3, &entry).fits());
    assert_eq!(draft.events_after((0, 0)).count(), 0);
}

#[test]
fn the_ring_is_bounded_by_number_and_says_what_is_gone() {
    let mut told = Told::default();
    told.apply("", vec![put_node(up_node(1))]);
    for turn in 0..EVENTS_KEPT + 9 {
        let mut node = told.node(1);
        node.spec.availability = if turn % 2 == 0 {
            Availability::Drain
        } else {
            Availability::Active
        };
        told.apply("", vec![put_node(node)]);
    }
    assert_eq!(told.state.events_after((0, 0)).count(), EVENTS_KEPT);
    // The join and nine of the turns.
    assert_eq!(told.state.events_gone(), 10);
    assert_eq!(
        State::from_objects(told.state.objects()),
        told.state,
        "snapshots hold them"
    );
}

#[test]
fn events_that_are_too_old_go_when_another_comes() {
    let mut told = Told::default();
    told.apply("", vec![put_node(up_node(1))]);
    told.time = ClusterTime::ZERO.after(EVENTS_AGE);
    told.apply("", vec![put_node(up_node(2))]);
    assert_eq!((told.events(0).len(), told.state.events_gone()), (2, 0));
    told.time = told.time.after(Duration::from_millis(1));
    told.apply("", vec![web()]);
    assert_eq!((told.events(0).len(), told.state.events_gone()), (2, 1));
}

fn since(revision: u64, filters: &[(&str, &str)]) -> v1::EventsRequest {
    let filters = filters.iter().map(|(key, value)| v1::EventFilter {
        key: (*key).into(),
        value: (*value).into(),
    });
    v1::EventsRequest {
        since: Some(at(revision)),
        until: None,
        filters: filters.collect(),
    }
}

fn at(revision: u64) -> v1::Moment {
    let revision = v1::moment::Revision {
        revision,
        position: None,
    };
    v1::Moment {
        moment: Some(v1::moment::Moment::Revision(revision)),
    }
}

/// The first `count` events of an answer.
async fn first(user: &mut User, asked: v1::EventsRequest, count: usize) -> Vec<Event> {
    let mut stream = user.events(asked).await.expect("events").into_inner();
    let mut events = Vec::new();
    while events.len() < count {
        let answer = stream.message().await.expect("an answer").expect("no end");
        if let Some(v1::events_answer::Answer::Batch(batch)) = answer.answer {
            events.extend(
                batch
                    .events
                    .into_iter()
                    .map(|it| Event::try_from(it).expect("an event")),
            );
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_told_with_who_asked_and_what_the_cluster_did() {
    let alone = Alone::found().await;
    let _worker = alone.worker("one").await;
    let mut user = alone.user();
    let mut asked = Request::new(creation(&service("web", 1)));
    let by = "anna@laptop".parse().expect("a header");
    asked.metadata_mut().insert(skep_manager::by::HEADER, by);
    user.create_service(asked).await.expect("a service");
    let wanted = [("service", "web")];
    let events = first(&mut user, since(0, &wanted), 4).await;
    let said: Vec<String> = events.iter().map(said).collect();
    assert_eq!(
        said,
        [
            "service create web",
            "task new web.1",
            "task assigned web.1",
            "task running web.1"
        ]
    );
    let by: Vec<&str> = events.iter().map(|event| event.by.as_str()).collect();
    assert_eq!(by, ["anna@laptop", "", "", ""]);
    assert_eq!(events[3].attributes["node"], "one");
    let places: Vec<_> = events.iter().map(|it| (it.revision, it.position)).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");

    // Who goes on at a revision gets the rest, nothing twice.
    let rest = first(&mut user, since(events[0].revision, &wanted), 3).await;
    assert_eq!(rest, events[1..]);
    let failed = first(
        &mut user,
        since(0, &[("type", "task"), ("event", "running")]),
        1,
    )
    .await;
    assert_eq!(failed, events[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_up_to_a_revision_end_there() {
    let alone = Alone::found().await;
    let _worker = alone.worker("one").await;
    let mut user = alone.user();
    user.create_service(creation(&service("web", 1)))
        .await
        .expect("a service");
    until("it runs", async || {
        crate::counts(&mut user, "web").await == (1, 1)
    })
    .await;
    let created = first(&mut user, since(0, &[("type", "service")]), 1).await;
    let asked = v1::EventsRequest {
        until: Some(at(created[0].revision)),
        ..since(0, &[("service", "web")])
    };
    let mut stream = user.events(asked).await.expect("events").into_inner();
    let mut told = 0;
    while let Some(answer) = stream.message().await.expect("an answer") {
        if let Some(v1::events_answer::Answer::Batch(batch)) = answer.answer {
            told += batch.events.len();
        }
    }
    assert_eq!(told, 1, "the creation, and not what the cluster did then");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_refused() {
    let alone = Alone::found().await;
    let mut user = alone.user();
    for (asked, code, words) in [
        (
            since(0, &[("typ", "node")]),
            Code::InvalidArgument,
            "filtered by type",
        ),
        (
            since(0, &[("type", "pod")]),
            Code::InvalidArgument,
            "one of cluster",
        ),
        (since(1 << 40, &[]), Code::OutOfRange, "has not happened"),
    ] {
        let refused = user.events(asked).await.expect_err(words);
        assert_eq!(refused.code(), code);
        assert!(refused.message().contains(words), "{refused}");
    }
    // A request id that was used is told once.
    let message = creation(&service("web", 0));
    user.create_service(message.clone())
        .await
        .expect("a service");
    user.create_service(message).await.expect("a service");
    let other = creation(&service("other", 0));
    user.create_service(v1::CreateServiceRequest {
        request: request(),
        ..other
    })
    .await
    .expect("a service");
    let events = first(&mut user, since(0, &[("type", "service")]), 2).await;
    let said: Vec<String> = events.iter().map(said).collect();
    assert_eq!(said, ["service create web", "service create other"]);
}
