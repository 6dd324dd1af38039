//! One node takes an image from another, over a real connection on loopback.

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
    let server = Server::builder().add_service(BlobsServer::new(BlobServer::new(store)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
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
    let peers = Peers::new(plain_dial());
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
    let peers = Peers::new(plain_dial());
    let image = Digest([3; 32]);
    let refused = store.fetch(&peers, image).await.unwrap_err().to_string();
    assert!(refused.contains("no other node is known"), "{refused}");
    let address = serve(store.clone()).await;
    peers.set(vec![address]);
    let refused = store.fetch(&peers, image).await.unwrap_err().to_string();
    assert!(refused.contains(&address.to_string()), "{refused}");
}
