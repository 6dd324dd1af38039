//! How this node reaches others of its cluster.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use skep_proto::channel::{self, Identity};
use skep_proto::node::Role;
use tonic::transport::Channel;

/// Opens a channel to a node, which must be in this role if one is given.
pub type Dial =
    Arc<dyn Fn(SocketAddr, Option<Role>) -> BoxFuture<'static, io::Result<Channel>> + Send + Sync>;

/// Both ends prove who they are; what `identity` holds at the time of a call counts.
pub fn by_identity(identity: Identity) -> Dial {
    Arc::new(move |address, role| {
        let identity = identity.clone();
        async move {
            let connected = channel::connect(address, role, &identity).await;
            connected.map_err(io::Error::other)
        }
        .boxed()
    })
}
