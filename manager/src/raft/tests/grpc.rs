//! The same over gRPC on the loopback.

use std::net::SocketAddr;
use std::sync::OnceLock;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};

use super::*;

async fn serve(dir: &TempDir) -> (Consensus<Numbers>, SocketAddr) {
    let connect = |target: &Target, _lane: Lane| {
        let endpoint = Endpoint::from_shared(format!("http://{}", target.address));
        let endpoint = endpoint.map_err(|e| TransportError::Unreachable(e.to_string()))?;
        Ok(endpoint
            .connect_timeout(Duration::from_millis(200))
            .connect_lazy())
    };
    let config = Config {
        snapshot_each: 20,
        kept_entries: 2,
        segment_len: 64 << 10,
        ..Config::new(dir.path())
    };
    let consensus = Consensus::open(config, Arc::new(GrpcTransport::new(connect)))
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = RaftService::new(consensus.inbound()).into_server();
    let serving = Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    (consensus, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_agree_over_grpc_with_a_snapshot_between_them() {
    static BIG: OnceLock<String> = OnceLock::new();
    let big = BIG.get_or_init(|| "b".repeat(50_000));
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, address) = serve(&dirs[0]).await;
    first.initialize(&address.to_string()).await.unwrap();
    first.leader().wait_for(|leader| leader.own).await.unwrap();
    for number in 0..60 {
        first
            .propose(&(format!("{big}{number}"), number))
            .await
            .unwrap();
    }
    let (second, address) = serve(&dirs[1]).await;
    let target = Target {
        id: second.id(),
        address: address.to_string(),
    };
    first.add_learner(&target).await.unwrap();
    first.promote(second.id()).await.unwrap();
    first.propose(&("last".to_owned(), 7)).await.unwrap();
    let read = second.read_index().await.unwrap().state;
    assert_eq!((read.len(), read.get("last")), (61, Some(7)));
    let led = first.transfer_leader(None).await.unwrap();
    assert_eq!(led.id, second.id());
    second.leader().wait_for(|leader| leader.own).await.unwrap();
    second
        .propose(&("by the other".to_owned(), 8))
        .await
        .unwrap();
    assert_eq!(
        first.read_index().await.unwrap().state.get("by the other"),
        Some(8)
    );
    let wrong = Target { id: 5, ..target };
    let transport = first.0.transport.clone();
    let refused = transport
        .call(
            &wrong,
            Lane::Log,
            Call::Append,
            Bytes::new(),
            Duration::from_secs(1),
        )
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("not 5"), "{refused}");
}
