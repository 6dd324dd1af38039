//! Channels to other managers, and who called. Channels connect when first used and are kept.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use skep_proto::channel::{self, ConnectError, Connection, Identity};
use skep_proto::node::Role;
use tonic::codegen::http::Extensions;
use tonic::transport::Channel;

/// Channels to other managers. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Peers {
    identity: Identity,
    channels: Arc<Mutex<HashMap<SocketAddr, Channel>>>,
}

/// Who made a call, as its connection says.
pub struct Caller {
    /// Its address; none on the daemon's own socket.
    pub address: Option<String>,
    /// Its node; none without a certificate.
    pub node: Option<String>,
}

impl Peers {
    /// Channels that prove who this manager is by `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            channels: Arc::default(),
        }
    }

    /// A channel to the manager at `address`; whoever answers there must be one.
    ///
    /// # Errors
    /// When this node's own certificate cannot be used.
    pub fn manager(&self, address: SocketAddr) -> Result<Channel, ConnectError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&address) {
            return Ok(channel.clone());
        }
        let channel = channel::connect_lazy(address, Some(Role::Manager), &self.identity)?;
        channels.insert(address, channel.clone());
        Ok(channel)
    }

    /// Drops the channel to `address`: the next call makes a new one.
    pub fn forget(&self, address: SocketAddr) {
        self.channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&address);
    }

    /// Who made the call with these extensions.
    pub fn caller(extensions: &Extensions) -> Caller {
        let connection = extensions.get::<Connection>();
        Caller {
            address: connection.map(|it| it.remote.ip().to_string()),
            node: connection
                .and_then(|it| it.peer)
                .map(|peer| peer.node.to_string()),
        }
    }
}
