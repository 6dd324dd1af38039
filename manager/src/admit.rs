//! Lets only those through a door who may: the role is what State says, a certificate only says who calls.
//!
//! A node that was demoted or removed is refused at its next call, whatever its certificate claims.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use skep_proto::channel::Connection;
use skep_proto::node::Role;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Extensions, Request, Response};
use tonic::server::NamedService;

use crate::ring::Ring;

/// Who may come through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// Managers of this cluster.
    Managers,
    /// Members of the Raft group: managers by their certificate, unless State says that they are none. A
    /// manager that was away cannot know those that joined meanwhile, and has to hear them to learn of them;
    /// what a removed one says is without weight, as votes and appends count for members only.
    Members,
    /// All nodes of this cluster.
    Nodes,
}

/// A service behind a door.
#[derive(Clone)]
pub struct Admit<S> {
    inner: S,
    ring: Ring,
    admitted: Admitted,
}

impl<S> Admit<S> {
    /// `inner`, for those that are `admitted`.
    pub fn new(inner: S, ring: Ring, admitted: Admitted) -> Self {
        Self {
            inner,
            ring,
            admitted,
        }
    }

    fn check(&self, extensions: &Extensions) -> Result<(), Status> {
        let peer = extensions
            .get::<Connection>()
            .and_then(|connection| connection.peer);
        let Some(peer) = peer else {
            return Err(Status::unauthenticated(
                "this call needs a certificate of the cluster",
            ));
        };
        let said = self.ring.stale().node(peer.node).map(|node| node.spec.role);
        match (self.admitted, said, peer.role) {
            (Admitted::Members, Some(Role::Manager), _)
            | (Admitted::Members, None, Role::Manager)
            | (Admitted::Managers, Some(Role::Manager), _)
            | (Admitted::Nodes, Some(_), _) => Ok(()),
            (_, None, _) => Err(Status::permission_denied(format!(
                "node {} is not of the cluster (any more); to join it again, on that machine: \
                 skep swarm leave --force, then skep swarm join",
                peer.node
            ))),
            (_, Some(Role::Worker), _) => Err(Status::permission_denied(format!(
                "node {} is not a manager",
                peer.node
            ))),
        }
    }
}

impl<S: NamedService> NamedService for Admit<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Admit<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.check(request.extensions()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}
