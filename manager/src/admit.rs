//! Lets only those through a door who may: the role is what State says, a certificate only says who calls.
//!
//! A node that was demoted or removed is refused at its next call, whatever its certificate claims. Raft's own messages
//! are another matter: a member is heard until the group goes on without it, and a manager that is behind in the log
//! cannot know yet who manages.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use skep_proto::channel::{Connection, Peer, Stamp};
use skep_proto::ids::RaftId;
use skep_proto::node::Role;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Extensions, Request, Response};
use tonic::server::NamedService;

use crate::ring::Ring;
use crate::state::State;

/// Who may come through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// Managers of this cluster.
    Managers,
    /// Members of the Raft group, and managers whose certificate was signed later than what this manager has applied:
    /// it has to hear them to learn of them.
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
        let connection = extensions.get::<Connection>();
        let Some((peer, stamp)) = connection.and_then(|it| Some((it.peer?, it.stamp))) else {
            return Err(Status::unauthenticated(
                "this call needs a certificate of the cluster",
            ));
        };
        let state = self.ring.stale();
        let said = state.node(peer.node).map(|node| node.spec.role);
        let member = |raft| self.ring.is_member(raft);
        let may = match self.admitted {
            Admitted::Members => is_heard(&state, &peer, stamp, member),
            Admitted::Managers => said == Some(Role::Manager),
            Admitted::Nodes => said.is_some(),
        };
        match said {
            _ if may => Ok(()),
            None => Err(Status::permission_denied(format!(
                "node {} is not of the cluster (any more); to join it again, on that machine: \
                 skep swarm leave --force, then skep swarm join",
                peer.node
            ))),
            Some(_) => Err(Status::permission_denied(format!(
                "node {} is not a manager",
                peer.node
            ))),
        }
    }
}

/// Whether Raft hears a peer. Its number counts for as long as State or the group has it, since the others may need
/// its vote to go on without it; beyond that, who knows more than its certificate goes by that, and who knows less
/// believes the certificate.
fn is_heard(
    state: &State,
    peer: &Peer,
    stamp: Option<Stamp>,
    member: impl Fn(RaftId) -> bool,
) -> bool {
    let known = state.node(peer.node);
    if known.is_some_and(|node| node.manager.is_some()) {
        return true;
    }
    let incarnation = state.cluster().map_or(0, |cluster| cluster.incarnation);
    peer.role == Role::Manager
        && match stamp {
            Some(stamp) => {
                stamp.raft.is_some_and(member) || stamp.is_later_than(incarnation, state.applied())
            }
            // A release that put none on certificates knew no demotion either.
            None => known.is_none(),
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

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
