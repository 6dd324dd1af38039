//! Sends what only the leader can answer to the leader, whichever manager was asked.
//!
//! A call is passed on as it is, with its streams. It is never passed on twice: a manager that is asked by
//! another and does not lead says so, and whoever asked tries again.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::server::NamedService;

use crate::by;
use crate::leader::Standing;
use crate::peers::Peers;

/// A call waits so long for an election to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// What any manager answers itself.
const EVERYWHERE: [&str; 1] = ["/skep.v1.Control/Events"];
/// Marks a call that another manager passed on.
pub const FORWARDED: &str = "skep-forwarded";
/// Where the call first came from.
pub const FORWARDED_FOR: &str = "skep-forwarded-for";
/// The node that called first, as its certificate says.
pub const FORWARDED_NODE: &str = "skep-forwarded-node";

/// A service whose calls are answered by the leader.
#[derive(Clone)]
pub struct Forward<S> {
    inner: S,
    standing: watch::Receiver<Standing>,
    peers: Peers,
}

impl<S> Forward<S> {
    /// Answers by `inner` while this manager leads, else by the one that does.
    pub fn new(inner: S, standing: watch::Receiver<Standing>, peers: Peers) -> Self {
        Self {
            inner,
            standing,
            peers,
        }
    }
}

impl<S: NamedService> NamedService for Forward<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Forward<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone takes the place of the one that is ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let (mut standing, peers) = (self.standing.clone(), self.peers.clone());
        if EVERYWHERE.contains(&request.uri().path()) {
            return Box::pin(inner.call(request));
        }
        Box::pin(async move {
            match settled(&mut standing).await {
                Standing::Leading { .. } => {
                    let headers = request.headers().clone();
                    by::remembered(&headers, inner.call(request)).await
                }
                Standing::Following { .. } | Standing::Unknown
                    if request.headers().contains_key(FORWARDED) =>
                {
                    Ok(leader_changed().into_http())
                }
                Standing::Following { leader } => {
                    let changed = standing.wait_for(
                        |now| !matches!(now, Standing::Following { leader: now } if *now == leader),
                    );
                    // A leader that died says nothing. Whoever asked tries again with the next.
                    tokio::select! {
                        answer = pass_on(request, leader, &peers) => Ok(answer),
                        _ = changed => Ok(leader_changed().into_http()),
                    }
                }
                Standing::Unknown => Ok(no_leader().into_http()),
            }
        })
    }
}

/// Waits until it is known who leads, for a bounded time.
async fn settled(standing: &mut watch::Receiver<Standing>) -> Standing {
    let known = standing.wait_for(|standing| !matches!(standing, Standing::Unknown));
    match tokio::time::timeout(PATIENCE, known).await {
        Ok(Ok(standing)) => standing.clone(),
        Ok(Err(_)) | Err(_) => Standing::Unknown,
    }
}

fn leader_changed() -> Status {
    Status::unavailable("the leader has just changed; try again")
}

/// What a user reads when no manager leads.
pub fn no_leader() -> Status {
    Status::unavailable(
        "the cluster has no leader just now: more than half of its managers must be up and reach each \
         other; see which are with: skep node ls",
    )
}

async fn pass_on(mut request: Request<Body>, leader: SocketAddr, peers: &Peers) -> Response<Body> {
    let from = Peers::caller(request.extensions());
    let headers = request.headers_mut();
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    for (name, text) in [(FORWARDED_FOR, from.address), (FORWARDED_NODE, from.node)] {
        headers.remove(name);
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    let mut channel = match peers.manager(leader) {
        Ok(channel) => channel,
        Err(error) => {
            return Status::unavailable(format!("cannot reach the leader at {leader}: {error}"))
                .into_http();
        }
    };
    let sent = match std::future::poll_fn(|context| channel.poll_ready(context)).await {
        Ok(()) => channel.call(request).await,
        Err(error) => Err(error),
    };
    sent.unwrap_or_else(|error| {
        peers.forget(leader);
        Status::unavailable(format!("the leader at {leader} did not answer: {error}")).into_http()
    })
}
