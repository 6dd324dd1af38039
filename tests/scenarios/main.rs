//! A real manager with workers that run nothing: from a user's call to a worker's report.

#![expect(
    clippy::expect_used,
    reason = "a test ends where an expectation is broken"
)]

mod roles;
mod updates;

mod events;

use skep_harness::in_process::{Alone, User, request, until};
use skep_proto::spec::{ContainerSpec, Mode, ServiceSpec, TaskSpec};
use skep_proto::wire::v1;
use tonic::Code;

fn service(name: &str, replicas: u32) -> ServiceSpec {
    ServiceSpec {
        mode: Mode::Replicated { replicas },
        ..ServiceSpec::new(name, TaskSpec::new(ContainerSpec::new("skep/hello")))
    }
}

fn creation(spec: &ServiceSpec) -> v1::CreateServiceRequest {
    v1::CreateServiceRequest {
        request: request(),
        spec: Some(v1::ServiceSpec::from(spec)),
        ..Default::default()
    }
}

async fn counts(user: &mut User, name: &str) -> (u32, u32) {
    let get = v1::GetRequest {
        reference: name.into(),
        read: None,
    };
    let entry = user.get_service(get).await.expect("a service").into_inner();
    (entry.running, entry.desired)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_placed_on_workers_and_reported_running() {
    let alone = Alone::found().await;
    let workers = [alone.worker("one").await, alone.worker("two").await];
    let mut user = alone.user();
    until("both are up", async || {
        let nodes = user.list_nodes(v1::ListNodesRequest::default()).await;
        let nodes = nodes.expect("nodes").into_inner().nodes;
        let up = |entry: &&v1::NodeEntry| {
            let status = entry.node.as_ref().and_then(|node| node.status.as_ref());
            status.is_some_and(|status| status.state() == v1::NodeState::Up)
        };
        nodes.iter().filter(up).count() >= workers.len()
    })
    .await;
    user.create_service(creation(&service("web", 4)))
        .await
        .unwrap();
    until("four run", async || {
        counts(&mut user, "web").await == (4, 4)
    })
    .await;
    for worker in &workers {
        assert_eq!(
            worker.assignment.lock().unwrap().tasks.len(),
            2,
            "spread evenly"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_first_answer() {
    let alone = Alone::found().await;
    let mut user = alone.user();
    let message = creation(&service("web", 1));
    let first = user
        .create_service(message.clone())
        .await
        .unwrap()
        .into_inner();
    let second = user.create_service(message).await.unwrap().into_inner();
    assert_eq!(first.id, second.id);
    let clash = user
        .create_service(creation(&service("web", 1)))
        .await
        .unwrap_err();
    assert_eq!(clash.code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_worker_loses_its_tasks() {
    let alone = Alone::found().await;
    let (one, two) = (alone.worker("one").await, alone.worker("two").await);
    let mut user = alone.user();
    user.create_service(creation(&service("web", 2)))
        .await
        .unwrap();
    until("two run", async || counts(&mut user, "web").await == (2, 2)).await;
    drop(two);
    until("both run on the other", async || {
        let running = |task: &&std::sync::Arc<skep_proto::assignment::AssignedTask>| {
            task.desired == skep_proto::task::TaskState::Running
        };
        let held = one
            .assignment
            .lock()
            .unwrap()
            .tasks
            .values()
            .filter(running)
            .count();
        held == 2 && counts(&mut user, "web").await == (2, 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let alone = Alone::found().await;
    let mut user = alone.user();
    for number in 0..20 {
        user.create_service(creation(&service(&format!("web-{number}"), 1)))
            .await
            .unwrap();
    }
    let alone = alone.restart().await;
    let mut user = alone.user();
    let listed = user
        .list_services(v1::ListServicesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.services.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_service_is_gone_with_its_tasks() {
    let alone = Alone::found().await;
    let _worker = alone.worker("one").await;
    let mut user = alone.user();
    user.create_service(creation(&service("web", 3)))
        .await
        .unwrap();
    until("three run", async || {
        counts(&mut user, "web").await == (3, 3)
    })
    .await;
    let message = v1::RemoveServiceRequest {
        request: request(),
        reference: "web".into(),
    };
    user.remove_service(message).await.unwrap();
    until("nothing is left", async || {
        let tasks = user
            .list_tasks(v1::ListTasksRequest::default())
            .await
            .unwrap()
            .into_inner();
        tasks.tasks.is_empty()
    })
    .await;
}
