//! The session with a manager: what it says is obeyed, what happens here is told.
//!
//! It tries one manager after the other, for ever. A session that breaks loses nothing: the assignment is on
//! disk, and reports are kept until they are committed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_netd::Kernel;
use skep_proto::assignment::Assignment;
use skep_proto::channel;
use skep_proto::difference::Difference;
use skep_proto::ids::NodeId;
use skep_proto::node::{NodeDescription, Place};
use skep_proto::wire::{self, WireError, v1};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::agent::Agent;
use crate::blobs::Peers;
use crate::db::Db;
use crate::dial::Dial;
use crate::drill::{DrillNews, Drills};
use crate::exec::Exec;
use crate::report::Outbox;
use crate::{reach, resources};

/// Of the protocol.
const VERSION: u32 = 1;
/// For a manager to accept the connection and to greet.
const PATIENCE: Duration = Duration::from_secs(3);
/// The first wait after a session that did not come about; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest: a new leader should not wait for its workers.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Messages that a slow manager may leave standing.
const QUEUE: usize = 64;
/// The most bytes of one message: an assignment of thousands of tasks with its view.
const MAX_MESSAGE: usize = 64 << 20;
/// Heartbeats outside of these are taken for a mistake.
const HEARTBEATS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("it does not answer within {PATIENCE:?}")]
    Silent,
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("it closed the session")]
    Closed,
    #[error("it does not read what is sent")]
    Full,
    #[error("it did not begin with a welcome")]
    NoWelcome,
    #[error("a drill had cut this node off")]
    Drilled,
    #[error("it says what cannot be understood: {0}")]
    Wire(#[from] WireError),
}

impl Broken {
    /// Where the leader is, from a manager that does not lead. It need not be one that was heard of: managers
    /// come and go while a worker is away.
    fn leader(&self) -> Option<SocketAddr> {
        let Self::Status(status) = self else {
            return None;
        };
        let leader = status.metadata().get(channel::LEADER)?;
        leader.to_str().ok()?.parse().ok()
    }
}

/// What became of a try.
enum End {
    /// There was none.
    None,
    /// There was none, but the manager named the leader.
    Elsewhere(SocketAddr),
    /// It stood with this manager, and ended.
    Stood(SocketAddr),
}

/// All that a session needs.
pub(crate) struct Session<E, K> {
    pub(crate) agent: Arc<Agent<E, K>>,
    pub(crate) drills: Arc<Drills<E, K>>,
    pub(crate) exec: Arc<E>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) db: Db,
    pub(crate) dial: Dial,
    pub(crate) peers: Peers,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) generic: BTreeMap<String, u64>,
    /// Port of this node's door for other nodes.
    pub(crate) door: u16,
    pub(crate) managers: Vec<SocketAddr>,
    /// Turns true when the daemon stops in order to start again.
    pub(crate) stopping: watch::Receiver<bool>,
    /// The manager of the present session, for whoever asks.
    pub(crate) connected: watch::Sender<Option<SocketAddr>>,
    /// What a manager said last of the whole cluster and of this node in it.
    pub(crate) told: watch::Sender<Told>,
}

/// What managers tell a node besides its work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Where managers are.
    pub managers: Vec<SocketAddr>,
    /// Their nodes; empty until a manager said so.
    pub nodes: Vec<NodeId>,
    /// What this node is in the cluster; `None` until a manager said so.
    pub place: Option<Place>,
}

impl Told {
    /// Whether a node that comes with a manager's certificate is one still, as far as is known here.
    pub(crate) fn manages(&self, node: NodeId) -> bool {
        self.nodes.is_empty() || self.nodes.contains(&node)
    }
}

type Sender = mpsc::Sender<v1::WorkerMessage>;

fn send(sender: &Sender, message: v1::worker_message::Message) -> Result<(), Broken> {
    let message = v1::WorkerMessage {
        message: Some(message),
    };
    sender.try_send(message).map_err(|_| Broken::Full)
}

/// Says what became of the last drill: anew in each session, since it may not have been heard.
fn say_drill(sender: &Sender, news: Option<DrillNews>) -> Result<(), Broken> {
    let Some(news) = news else {
        return Ok(());
    };
    let said = v1::DrillSaid {
        id: news.id.bits().to_be_bytes().to_vec(),
        undone: news.undone.as_ref().map(Into::into),
    };
    send(sender, v1::worker_message::Message::Drill(said))
}

