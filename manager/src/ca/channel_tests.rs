//! The channel under a real authority: mutual TLS over loopback, from the handshake to the handler.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use skep_proto::channel::{
    ConnectError, Credentials, Identity, JoinToken, Peer, accept, caller, connect, connect_lazy,
    connect_pinned, csr, required, server,
};
use skep_proto::cluster::Authority;
use skep_proto::ids::{ClusterId, NodeId};
use skep_proto::node::Role;
use skep_proto::wire::v1::ca_client::CaClient;
use skep_proto::wire::v1::ca_server::{Ca, CaServer};
use skep_proto::wire::{WireId, v1};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::{make_root, sign};

const CLUSTER: ClusterId = ClusterId::new(77);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DEADLINE: Duration = Duration::from_secs(20);

fn root() -> Authority {
    make_root(CLUSTER, SystemTime::now()).unwrap()
}

fn credentials(authority: &Authority, peer: Peer, signed: SystemTime) -> Credentials {
    let request = csr::request().unwrap();
    let certificate = sign(authority, &request.csr, (&peer, None), DAY, signed).unwrap();
    Credentials {
        chain: vec![certificate],
        key: request.key,
        root: authority.certificate.clone(),
    }
}

fn node(id: u128, role: Role) -> Peer {
    Peer {
        node: NodeId::new(id),
        role,
        cluster: CLUSTER,
    }
}

fn identity(authority: &Authority, peer: Peer) -> Identity {
    Identity::new(&credentials(authority, peer, SystemTime::now())).unwrap()
}

/// `root` is for everybody, `renew` for nodes, `join` for managers; `renew` says who called.
struct Door;

