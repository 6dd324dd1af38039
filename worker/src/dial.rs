//! How this node reaches others: who starts the worker knows about certificates, the worker does not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tonic::transport::Channel;

/// Opens a channel to another node of the cluster, both ends proven by their certificates.
pub type Dial = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Channel>> + Send + Sync>;
