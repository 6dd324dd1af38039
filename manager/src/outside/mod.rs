//! The door for users from outside of the nodes: who comes without a certificate shows a token, and may do what the
//! token is for.
//!
//! A token is held against what was committed before the call, so it is refused from the moment of its removal on,
//! and without a majority nobody comes in by one. What is not written down for a role is refused (`rpcs`); of a
//! deploy token each message is looked into (`scope`). Behind this door nobody asks again. It never decides about
//! nodes: those come with a certificate, and `admit` looks at that.

mod bounds;
mod changed;
mod known;
mod rpcs;
mod scope;
mod strangers;
mod until_gone;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use skep_proto::channel::{AccessToken, Connection};
use skep_proto::token::{StoredToken, TokenRole};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::server::NamedService;

use crate::by;
use crate::control::forward::{FORWARDED, FORWARDED_FOR, FORWARDED_NODE};
use crate::ring::{Ring, wall_time};
use known::{Unknown, known};
use scope::Bearer;
use strangers::Strangers;
use until_gone::{refused, until_gone};

/// Where a token is shown, after the word `Bearer`.
const AUTHORIZATION: &str = "authorization";

/// The service `N`, for nodes that are admitted and for users with a token.
pub struct Outside<N, A, U> {
    ring: Ring,
    nodes: A,
    users: U,
    strangers: Strangers,
    name: PhantomData<fn() -> N>,
}

impl<N, A: Clone, U: Clone> Clone for Outside<N, A, U> {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
            nodes: self.nodes.clone(),
            users: self.users.clone(),
            strangers: self.strangers.clone(),
            name: PhantomData,
        }
    }
}

impl<N, A, U> Outside<N, A, U> {
    /// Answers nodes by `nodes`, and users with a token that counts by `users`.
    pub fn new(ring: Ring, nodes: A, users: U) -> Self {
        Self {
            ring,
            nodes,
            users,
            strangers: Strangers::default(),
            name: PhantomData,
        }
    }
}

impl<N: NamedService, A, U> NamedService for Outside<N, A, U> {
    const NAME: &'static str = N::NAME;
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<N, A, U> Service<Request<Body>> for Outside<N, A, U>
where
    A: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    A::Future: Send + 'static,
    U: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    U::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self.nodes.poll_ready(context) {
            Poll::Ready(Ok(())) => self.users.poll_ready(context),
            other => other,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = request.extensions().get::<Connection>();
        if connection.is_some_and(|it| it.peer.is_some()) {
            return Box::pin(self.nodes.call(request));
        }
        // The clone takes the place of the one that is ready.
        let clone = self.users.clone();
        let mut users = std::mem::replace(&mut self.users, clone);
        let (ring, strangers) = (self.ring.clone(), self.strangers.clone());
        Box::pin(async move {
            match let_in(&ring, &strangers, request).await {
                Ok((request, stored)) => {
                    let answer = users.call(request).await?;
                    Ok(until_gone(ring, stored.token.id, answer))
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// The call as it goes on behind the door, and the token by which it was let in.
async fn let_in(
    ring: &Ring,
    strangers: &Strangers,
    mut request: Request<Body>,
) -> Result<(Request<Body>, Arc<StoredToken>), Status> {
    let shown = shown(request.headers_mut()).map_err(|unknown| refused(&unknown))?;
    // Whoever is known here already waits for nobody who is not.
    let place = match known(&ring.stale(), &shown, wall_time()) {
        Ok(_) => None,
        Err(_) => Some(strangers.place()?),
    };
    let state = ring.read().await;
    let state = state.map_err(|error| Status::unavailable(error.to_string()))?;
    let stored = known(&state, &shown, wall_time()).map_err(|unknown| refused(&unknown))?;
    drop(place);
    let spec = &stored.token.spec;
    let call = request.uri().path();
    if !rpcs::may(&spec.role, call) {
        return Err(Status::permission_denied(format!(
            "token \"{}\" has the role {}, which may not do \"{}\"",
            spec.name,
            spec.role.word(),
            rpcs::words(call)
        )));
    }
    name(&mut request, &spec.name);
    if let TokenRole::Deploy(bounds) = &spec.role {
        let bearer = Bearer {
            name: &spec.name,
            bounds,
            state: &state,
        };
        request = bearer.looked_at(request).await?;
    }
    Ok((request, stored))
}

/// Takes the token out of the call: nobody behind this door is to see it.
fn shown(headers: &mut HeaderMap) -> Result<AccessToken, Unknown> {
    let shown = headers.remove(AUTHORIZATION).ok_or(Unknown::Nothing)?;
    let text = shown.to_str().ok();
    let text = text.and_then(|text| text.strip_prefix("Bearer "));
    Ok(text.unwrap_or_default().parse()?)
}

/// Says who asks, in place of all that the caller says of itself.
fn name(request: &mut Request<Body>, token: &str) {
    let connection = request.extensions().get::<Connection>();
    let from = connection.map_or_else(String::new, |it| it.remote.ip().to_string());
    let headers = request.headers_mut();
    for said in [by::HEADER, FORWARDED, FORWARDED_FOR, FORWARDED_NODE] {
        headers.remove(said);
    }
    // Names of tokens are such that this is a header.
    if let Ok(value) = HeaderValue::from_str(&by::of_token(token, &from)) {
        headers.insert(by::HEADER, value);
    }
}