#[tonic::async_trait]
impl Ca for Door {
    async fn root(
        &self,
        _request: Request<v1::RootRequest>,
    ) -> Result<Response<v1::RootAnswer>, Status> {
        Ok(Response::new(v1::RootAnswer::default()))
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinAnswer>, Status> {
        required(&request, Role::Manager)?;
        Ok(Response::new(v1::JoinAnswer::default()))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewAnswer>, Status> {
        let peer = caller(&request)?;
        Ok(Response::new(v1::RenewAnswer {
            chain: vec![peer.node.to_bytes()],
            role: v1::Role::from(peer.role).into(),
            root: peer.cluster.to_bytes(),
            ..Default::default()
        }))
    }
}

struct Running {
    address: SocketAddr,
    serving: JoinHandle<()>,
    /// Open connections outlive the serving task unless they are told to end.
    stop: oneshot::Sender<()>,
}

async fn serve_at(address: SocketAddr, identity: &Identity) -> Running {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = accept(listener, identity).unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = server()
        .add_service(CaServer::new(Door))
        .serve_with_incoming_shutdown(incoming, async move { drop(stopped.await) });
    Running {
        address,
        serving: tokio::spawn(async move { serving.await.unwrap() }),
        stop,
    }
}

async fn serve(identity: &Identity) -> Running {
    serve_at((Ipv4Addr::LOCALHOST, 0).into(), identity).await
}

async fn who(channel: &Channel) -> Result<(Vec<u8>, Role), Status> {
    let answer = CaClient::new(channel.clone())
        .renew(v1::RenewRequest::default())
        .await?
        .into_inner();
    let role = v1::Role::try_from(answer.role).unwrap().try_into().unwrap();
    Ok((answer.chain.concat(), role))
}

async fn join(channel: &Channel) -> Code {
    let request = v1::JoinRequest::default();
    match CaClient::new(channel.clone()).join(request).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

#[tokio::test]
async fn the_handler_reads_who_calls_and_in_which_role() {
    let authority = root();
    let running = serve(&identity(&authority, node(1, Role::Manager))).await;
    for (id, role) in [(2, Role::Worker), (3, Role::Manager)] {
        let ours = identity(&authority, node(id, role));
        let channel = connect(running.address, Some(Role::Manager), &ours)
            .await
            .unwrap();
        let called = who(&channel).await.unwrap();
        assert_eq!(called, (NodeId::new(id).to_bytes(), role));
        let code = join(&channel).await;
        match role {
            Role::Manager => assert_eq!(code, Code::Ok),
            Role::Worker => assert_eq!(code, Code::PermissionDenied),
        }
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_spoken_to() {
    let running = serve(&identity(&root(), node(1, Role::Manager))).await;
    let ours = identity(&root(), node(2, Role::Worker));
    let error = connect(running.address, None, &ours).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is not the node that was expected: its certificate was signed by another cluster's \
             authority",
            running.address
        )
    );
}

#[tokio::test]
async fn a_server_in_another_role_is_not_spoken_to() {
    let authority = root();
    let running = serve(&identity(&authority, node(1, Role::Worker))).await;
    let ours = identity(&authority, node(2, Role::Worker));
    let refused = connect(running.address, Some(Role::Manager), &ours).await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("is a worker, but a manager was expected"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_expired_or_is_of_another_cluster_is_refused_at_connect() {
    let authority = root();
    let running = serve(&identity(&authority, node(1, Role::Manager))).await;
    let expired = credentials(
        &authority,
        node(2, Role::Manager),
        SystemTime::now() - 2 * DAY,
    );
    let refused = connect(running.address, None, &Identity::new(&expired).unwrap()).await;
    assert!(
        matches!(refused, Err(ConnectError::Refused { .. })),
        "{refused:?}"
    );
    // The same root, another O: the client does not take the server either.
    let elsewhere = Peer {
        cluster: ClusterId::new(78),
        ..node(3, Role::Manager)
    };
    let refused = connect(running.address, None, &identity(&authority, elsewhere)).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("but this node belongs to"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart() {
    let authority = root();
    let host = identity(&authority, node(1, Role::Manager));
    let running = serve(&host).await;
    let ours = identity(&authority, node(2, Role::Worker));
    let before = connect(running.address, None, &ours).await.unwrap();
    let promoted = credentials(&authority, node(2, Role::Manager), SystemTime::now());
    ours.replace(&promoted).unwrap();
    let after = connect(running.address, None, &ours).await.unwrap();
    assert_eq!(who(&before).await.unwrap().1, Role::Worker);
    assert_eq!(who(&after).await.unwrap().1, Role::Manager);

    // Another root: who still has the old one is out, who has the new one is in.
    let next = root();
    let now = SystemTime::now();
    host.replace(&credentials(&next, node(1, Role::Manager), now))
        .unwrap();
    let refused = connect(running.address, None, &ours).await;
    assert!(
        matches!(refused, Err(ConnectError::Foreign { .. })),
        "{refused:?}"
    );
    ours.replace(&credentials(&next, node(2, Role::Worker), now))
        .unwrap();
    let channel = connect(running.address, None, &ours).await.unwrap();
    assert_eq!(who(&channel).await.unwrap().1, Role::Worker);
}

#[tokio::test]
async fn a_replacement_that_does_not_fit_changes_nothing() {
    let authority = root();
    let ours = identity(&authority, node(2, Role::Worker));
    let mut wrong = credentials(&root(), node(2, Role::Manager), SystemTime::now());
    wrong.root = authority.certificate;
    assert!(ours.replace(&wrong).is_err());
    assert_eq!(ours.peer(), node(2, Role::Worker));
}

#[tokio::test]
async fn a_caller_without_a_certificate_reaches_only_what_is_for_everybody() {
    let authority = root();
    let running = serve(&identity(&authority, node(1, Role::Manager))).await;
    let token = JoinToken::new(&authority.certificate, [0; 16]);
    let channel = connect_pinned(running.address, &token).await.unwrap();
    let mut client = CaClient::new(channel.clone());
    client.root(v1::RootRequest {}).await.unwrap();
    assert_eq!(
        who(&channel).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    assert_eq!(join(&channel).await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_of_another_cluster_meets_no_server() {
    let running = serve(&identity(&root(), node(1, Role::Manager))).await;
    let token = JoinToken::new(&root().certificate, [0; 16]);
    let error = connect_pinned(running.address, &token).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its cluster is another one than the token's"),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_cannot_take_a_join_for_the_cluster() {
    let authority = root();
    let running = serve(&identity(&authority, node(1, Role::Worker))).await;
    let token = JoinToken::new(&authority.certificate, [0; 16]);
    let error = connect_pinned(running.address, &token).await.unwrap_err();
    assert!(
        error.to_string().contains("a manager was expected"),
        "{error}"
    );
}

#[tokio::test]
async fn silent_callers_do_not_keep_others_out() {
    let authority = root();
    let running = serve(&identity(&authority, node(1, Role::Manager))).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let ours = identity(&authority, node(2, Role::Worker));
    let channel = connect(running.address, None, &ours).await.unwrap();
    assert_eq!(who(&channel).await.unwrap().1, Role::Worker);
}

#[tokio::test]
async fn where_nobody_listens_the_reason_is_named() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let ours = identity(&root(), node(2, Role::Worker));
    let error = connect(address, None, &ours).await.unwrap_err();
    assert!(matches!(error, ConnectError::Network { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_channel_finds_a_server_that_came_back() {
    let authority = root();
    let host = identity(&authority, node(1, Role::Manager));
    let running = serve(&host).await;
    let address = running.address;
    let ours = identity(&authority, node(2, Role::Worker));
    let channel = connect_lazy(address, None, &ours).unwrap();
    who(&channel).await.unwrap();
    running.stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, running.serving)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(who(&channel).await.unwrap_err().code(), Code::Unavailable);
    let _running = serve_at(address, &host).await;
    let begin = Instant::now();
    while let Err(status) = who(&channel).await {
        assert!(begin.elapsed() < DEADLINE, "no way back: {status}");
        tokio::task::yield_now().await;
    }
}
