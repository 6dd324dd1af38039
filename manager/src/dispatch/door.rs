//! Converts: a worker's messages in, what it is told out. The only file of this room that names generated types.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use skep_proto::assignment::Report;
use skep_proto::channel;
use skep_proto::node::NodeDescription;
use skep_proto::wire::{self, WireError, WireId, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Dispatch;
use super::holders::{Holder, HolderState, holders};
use super::images::name_image;
use super::session::{self, Said, Told};
use crate::leader::Standing;
use crate::state::State;

/// Version of the protocol that this manager speaks.
const VERSION: u32 = 1;
/// A worker says who it is within this time.
const HELLO: Duration = Duration::from_secs(5);
/// Messages on their way in each direction.
const ON_THE_WAY: usize = 16;

type Answers = Pin<Box<dyn Stream<Item = Result<v1::ManagerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl v1::dispatch_server::Dispatch for Dispatch {
    type SessionStream = Answers;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Answers>, Status> {
        let node = channel::caller(&request)?.node;
        let term = self.term()?;
        let state = self
            .ring
            .read()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        state.node(node).ok_or_else(removed)?;
        let mut messages = request.into_inner();
        let description = hello(&mut messages).await?;
        if !session::describe(self, node, description.0).await {
            return Err(Status::unavailable(
                "the node changed meanwhile; say hello again",
            ));
        }
        let full = session::full_deadline(&state);
        let open = self
            .live
            .open(node, Instant::now(), full)
            .ok_or_else(not_leading)?;
        if let Some(images) = description.1 {
            self.live.images(&open, images.into_iter().collect());
        }
        let welcome = welcome(&self.ring.stale(), open.number);
        let (said_sender, said) = mpsc::channel(ON_THE_WAY);
        let (told_sender, told) = mpsc::channel(ON_THE_WAY);
        tokio::spawn(listen(messages, said_sender));
        let dispatch = self.clone();
        tokio::spawn(async move {
            tracing::info!(node.id = %node, "session opened");
            let reason = session::run(dispatch, open, term, said, told_sender).await;
            tracing::info!(node.id = %node, reason, "session closed");
        });
        let answers = futures_util::stream::once(async move { Ok(welcome) })
            .chain(ReceiverStream::new(told).map(|told| Ok(message(told))));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn holders(
        &self,
        request: Request<v1::HoldersRequest>,
    ) -> Result<Response<v1::HoldersAnswer>, Status> {
        let asking = channel::caller(&request)?.node;
        let image = wire::digest(&request.into_inner().image, "image")
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.term()?;
        let seen = self.live.seen(Instant::now(), 0);
        let holders = holders(&self.ring.stale(), &seen, image, asking);
        let holders = holders.into_iter().map(holder).collect();
        Ok(Response::new(v1::HoldersAnswer { holders }))
    }

    async fn name_image(
        &self,
        request: Request<v1::NameImageRequest>,
    ) -> Result<Response<v1::NameImageAnswer>, Status> {
        let malformed = |error: WireError| Status::invalid_argument(error.to_string());
        channel::caller(&request)?;
        let message = request.into_inner();
        let id = wire::request_id(&message.request).map_err(malformed)?;
        let image = wire::message(message.image, "image").map_err(malformed)?;
        self.term()?;
        name_image(self, id, image).await?;
        Ok(Response::new(v1::NameImageAnswer {}))
    }
}

fn holder(holder: Holder) -> v1::Holder {
    let state = match holder.state {
        HolderState::Up => v1::HolderState::Up,
        HolderState::Down => v1::HolderState::Down,
        HolderState::Unheard => v1::HolderState::Unheard,
    };
    v1::Holder {
        name: holder.name,
        door: holder.door.map(v1::Address::from),
        state: state.into(),
    }
}

impl Dispatch {
    /// The term in which this manager leads, or where to go instead.
    fn term(&self) -> Result<u64, Status> {
        let standing = self.leadership.borrow().clone();
        match standing {
            Standing::Leading { term } => Ok(term),
            Standing::Following { leader } => {
                let mut status = not_leading();
                if let Ok(value) = leader.to_string().parse() {
                    status.metadata_mut().insert(channel::LEADER, value);
                }
                Err(status)
            }
            Standing::Unknown => Err(not_leading()),
        }
    }
}

fn not_leading() -> Status {
    Status::unavailable("this manager does not lead")
}

fn removed() -> Status {
    Status::permission_denied(
        "this node is not of the cluster (any more); to join it again: skep swarm leave --force, then \
         skep swarm join",
    )
}

/// The first message: what the node says of itself and the images it holds.
async fn hello(
    messages: &mut Streaming<v1::WorkerMessage>,
) -> Result<(NodeDescription, Option<Vec<skep_proto::image::Digest>>), Status> {
    let first = tokio::time::timeout(HELLO, messages.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no hello"))??;
    let Some(v1::worker_message::Message::Hello(hello)) = first.and_then(|first| first.message)
    else {
        return Err(Status::invalid_argument("a session begins with hello"));
    };
    if hello.version != VERSION {
        return Err(Status::failed_precondition(format!(
            "this manager speaks version {VERSION} to workers, the worker version {}",
            hello.version
        )));
    }
    let malformed = |error: WireError| Status::invalid_argument(error.to_string());
    let description = wire::message(hello.description, "description").map_err(malformed)?;
    let images = match hello.images {
        None => None,
        Some(images) => {
            let digests = images
                .digests
                .iter()
                .map(|bytes| wire::digest(bytes, "images"));
            Some(digests.collect::<Result<Vec<_>, _>>().map_err(malformed)?)
        }
    };
    Ok((description, images))
}

fn welcome(state: &State, session: u64) -> v1::ManagerMessage {
    let spec = state
        .cluster()
        .map(|cluster| cluster.spec.clone())
        .unwrap_or_default();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    v1::ManagerMessage {
        message: Some(v1::manager_message::Message::Welcome(v1::Welcome {
            session,
            heartbeat_ms: millis(spec.heartbeat),
            down_after_ms: millis(spec.down_after),
            managers: Some(managers(&session::managers(state))),
        })),
    }
}

fn managers(managers: &session::Managers) -> v1::Managers {
    let addresses = managers.addresses.iter().copied();
    v1::Managers {
        addresses: addresses.map(Into::into).collect(),
        nodes: managers.nodes.iter().map(|node| node.to_bytes()).collect(),
    }
}

/// Hands in what the worker says, until it says nothing more or something that is not understood.
async fn listen(mut messages: Streaming<v1::WorkerMessage>, said: mpsc::Sender<Said>) {
    while let Ok(Some(message)) = messages.message().await {
        let heard = match heard(message) {
            Ok(Some(heard)) => heard,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "a worker sent what is not understood; its session ends");
                return;
            }
        };
        if said.send(heard).await.is_err() {
            return;
        }
    }
}

/// What a message says; nothing if it is of a kind that a newer worker knows and this manager does not.
fn heard(message: v1::WorkerMessage) -> Result<Option<Said>, WireError> {
    use v1::worker_message::Message;
    Ok(match message.message {
        None | Some(Message::Hello(_)) => None,
        Some(Message::Beat(_)) => Some(Said::Beat),
        Some(Message::Stopping(_)) => Some(Said::Stopping),
        Some(Message::Acknowledgement(it)) => Some(Said::Acknowledged(
            it.sequence,
            Some(it.refused).filter(|text| !text.is_empty()),
        )),
        Some(Message::Drill(it)) => Some(Said::Drill(
            wire::id(&it.id, "drill.id")?,
            wire::optional(it.undone, "drill.undone")?,
        )),
        Some(Message::Report(it)) => {
            let report: Report = wire::message(it.report, "report")?;
            Some(Said::Report(it.number, report))
        }
    })
}

fn message(told: Told) -> v1::ManagerMessage {
    use v1::manager_message::Message;
    let message = match told {
        Told::Whole(sequence, assignment) => Message::Whole(v1::Whole {
            sequence,
            assignment: Some(v1::Assignment::from(&*assignment)),
        }),
        Told::Difference(sequence, difference) => Message::Difference(v1::NumberedDifference {
            sequence,
            difference: Some(v1::Difference::from(&*difference)),
        }),
        Told::Content(file, revision, content) => {
            Message::Content(wire::content_message(file, revision, &content))
        }
        Told::Drill(fault) => Message::Drill(v1::DrillOrder {
            fault: fault.as_ref().map(v1::DrillFault::from),
        }),
        Told::Managers(known) => Message::Managers(managers(&known)),
        Told::Place(place) => Message::Place(v1::Place::from(place)),
        Told::Committed(number) => Message::ReportCommitted(v1::ReportCommitted { number }),
    };
    v1::ManagerMessage {
        message: Some(message),
    }
}
