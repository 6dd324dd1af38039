//! Logs, terminals and containers on the daemon's socket: there while the node is in a cluster.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context as Polling, Poll};

use skep_manager::Manager;
use skep_manager::streams::Relay;
use skep_proto::wire::v1::blobs_server::BlobsServer;
use skep_proto::wire::v1::containers_server::ContainersServer;
use skep_proto::wire::v1::streams_server::StreamsServer;
use skep_worker::Worker;
use skep_worker::streams::StreamServer;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::service::Routes;

use super::node::Node;

/// What other nodes find here.
pub fn node_routes(worker: &Worker, manager: Option<&Manager>) -> Routes {
    let blobs = BlobsServer::new(worker.blobs());
    let containers = ContainersServer::new(worker.streams());
    match manager {
        Some(manager) => {
            let routes = Routes::new(manager.for_nodes(blobs));
            manager.node_door(routes.add_service(manager.for_managers(containers)))
        }
        None => Routes::new(blobs).add_service(containers),
    }
}

/// What there is now.
#[derive(Clone, Default)]
pub struct Streams(Arc<RwLock<Parts>>);

#[derive(Clone, Default)]
struct Parts {
    containers: Option<ContainersServer<StreamServer>>,
    relay: Option<StreamsServer<Relay>>,
}

impl Streams {
    /// Opens the doors of a node that takes part in a cluster.
    pub fn open(&self, containers: StreamServer, relay: Option<StreamsServer<Relay>>) {
        self.set(Parts {
            containers: Some(ContainersServer::new(containers)),
            relay,
        });
    }

    /// Closes them.
    pub fn close(&self) {
        self.set(Parts::default());
    }

    fn set(&self, parts: Parts) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = parts;
    }

    fn parts(&self) -> Parts {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// This node's containers, on the socket.
#[derive(Clone)]
pub struct ContainersDoor(pub Streams);

/// The cluster's logs and terminals, on the socket.
#[derive(Clone)]
pub struct RelayDoor(pub Streams);

impl Node {
    /// Logs, terminals and containers, for the socket.
    pub fn streams(&self) -> Streams {
        self.streams.clone()
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn refuse(reason: &'static str) -> Answering {
    Box::pin(async move { Ok(Status::failed_precondition(reason).into_http()) })
}

impl NamedService for ContainersDoor {
    const NAME: &'static str = "skep.v1.Containers";
}

impl Service<Request<Body>> for ContainersDoor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Polling<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.0.parts().containers {
            Some(mut door) => Box::pin(async move { door.call(request).await }),
            None => refuse("this node is in no cluster, so it has no containers"),
        }
    }
}

impl NamedService for RelayDoor {
    const NAME: &'static str = "skep.v1.Streams";
}

impl Service<Request<Body>> for RelayDoor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Polling<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let parts = self.0.parts();
        match (parts.relay, parts.containers) {
            (Some(mut door), _) => Box::pin(async move { door.call(request).await }),
            (None, Some(_)) => refuse(
                "this node is a worker; ask a manager instead, or use skep container logs and skep container \
                 exec for what runs here",
            ),
            (None, None) => refuse(
                "this node is in no cluster; make one with: skep swarm init, or join one with: skep swarm join",
            ),
        }
    }
}
