//! The door to what containers of all nodes write and read: it passes on, and keeps nothing.
//!
//! Any manager answers from what it has applied, so that logs can be read while there is no leader. Streams are
//! bounded; a node that cannot be reached is named and never waited for longer than a connection may take.

mod exec;
mod logs;
mod merge;
mod source;
mod tasks;

use std::time::Duration;

use skep_proto::channel::{self, Identity};
use skep_proto::node::NodeState;
use skep_proto::task::Task;
use skep_proto::wire::v1;
use skep_proto::wire::v1::containers_client::ContainersClient;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::ring::Ring;
use crate::state::State;

/// For the other managers to say what was acknowledged; what is known here has to do after that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Passes on between users and the nodes of their containers.
#[derive(Clone)]
pub struct Relay {
    ring: Ring,
    identity: Identity,
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

impl Relay {
    /// Answers from what `ring` knows, and proves who this manager is by `identity`.
    pub fn new(ring: Ring, identity: Identity) -> Self {
        Self { ring, identity }
    }

    /// The newest that is to be had without waiting for a leader.
    async fn state(&self) -> State {
        match tokio::time::timeout(PATIENCE, self.ring.read()).await {
            Ok(Ok(state)) => state,
            Ok(Err(_)) | Err(_) => self.ring.stale(),
        }
    }

    /// A connection to the node of a task.
    async fn reach(&self, state: &State, task: &Task) -> Result<Reached, String> {
        let name = tasks::name(state, task);
        let node = task.node.and_then(|id| state.node(id));
        let Some(node) = node else {
            return Err(format!("{name} is on no node"));
        };
        let host = &node.description.hostname;
        if node.status.state == NodeState::Down {
            return Err(format!("{name} is on node {host}, which is down"));
        }
        let door = node
            .door()
            .ok_or_else(|| format!("{name} is on node {host}, whose door is not known yet"))?;
        let connected = channel::connect(door, None, &self.identity).await;
        match connected {
            Ok(channel) => Ok(Reached {
                client: ContainersClient::new(channel),
            }),
            Err(error) => Err(format!("{name} is on node {host}: {error}")),
        }
    }
}

/// A node that answers.
struct Reached {
    client: ContainersClient<Channel>,
}

#[tonic::async_trait]
impl v1::streams_server::Streams for Relay {
    type LogsStream = Answers<v1::LogsAnswer>;
    type ExecStream = Answers<v1::ExecOutput>;

    async fn logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let answers = self.read_logs(request.into_inner()).await?;
        Ok(Response::new(answers))
    }

    async fn exec(
        &self,
        request: Request<Streaming<v1::ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let answers = self.pass_exec(request.into_inner()).await?;
        Ok(Response::new(answers))
    }
}
