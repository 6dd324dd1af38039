//! Consensus on the wire: the client side over channels someone else secures, and the service that hands
//! messages in. Who may speak here is the door's to check; the bodies are not looked into.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use skep_proto::wire::v1::raft_client::RaftClient;
use skep_proto::wire::v1::raft_server::{Raft, RaftServer};
use skep_proto::wire::v1::{RaftMessage, SnapshotChunk};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use super::message::VERSION;
use super::transport::{Call, Inbound, Lane, Pieces, Target, Transport, TransportError};

/// Room for an entry of the largest size, and for a batch that just began to be one.
const MESSAGE_MOST: usize = 8 << 20;

/// Makes a channel to a manager. It should connect lazily, prove both sides with certificates, and send
/// keepalives (some 2 s), so that a silent peer is noticed.
pub trait Connect: Send + Sync + 'static {
    /// The channel; one is made per target and lane and kept.
    fn connect(&self, target: &Target, lane: Lane) -> Result<Channel, TransportError>;
}

impl<F> Connect for F
where
    F: Fn(&Target, Lane) -> Result<Channel, TransportError> + Send + Sync + 'static,
{
    fn connect(&self, target: &Target, lane: Lane) -> Result<Channel, TransportError> {
        self(target, lane)
    }
}

/// Carries messages over gRPC.
pub struct GrpcTransport(Arc<Channels>);

struct Channels {
    connect: Box<dyn Connect>,
    open: Mutex<HashMap<(u64, Lane), Open>>,
}

/// A client and the address it goes to.
type Open = (String, RaftClient<Channel>);

impl GrpcTransport {
    /// A transport over the channels that `connect` makes.
    pub fn new(connect: impl Connect) -> Self {
        Self(Arc::new(Channels {
            connect: Box::new(connect),
            open: Mutex::default(),
        }))
    }
}

impl Channels {
    fn client(&self, target: &Target, lane: Lane) -> Result<RaftClient<Channel>, TransportError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((address, client)) = open.get(&(target.id, lane))
            && *address == target.address
        {
            return Ok(client.clone());
        }
        let client = RaftClient::new(self.connect.connect(target, lane)?)
            .max_decoding_message_size(MESSAGE_MOST)
            .max_encoding_message_size(MESSAGE_MOST);
        open.insert((target.id, lane), (target.address.clone(), client.clone()));
        Ok(client)
    }
}

fn message(target: u64, body: Bytes) -> RaftMessage {
    RaftMessage {
        version: VERSION,
        body,
        target,
    }
}

fn request<T>(message: T, within: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(within);
    request
}

fn failed(status: &Status, within: Duration) -> TransportError {
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => TransportError::Late(within),
        Code::Unavailable | Code::Unknown => TransportError::Unreachable(status.to_string()),
        _ => TransportError::Refused(status.message().to_owned()),
    }
}

fn body(message: RaftMessage) -> Result<Bytes, TransportError> {
    if message.version == VERSION {
        return Ok(message.body);
    }
    let why = format!(
        "raft messages of version {} are not known here",
        message.version
    );
    Err(TransportError::Refused(why))
}

impl Transport for GrpcTransport {
    fn call(
        &self,
        target: &Target,
        lane: Lane,
        call: Call,
        asked: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (channels, target) = (self.0.clone(), target.clone());
        Box::pin(async move {
            let mut client = channels.client(&target, lane)?;
            let request = request(message(target.id, asked), within);
            let answer = match call {
                Call::Append => client.append(request).await,
                Call::Vote => client.vote(request).await,
                Call::PreVote => client.pre_vote(request).await,
                Call::TransferLeader => client.transfer_leader(request).await,
                Call::ReadIndex => client.read_index(request).await,
            };
            body(
                answer
                    .map_err(|status| failed(&status, within))?
                    .into_inner(),
            )
        })
    }

    fn send_snapshot(
        &self,
        target: &Target,
        head: Bytes,
        pieces: Pieces,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (channels, target) = (self.0.clone(), target.clone());
        Box::pin(async move {
            let mut client = channels.client(&target, Lane::Snapshot)?;
            let first = SnapshotChunk {
                head: Some(message(target.id, head)),
                ..Default::default()
            };
            let sent = futures_util::stream::iter([first]).chain(chunks(pieces));
            let answer = client.install_snapshot(request(sent, within)).await;
            body(
                answer
                    .map_err(|status| failed(&status, within))?
                    .into_inner(),
            )
        })
    }
}

