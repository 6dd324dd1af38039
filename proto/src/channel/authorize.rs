//! What a handler asks first: who calls.

use tonic::{Request, Status};

use super::accept::Connection;
use super::peer::Peer;
use crate::node::Role;

/// Who calls, as its certificate says; `None` for a caller without one, and on the unix socket.
pub fn peer_of<T>(request: &Request<T>) -> Option<Peer> {
    request
        .extensions()
        .get::<Connection>()
        .and_then(|connection| connection.peer)
}

/// A node of the cluster, whatever its role.
///
/// # Errors
/// `Unauthenticated` for a caller without a certificate.
pub fn caller<T>(request: &Request<T>) -> Result<Peer, Status> {
    peer_of(request).ok_or_else(|| {
        Status::unauthenticated(
            "this call needs a node's certificate; join the cluster first with \"skep swarm join\"",
        )
    })
}

/// A node that claims `role`. The handler asks State besides, whether the claim still holds.
///
/// # Errors
/// `Unauthenticated` without a certificate, `PermissionDenied` in another role.
pub fn required<T>(request: &Request<T>, role: Role) -> Result<Peer, Status> {
    let peer = caller(request)?;
    if peer.role == role {
        Ok(peer)
    } else {
        Err(Status::permission_denied(format!(
            "this call is for a {role}, but node {} is a {}",
            peer.node, peer.role
        )))
    }
}