/// Waits until the daemon is told to stop.
async fn told(stopping: &mut watch::Receiver<bool>) {
    // Nobody who could tell is left only when the daemon ends anyway.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Whom to reach first: who was `named`, then the managers in turn.
fn order(managers: &[SocketAddr], named: Option<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    let from = turn % managers.len().max(1);
    let (before, after) = managers.split_at(from);
    let others = after.iter().chain(before).copied();
    let others = others.filter(|manager| Some(*manager) != named);
    named.into_iter().chain(others).collect()
}

impl<E: Exec, K: Kernel> Session<E, K> {
    /// Holds sessions until the daemon stops.
    pub(crate) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut turn = 0_usize;
        let mut named = None;
        self.peers.set(self.managers.clone());
        while !*self.stopping.borrow() {
            let named_now = named.take();
            let order = order(&self.managers, named_now, turn);
            if named_now.is_none() {
                turn = turn.wrapping_add(1);
            }
            let end = self.one(order).await;
            self.connected.send_replace(None);
            match end {
                End::Stood(manager) => {
                    pause = FIRST_PAUSE;
                    // The same one first: it may only have blinked.
                    named = Some(manager);
                }
                End::Elsewhere(leader) => named = Some(leader),
                End::None => {}
            }
            let jitter = rand::random_range(0.5..1.0);
            let mut stopping = self.stopping.clone();
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
                () = told(&mut stopping) => {}
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// One session, with the first of `managers` that answers.
    async fn one(&mut self, managers: Vec<SocketAddr>) -> End {
        let reached = reach::first(&self.dial, managers, PATIENCE).await;
        let (manager, channel) = match reached {
            Ok(reached) => reached,
            Err(error) => {
                tracing::debug!(%error, "no manager is reached");
                return End::None;
            }
        };
        let opened = self.open(channel).await;
        let (welcome, sender, mut stream) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(manager = %manager, error = %error, "no session");
                let leader = error.leader().filter(|leader| *leader != manager);
                return leader.map_or(End::None, End::Elsewhere);
            }
        };
        tracing::info!(manager = %manager, session = welcome.session, "session opened");
        self.connected.send_replace(Some(manager));
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
        let heartbeat = heartbeat.clamp(HEARTBEATS.0, HEARTBEATS.1);
        let ended = match self.learn(welcome.managers).await {
            Ok(()) => self.converse(heartbeat, &sender, &mut stream).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::info!(manager = %manager, error = %error, "session ended");
        }
        End::Stood(manager)
    }

    async fn open(
        &self,
        channel: Channel,
    ) -> Result<(v1::Welcome, Sender, Streaming<v1::ManagerMessage>), Broken> {
        let mut client = v1::dispatch_client::DispatchClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let images = self.exec.images();
        let description = NodeDescription {
            door: Some(self.door),
            generic: self.generic.clone(),
            ..resources::describe(&self.labels)
        };
        let hello = v1::Hello {
            version: VERSION,
            description: Some((&description).into()),
            held: self.agent.held().await.map(Into::into),
            images: Some(images.as_slice().into()),
        };
        send(&sender, v1::worker_message::Message::Hello(hello))?;
        let greeted = async {
            let answer = client.session(ReceiverStream::new(receiver)).await?;
            let mut stream = answer.into_inner();
            match stream.message().await?.and_then(|first| first.message) {
                Some(v1::manager_message::Message::Welcome(welcome)) => Ok((welcome, stream)),
                _ => Err(Broken::NoWelcome),
            }
        };
        let (welcome, stream) = tokio::time::timeout(PATIENCE, greeted)
            .await
            .map_err(|_| Broken::Silent)??;
        self.outbox.begin(images);
        Ok((welcome, sender, stream))
    }

    async fn converse(
        &mut self,
        heartbeat: Duration,
        sender: &Sender,
        stream: &mut Streaming<v1::ManagerMessage>,
    ) -> Result<(), Broken> {
        let mut beat = tokio::time::interval(heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = self.stopping.clone();
        let outbox = Arc::clone(&self.outbox);
        let mut number = 0;
        let mut drills = self.drills.news();
        let first = drills.borrow_and_update().clone();
        say_drill(sender, first)?;
        loop {
            tokio::select! {
                _ = drills.changed() => {
                    let news = drills.borrow_and_update().clone();
                    // What was sent meanwhile waits for the kernel's next try, which may be seconds away.
                    if news.as_ref().is_some_and(|news| news.was_cut) {
                        return Err(Broken::Drilled);
                    }
                    say_drill(sender, news)?;
                }
                message = stream.message() => {
                    let message = message?.ok_or(Broken::Closed)?;
                    self.obey(message, number, sender).await?;
                }
                () = outbox.wait() => {}
                _ = beat.tick() => {
                    send(sender, v1::worker_message::Message::Beat(v1::Beat {}))?;
                }
                () = told(&mut stopping) => {
                    let stopping = v1::worker_message::Message::Stopping(v1::Stopping {});
                    send(sender, stopping)?;
                    // What was sent goes out before the stream is dropped.
                    let _ = tokio::time::timeout(heartbeat, sender.closed()).await;
                    return Ok(());
                }
            }
            if let Some(report) = outbox.next() {
                number += 1;
                let report = v1::NumberedReport {
                    number,
                    report: Some((&report).into()),
                };
                send(sender, v1::worker_message::Message::Report(report))?;
            }
        }
    }

    /// A drill that this release cannot make is refused, and the session goes on.
    async fn suffer(&self, order: v1::DrillOrder) -> Result<(), Broken> {
        let id = order.fault.as_ref().map(|fault| fault.id.clone());
        match (wire::optional(order.fault, "drill.fault"), id) {
            (Ok(fault), _) => self.drills.take(fault).await,
            (Err(error), Some(id)) => {
                let id = wire::id(&id, "drill.fault.id")?;
                self.drills.refuse(id, error.to_string()).await;
            }
            (Err(error), None) => return Err(error.into()),
        }
        Ok(())
    }

    async fn obey(
        &mut self,
        message: v1::ManagerMessage,
        number: u64,
        sender: &Sender,
    ) -> Result<(), Broken> {
        use v1::manager_message::Message;
        let (sequence, taken) = match message.message {
            Some(Message::Whole(whole)) => {
                let assignment = whole.assignment.unwrap_or_default();
                let taken = match Assignment::try_from(assignment) {
                    Ok(assignment) => self
                        .agent
                        .take_whole(assignment)
                        .await
                        .map_err(|refused| refused.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                (whole.sequence, taken)
            }
            Some(Message::Difference(numbered)) => {
                let difference = numbered.difference.unwrap_or_default();
                let taken = match Difference::try_from(difference) {
                    Ok(difference) => self
                        .agent
                        .take_difference(difference)
                        .await
                        .map_err(|refused| refused.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                (numbered.sequence, taken)
            }
            Some(Message::ReportCommitted(committed)) => {
                if committed.number >= number {
                    self.outbox.committed();
                }
                return Ok(());
            }
            Some(Message::Content(message)) => {
                let (file, revision, content) = wire::content(message)?;
                self.agent.take_content(file, revision, content).await;
                return Ok(());
            }
            Some(Message::Drill(order)) => {
                self.suffer(order).await?;
                return Ok(());
            }
            Some(Message::Managers(managers)) => return self.learn(Some(managers)).await,
            Some(Message::Place(place)) => {
                let place = Place::try_from(place)?;
                self.told
                    .send_if_modified(|told| told.place.replace(place) != Some(place));
                return Ok(());
            }
            Some(Message::Welcome(_)) | None => return Ok(()),
        };
        if let Err(reason) = &taken {
            tracing::warn!(reason, "an assignment is refused");
        }
        let acknowledgement = v1::Acknowledgement {
            sequence,
            refused: taken.err().unwrap_or_default(),
        };
        send(
            sender,
            v1::worker_message::Message::Acknowledgement(acknowledgement),
        )
    }

    /// Remembers who and where managers are; an empty list is not believed.
    async fn learn(&mut self, managers: Option<v1::Managers>) -> Result<(), Broken> {
        let v1::Managers { addresses, nodes } = managers.unwrap_or_default();
        let nodes = nodes.iter().map(|node| wire::id(node, "nodes"));
        let nodes: Vec<NodeId> = nodes.collect::<Result<_, _>>()?;
        if !nodes.is_empty() {
            self.told.send_modify(|told| told.nodes = nodes);
        }
        let addresses: Vec<SocketAddr> = addresses
            .into_iter()
            .map(SocketAddr::try_from)
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() || addresses == self.managers {
            return Ok(());
        }
        self.managers.clone_from(&addresses);
        self.told
            .send_modify(|told| told.managers.clone_from(&addresses));
        self.peers.set(addresses);
        if let Err(error) = self.db.keep_managers(&self.managers).await {
            tracing::warn!(error = %error, "cannot remember the managers");
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
pub(crate) mod tests;