/// Pieces as they go over the wire. Only a whole snapshot gets a last chunk; without one the other side drops
/// what it got.
fn chunks(pieces: Pieces) -> impl Stream<Item = SnapshotChunk> + Send + 'static {
    futures_util::stream::unfold(Some((pieces, 0)), |state| async {
        let (mut pieces, offset) = state?;
        match pieces.next().await {
            Some(Ok(bytes)) => {
                let next = offset + bytes.len() as u64;
                let chunk = SnapshotChunk {
                    head: None,
                    bytes,
                    offset,
                    last: false,
                };
                Some((chunk, Some((pieces, next))))
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a snapshot could not be read while it was sent");
                None
            }
            None => {
                let chunk = SnapshotChunk {
                    head: None,
                    bytes: Bytes::new(),
                    offset,
                    last: true,
                };
                Some((chunk, None))
            }
        }
    })
}

/// Chunks as they came over the wire, as pieces; ends in an error unless all came in order.
fn received(chunks: Streaming<SnapshotChunk>) -> Pieces {
    futures_util::stream::unfold(Some((chunks, 0)), |state| async {
        let (mut chunks, offset) = state?;
        let refused = |why: &str| Some((Err(TransportError::Refused(why.to_owned())), None));
        match chunks.message().await {
            Ok(Some(chunk)) if chunk.offset != offset => refused("a snapshot chunk is missing"),
            Ok(Some(chunk)) if chunk.last => None,
            Ok(Some(chunk)) => {
                let next = offset + chunk.bytes.len() as u64;
                Some((Ok(chunk.bytes), Some((chunks, next))))
            }
            Ok(None) => refused("the snapshot ended too soon"),
            Err(status) => refused(status.message()),
        }
    })
    .boxed()
}

/// Hands messages of other managers in.
pub struct RaftService(Arc<dyn Inbound>);

impl RaftService {
    /// A service for `inbound`.
    pub fn new(inbound: Arc<dyn Inbound>) -> Self {
        Self(inbound)
    }

    /// The service with its limits, for a router.
    pub fn into_server(self) -> RaftServer<Self> {
        RaftServer::new(self)
            .max_decoding_message_size(MESSAGE_MOST)
            .max_encoding_message_size(MESSAGE_MOST)
    }

    async fn answer(
        &self,
        call: Call,
        request: Request<RaftMessage>,
    ) -> Result<Response<RaftMessage>, Status> {
        let received = request.into_inner();
        let target = received.target;
        let asked = body(received).map_err(|error| status(&error))?;
        let answer = self
            .0
            .answer(target, call, asked)
            .await
            .map_err(|error| status(&error))?;
        Ok(Response::new(message(0, answer)))
    }
}

fn status(error: &TransportError) -> Status {
    match error {
        TransportError::Unreachable(_) => Status::unavailable(error.to_string()),
        TransportError::Refused(why) => Status::failed_precondition(why),
        TransportError::Late(_) => Status::deadline_exceeded(error.to_string()),
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn append(&self, r: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.answer(Call::Append, r).await
    }

    async fn vote(&self, r: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.answer(Call::Vote, r).await
    }

    async fn pre_vote(&self, r: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.answer(Call::PreVote, r).await
    }

    async fn transfer_leader(
        &self,
        r: Request<RaftMessage>,
    ) -> Result<Response<RaftMessage>, Status> {
        self.answer(Call::TransferLeader, r).await
    }

    async fn read_index(&self, r: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.answer(Call::ReadIndex, r).await
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RaftMessage>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.message().await?;
        let head = first.and_then(|chunk| chunk.head);
        let head = head.ok_or_else(|| Status::invalid_argument("a snapshot without a head"))?;
        let target = head.target;
        let head = body(head).map_err(|error| status(&error))?;
        let installed = self.0.install(target, head, received(chunks)).await;
        let answer = installed.map_err(|error| status(&error))?;
        Ok(Response::new(message(0, answer)))
    }
}
