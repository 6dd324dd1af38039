use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::args::DaemonArgs;
use crate::daemon::config;

/// What a client reads that asks with these words.
async fn ask(address: SocketAddr, words: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("{words} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

/// A node below `root` that is in no cluster.
async fn node(root: &Path) -> Arc<Node> {
    let args = DaemonArgs {
        data_root: Some(root.join("data")),
        exec_root: Some(root.join("exec")),
        ..DaemonArgs::default()
    };
    let config = config::read(args, None).expect("settings");
    Node::open(config).await.expect("a node")
}

#[tokio::test]
async fn metrics_are_at_their_path_and_nothing_else_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = node(directory.path()).await;
    let (stop, any) = (
        CancellationToken::new(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
    );
    let address = serve(any, node, stop.clone()).await.expect("an address");
    let text = ask(address, "GET /metrics").await;
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("application/openmetrics-text"), "{text}");
    for line in [
        "skep_in_cluster 0",
        "# TYPE skep_raft_proposal_seconds histogram",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert_eq!(text.matches("# EOF").count(), 1, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
    assert!(
        ask(address, "POST /metrics")
            .await
            .starts_with("HTTP/1.1 405")
    );
    // The address is taken now.
    let directory = tempfile::tempdir().expect("a directory");
    let node = self::node(directory.path()).await;
    let refused = serve(address, node, stop.clone()).await.expect_err("taken");
    assert!(refused.to_string().contains("--metrics-addr"), "{refused}");
    stop.cancel();
}
