//! Promote and demote, as the leader decides it: what is refused, what a node is told, which number it gets.

use skep_harness::in_process::{Alone, Obedient, User, request, until};
use skep_proto::channel::{self, csr};
use skep_proto::node::{Node, Place, Role};
use skep_proto::wire::v1;
use skep_proto::wire::v1::ca_client::CaClient;
use tonic::{Code, Status};

async fn node(user: &mut User, name: &str) -> Node {
    let get = v1::GetRequest {
        reference: name.into(),
        read: None,
    };
    let entry = user.get_node(get).await.expect("a node").into_inner();
    Node::try_from(entry.node.expect("a node")).expect("a node")
}

async fn assign(user: &mut User, name: &str, role: Role) -> Result<(), Status> {
    let node = node(user, name).await;
    let mut spec = node.spec;
    spec.role = role;
    let message = v1::UpdateNodeRequest {
        request: request(),
        reference: node.id.to_string(),
        version: None,
        spec: Some(v1::NodeSpec::from(&spec)),
    };
    user.update_node(message).await.map(drop)
}

/// What the authority answers a node that asks for its next certificate.
async fn renewed(alone: &Alone, worker: &Obedient, door: Option<&str>) -> v1::RenewAnswer {
    let channel = channel::connect(alone.address, Some(Role::Manager), &worker.identity);
    let message = v1::RenewRequest {
        csr: csr::request().expect("a request").csr,
        door: door.map(|door| {
            let door: std::net::SocketAddr = door.parse().expect("an address");
            v1::Address::from(door)
        }),
    };
    let mut client = CaClient::new(channel.await.expect("a connection"));
    client.renew(message).await.expect("an answer").into_inner()
}

fn told(worker: &Obedient) -> Option<Place> {
    *worker.place.lock().expect("not poisoned")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_manager_is_not_demoted_and_no_manager_is_removed() {
    let alone = Alone::found().await;
    let mut user = alone.user();
    let before = node(&mut user, "manager").await;
    let refused = assign(&mut user, "manager", Role::Worker)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("last manager"), "{refused}");
    assert!(refused.message().contains("skep node promote"), "{refused}");
    let removal = v1::RemoveNodeRequest {
        request: request(),
        reference: "manager".into(),
        force: true,
    };
    let refused = user.remove_node(removal).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("skep node demote"), "{refused}");
    let after = node(&mut user, "manager").await;
    assert_eq!((after.spec, after.manager), (before.spec, before.manager));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_node_gets_one_number_and_none_once_it_is_demoted() {
    let alone = Alone::found().await;
    let worker = alone.worker("one").await;
    let mut user = alone.user();
    let place = |role, raft| Some(Place { role, raft });
    until("it knows what it is", async || {
        told(&worker) == place(Role::Worker, None)
    })
    .await;
    let answer = renewed(&alone, &worker, Some("127.0.0.1:1")).await;
    assert_eq!((answer.role(), answer.raft), (v1::Role::Worker, None));

    assign(&mut user, "one", Role::Manager).await.unwrap();
    until("it is told", async || {
        told(&worker) == place(Role::Manager, None)
    })
    .await;
    let answer = renewed(&alone, &worker, None).await;
    assert_eq!(answer.raft, None, "nobody could reach it");
    let first = renewed(&alone, &worker, Some("127.0.0.1:1")).await;
    let again = renewed(&alone, &worker, Some("127.0.0.1:1")).await;
    assert!(first.raft.is_some());
    assert_eq!(first.raft, again.raft, "it may ask again");
    assert_eq!(first.role(), v1::Role::Manager);

    // It never comes up: it follows at most, and the only vote is still the first manager's.
    let refused = assign(&mut user, "manager", Role::Worker)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("last manager"), "{refused}");

    assign(&mut user, "one", Role::Worker).await.unwrap();
    until("its number is gone", async || {
        told(&worker) == place(Role::Worker, None)
    })
    .await;
    let answer = renewed(&alone, &worker, Some("127.0.0.1:1")).await;
    assert_eq!((answer.role(), answer.raft), (v1::Role::Worker, None));
    assign(&mut user, "one", Role::Manager).await.unwrap();
    let second = renewed(&alone, &worker, Some("127.0.0.1:1")).await;
    assert!(second.raft.is_some());
    assert_ne!(second.raft, first.raft, "a number is never used again");
}
