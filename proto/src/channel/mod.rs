//! How nodes of one cluster speak to each other: mutual TLS 1.3, under the cluster's own root.
//!
//! Both sides prove who they are by a node certificate: CN node id, OU role, O cluster. Only a call to join, and a
//! user from outside, come without one, and then the digest in their token proves the server. A certificate is replaced at run
//! time and holds for every connection made from then on. What a peer may do is not decided here: its role
//! is a claim until State confirms it.

mod accept;
mod access;
mod authorize;
mod connect;
pub mod csr;
mod identity;
mod outside;
mod peer;
mod stamp;
mod token;
mod verify;

#[cfg(test)]
mod tests;

pub use accept::{Accepted, Connection, Incoming, accept, server};
pub use access::{AccessError, AccessToken};
pub use authorize::{caller, peer_of, required};
pub use connect::{ConnectError, connect, connect_lazy, connect_pinned, connect_unix};
pub use identity::{BACKDATED, Credentials, Identity, IdentityError, renewal};
pub use outside::{Managers, Nobody, connect_outside};
pub use peer::{Peer, PeerError};
pub use stamp::Stamp;
pub use token::{JoinToken, TokenError, root_digest};

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;

/// The metadata in which a manager that does not lead says where the leader is, as ADDRESS:PORT.
pub const LEADER: &str = "skep-leader";
/// A connection that is idle is asked so often whether it still stands.
pub const KEEPALIVE: Duration = Duration::from_secs(1);
/// A connection that does not answer for so long is dead.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection and its handshake are made within this, or not at all.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes that one stream may have under way: a round trip of 8 ms at 1 Gbit/s.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Bytes that all streams of a connection may have under way.
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;

/// The provider of all cryptography, named here so that no other crate's choice can make it ambiguous.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// Makes that provider the default of the whole program, for crates that ask for the default. Called first
/// in `main`; a second call changes nothing.
pub fn install_provider() {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a provider of cryptography was installed before");
    }
}
