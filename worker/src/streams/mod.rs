//! The door to what this node's containers write, read and use.
//!
//! Users find it on the daemon's socket, managers of the cluster at the node's door. It makes and ends no
//! container: only what runs in one, or is read of one, begins here. Every stream is bounded: who reads slowly
//! slows what is read, and never fills the daemon's memory.

mod exec;
mod figures;
mod list;
mod logs;
mod processes;

use skep_proto::channel::{self, Connection};
use skep_proto::node::Role;
use skep_proto::wire::v1;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::Told;
use crate::exec::containers::Containers;
use crate::exec::runtime::Container;

/// Answers about the containers of this node.
#[derive(Clone, Debug)]
pub struct StreamServer {
    containers: Containers,
    readers: logs::Readers,
    told: watch::Receiver<Told>,
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

impl StreamServer {
    /// For these containers; `told` says who managers are.
    pub(crate) fn new(containers: Containers, told: watch::Receiver<Told>) -> Self {
        Self {
            told,
            containers,
            readers: logs::Readers::default(),
        }
    }

    /// Those that it answers about.
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// Lets users of this machine's socket through, and of other nodes managers alone: a certificate only claims it.
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if request.extensions().get::<Connection>().is_none() {
            return Ok(());
        }
        let node = channel::required(request, Role::Manager)?.node;
        if self.told.borrow().manages(node) {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "node {node} is not a manager (any more)"
        )))
    }

    fn find(&self, reference: &str) -> Result<Container, Status> {
        let found = self.containers.find(reference);
        found.map_err(|error| Status::not_found(error.to_string()))
    }
}

#[tonic::async_trait]
impl v1::containers_server::Containers for StreamServer {
    type LogsStream = Answers<v1::ContainerLogs>;
    type ExecStream = Answers<v1::ExecOutput>;
    type StatsStream = Answers<v1::ContainerStatsAnswer>;

    async fn list(
        &self,
        request: Request<v1::ListContainersRequest>,
    ) -> Result<Response<v1::ListContainersAnswer>, Status> {
        self.admit(&request)?;
        let containers = list::entries(self.containers.all()).await;
        Ok(Response::new(v1::ListContainersAnswer { containers }))
    }

    async fn logs(
        &self,
        request: Request<v1::ContainerLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.admit(&request)?;
        let message = request.into_inner();
        let container = self.find(&message.reference)?;
        let range = message.range.unwrap_or_default();
        Ok(Response::new(logs::send(
            &self.readers,
            &container,
            &range,
        )?))
    }

    async fn exec(
        &self,
        request: Request<Streaming<v1::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        self.admit(&request)?;
        let mut input = request.into_inner();
        let start = exec::first(&mut input).await?;
        let container = self.find(&start.reference)?;
        Ok(Response::new(exec::begin(container, start, input)?))
    }

    async fn stats(
        &self,
        request: Request<v1::ContainerStatsRequest>,
    ) -> Result<Response<Self::StatsStream>, Status> {
        self.admit(&request)?;
        let message = request.into_inner();
        for reference in &message.references {
            self.find(reference)?;
        }
        Ok(Response::new(figures::send(
            self.containers.clone(),
            message,
        )))
    }

    async fn top(
        &self,
        request: Request<v1::ContainerTopRequest>,
    ) -> Result<Response<v1::ContainerTopAnswer>, Status> {
        self.admit(&request)?;
        let container = self.find(&request.into_inner().reference)?;
        if container.ended().is_some() {
            return Err(Status::failed_precondition("the container has ended"));
        }
        let processes = processes::of(container).await?;
        Ok(Response::new(v1::ContainerTopAnswer { processes }))
    }

    async fn act(
        &self,
        request: Request<v1::ContainerActRequest>,
    ) -> Result<Response<v1::ContainerActAnswer>, Status> {
        self.admit(&request)?;
        let message = request.into_inner();
        let what = message.what;
        let what = what.ok_or_else(|| Status::invalid_argument("what: it is missing"))?;
        let mut answer = v1::ContainerActAnswer::default();
        for reference in message.references {
            let done = match self.find(&reference) {
                Ok(container) => list::act(&container, &what).await,
                Err(status) => Err(status.message().to_owned()),
            };
            match done {
                Ok(()) => answer.done.push(reference),
                Err(reason) => answer.failed.push(format!("{reference}: {reason}")),
            }
        }
        Ok(Response::new(answer))
    }
}
