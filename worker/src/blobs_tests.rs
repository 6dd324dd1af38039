//! One node takes an image from another, over a real connection on loopback.

use skep_proto::channel::{Connection, Peer};
use skep_proto::ids::{ClusterId, NodeId};
use skep_proto::node::Role;
use skep_proto::wire::v1::blobs_server::BlobsServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};

use super::*;

fn plain_dial() -> Dial {
    Arc::new(|address, _| {
        async move {
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            let endpoint = endpoint.map_err(io::Error::other)?;
            endpoint.connect().await.map_err(io::Error::other)
        }
        .boxed()
    })
}

async fn serve(store: Store) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = BlobsServer::with_interceptor(BlobServer::new(store), with_certificate);
    let server = Server::builder().add_service(server);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// As the real door does for a caller with a certificate.
fn with_certificate(mut request: Request<()>) -> Result<Request<()>, Status> {
    let peer = Some(Peer {
        node: NodeId::new(1),
        role: Role::Worker,
        cluster: ClusterId::new(1),
    });
    let remote = SocketAddr::from(([127, 0, 0, 1], 1));
    request.extensions_mut().insert(Connection {
        remote,
        peer,
        stamp: None,
    });
    Ok(request)
}

fn peers() -> Peers {
    let (_, leader) = watch::channel(None);
    Peers::new(plain_dial(), leader)
}

struct Leader(Vec<v1::Holder>);

#[tonic::async_trait]
impl v1::dispatch_server::Dispatch for Leader {
    type SessionStream = ReceiverStream<Result<v1::ManagerMessage, Status>>;

    async fn session(
        &self,
        _: Request<tonic::Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unavailable("not asked for"))
    }

    async fn holders(
        &self,
        _: Request<v1::HoldersRequest>,
    ) -> Result<Response<v1::HoldersAnswer>, Status> {
        let holders = self.0.clone();
        Ok(Response::new(v1::HoldersAnswer { holders }))
    }

    async fn name_image(
        &self,
        _: Request<v1::NameImageRequest>,
    ) -> Result<Response<v1::NameImageAnswer>, Status> {
        Ok(Response::new(v1::NameImageAnswer {}))
    }
}

async fn led_by(holders: Vec<v1::Holder>) -> Peers {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = v1::dispatch_server::DispatchServer::new(Leader(holders));
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let (_, leader) = watch::channel(Some(address));
    Peers::new(plain_dial(), leader)
}

fn holder(door: Option<SocketAddr>, state: v1::HolderState) -> v1::Holder {
    v1::Holder {
        name: "node-3".into(),
        door: door.map(v1::Address::from),
        state: state.into(),
    }
}

#[tokio::test]
async fn the_node_that_the_leader_names_gives_it() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = Store::open(one.path()).unwrap();
    let taker = Store::open(two.path()).unwrap();
    let image = from.make_built_in(&[7; 1000]).unwrap().digest;
    let door = serve(from).await;
    let peers = led_by(vec![holder(Some(door), v1::HolderState::Up)]).await;
    let held = taker.fetch(&peers, image).await.unwrap();
    assert_eq!(held.layers.len(), 1);
}

#[tokio::test]
async fn the_only_holder_that_is_down_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let peers = led_by(vec![holder(None, v1::HolderState::Down)]).await;
    let refused = store.fetch(&peers, Digest([3; 32])).await.unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("only by node-3, which is down"),
        "{refused}"
    );
}

#[tokio::test]
async fn who_has_no_certificate_gets_nothing() {
    use v1::blobs_server::Blobs;
    let directory = tempfile::tempdir().unwrap();
    let server = BlobServer::new(Store::open(directory.path()).unwrap());
    let asked = v1::HeldRequest::default();
    let refused = server.held(Request::new(asked)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let asked = v1::FetchRequest::default();
    let refused = server.fetch(Request::new(asked)).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn an_image_goes_from_node_to_node() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (holder, taker) = (
        Store::open(one.path()).unwrap(),
        Store::open(two.path()).unwrap(),
    );
    let third = tempfile::tempdir().unwrap();
    let empty = Store::open(third.path()).unwrap();
    let program = vec![7; 3 << 20];
    let image = holder.make_built_in(&program).unwrap().digest;
    let peers = peers();
    peers.set(vec![serve(empty).await, serve(holder).await]);
    let held = taker.fetch(&peers, image).await.unwrap();
    assert_eq!(held.layers.len(), 1);
    assert_eq!(
        std::fs::read(held.layers[0].join("hello")).unwrap(),
        program
    );
}

#[tokio::test]
async fn nobody_who_has_it_is_an_error_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let peers = peers();
    let image = Digest([3; 32]);
    let refused = store.fetch(&peers, image).await.unwrap_err().to_string();
    assert!(refused.contains("no other node is known"), "{refused}");
    let address = serve(store.clone()).await;
    peers.set(vec![address]);
    let refused = store.fetch(&peers, image).await.unwrap_err().to_string();
    assert!(refused.contains(&address.to_string()), "{refused}");
}
