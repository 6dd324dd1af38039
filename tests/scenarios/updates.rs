//! Updates through the door for users: what is refused, what is said, what is kept.

use skep_harness::in_process::{Alone, User, request, until};
use skep_proto::service::{Service, UpdateState};
use skep_proto::spec::{ServiceSpec, UpdateConfig};
use skep_proto::wire::v1;
use tonic::Code;

use crate::{counts, creation, service};

async fn read(user: &mut User) -> Service {
    let get = v1::GetRequest {
        reference: "web".into(),
        read: None,
    };
    let entry = user.get_service(get).await.expect("a service").into_inner();
    let service = entry.service.expect("a service");
    service.try_into().expect("a service that can be read")
}

fn change(old: &Service, change: impl FnOnce(&mut ServiceSpec)) -> v1::UpdateServiceRequest {
    let mut spec = ServiceSpec::clone(&old.spec);
    change(&mut spec);
    v1::UpdateServiceRequest {
        request: request(),
        reference: "web".into(),
        spec: Some(v1::ServiceSpec::from(&spec)),
        revision: Some(old.revision),
        by: "ann@desk".into(),
        why: "a test".into(),
        ..Default::default()
    }
}

async fn web(alone: &Alone, replicas: u32) -> User {
    let mut user = alone.user();
    let spec = ServiceSpec {
        update: UpdateConfig {
            parallelism: 0,
            monitor: std::time::Duration::from_millis(100),
            ..UpdateConfig::default()
        },
        ..service("web", replicas)
    };
    let made = user.create_service(creation(&spec)).await;
    made.expect("a service");
    until("all run", async || {
        counts(&mut user, "web").await == (replicas, replicas)
    })
    .await;
    user
}

async fn state(user: &mut User) -> Option<UpdateState> {
    read(user).await.update.map(|update| update.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_replicas_are_replaced_and_it_is_known_by_whom() {
    let alone = Alone::found().await;
    let _workers = [alone.worker("one").await, alone.worker("two").await];
    let mut user = web(&alone, 20).await;
    let old = read(&mut user).await;
    let message = change(&old, |spec| spec.task.force += 1);
    let answer = user.update_service(message).await.unwrap().into_inner();
    assert_eq!((answer.revision, answer.unchanged), (2, false));
    until("it is completed", async || {
        state(&mut user).await == Some(UpdateState::Completed)
    })
    .await;
    assert_eq!(counts(&mut user, "web").await, (20, 20));
    let now = read(&mut user).await;
    let last = now.history.last().unwrap();
    assert_eq!((&*last.by, &*last.why), ("ann@desk", "a test"));
    let again = change(&now, |_| {});
    let answer = user.update_service(again).await.unwrap().into_inner();
    assert_eq!((answer.revision, answer.unchanged), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_from_an_older_revision_is_refused() {
    let alone = Alone::found().await;
    let _worker = alone.worker("one").await;
    let mut user = web(&alone, 1).await;
    let old = read(&mut user).await;
    let first = change(&old, |spec| spec.labels.extend([("a".into(), "1".into())]));
    user.update_service(first).await.unwrap();
    let second = change(&old, |spec| spec.labels.extend([("b".into(), "2".into())]));
    let refused = user.update_service(second).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("revision 2"), "{refused}");
    let now = read(&mut user).await;
    assert_eq!(now.spec.labels.len(), 1, "nothing was merged");
    assert!(now.update.is_none(), "no task was replaced for a label");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_paused_resumed_and_taken_back() {
    let alone = Alone::found().await;
    let _worker = alone.worker("one").await;
    let mut user = web(&alone, 2).await;
    let turn = |action: v1::RolloutAction| v1::ChangeRolloutRequest {
        request: request(),
        reference: "web".into(),
        action: action.into(),
        by: "ann@desk".into(),
        why: "lunch".into(),
    };
    let nothing = user.change_rollout(turn(v1::RolloutAction::Pause)).await;
    assert_eq!(nothing.unwrap_err().code(), Code::FailedPrecondition);
    let old = read(&mut user).await;
    let slow = change(&old, |spec| {
        spec.task.force += 1;
        spec.update.parallelism = 1;
        spec.update.delay = std::time::Duration::from_secs(3600);
    });
    user.update_service(slow).await.unwrap();
    user.change_rollout(turn(v1::RolloutAction::Pause))
        .await
        .unwrap();
    let paused = read(&mut user).await.update.unwrap();
    assert_eq!(paused.state, UpdateState::Paused);
    assert!(paused.message.contains("lunch"), "{}", paused.message);
    user.change_rollout(turn(v1::RolloutAction::Resume))
        .await
        .unwrap();
    assert_eq!(state(&mut user).await, Some(UpdateState::Updating));
    let back = v1::RollbackServiceRequest {
        request: request(),
        reference: "web".into(),
        ..Default::default()
    };
    user.rollback_service(back).await.unwrap();
    until("it is as before", async || {
        state(&mut user).await == Some(UpdateState::RollbackCompleted)
    })
    .await;
    assert_eq!(read(&mut user).await.spec, old.spec);
}
