//! Sessions with a manager made in the test, over real connections on loopback.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::future::FutureExt;
use skep_netd::FakeKernel;
use skep_proto::node::Role;
use skep_proto::task::TaskState;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response};
use v1::manager_message::Message as Says;
use v1::worker_message::Message as Hears;

use super::*;
use crate::agent::tests::{FakeExec, Node, TASK, assignment, task};

const SOON: Duration = Duration::from_secs(10);

/// One end of a session, in the test's hands.
pub(crate) struct Manager {
    pub(crate) address: SocketAddr,
    sessions: mpsc::Receiver<Seat>,
}

pub(crate) struct Seat {
    says: mpsc::Sender<Result<v1::ManagerMessage, Status>>,
    hears: Streaming<v1::WorkerMessage>,
    /// Reports that came while something else was waited for: a worker sends no other until they are committed.
    early: VecDeque<v1::NumberedReport>,
}

struct Service {
    seats: Mutex<mpsc::Sender<Seat>>,
    /// It follows this one, and takes no session.
    leader: Option<SocketAddr>,
}

#[tonic::async_trait]
impl v1::dispatch_server::Dispatch for Service {
    type SessionStream = ReceiverStream<Result<v1::ManagerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if let Some(leader) = self.leader {
            let mut status = Status::unavailable("this manager does not lead");
            let leader = leader.to_string().parse().unwrap();
            status.metadata_mut().insert(channel::LEADER, leader);
            return Err(status);
        }
        let (says, receiver) = mpsc::channel(100);
        let hears = request.into_inner();
        self.seats
            .lock()
            .unwrap()
            .try_send(Seat {
                says,
                hears,
                early: VecDeque::new(),
            })
            .unwrap();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn holders(
        &self,
        _: Request<v1::HoldersRequest>,
    ) -> Result<Response<v1::HoldersAnswer>, Status> {
        Ok(Response::new(v1::HoldersAnswer::default()))
    }

    async fn name_image(
        &self,
        _: Request<v1::NameImageRequest>,
    ) -> Result<Response<v1::NameImageAnswer>, Status> {
        Ok(Response::new(v1::NameImageAnswer {}))
    }
}

impl Manager {
    pub(crate) async fn new() -> Self {
        Self::following(None).await
    }

    async fn following(leader: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sessions) = mpsc::channel(100);
        let service = v1::dispatch_server::DispatchServer::new(Service {
            seats: Mutex::new(sender),
            leader,
        });
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, sessions }
    }

    /// The next session, greeted.
    pub(crate) async fn greet(&mut self, managers: &[SocketAddr]) -> (Seat, v1::Hello) {
        let session = tokio::time::timeout(SOON, self.sessions.recv());
        let mut seat = session.await.unwrap().unwrap();
        let Hears::Hello(hello) = seat.hear().await else {
            panic!("the first message was no hello");
        };
        seat.say(Says::Welcome(v1::Welcome {
            session: 1,
            heartbeat_ms: 50,
            down_after_ms: 1000,
            managers: Some(v1::Managers {
                addresses: managers.iter().map(|address| (*address).into()).collect(),
                ..Default::default()
            }),
        }))
        .await;
        (seat, hello)
    }
}

impl Seat {
    async fn say(&self, message: Says) {
        let message = Some(message);
        self.says
            .send(Ok(v1::ManagerMessage { message }))
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> Hears {
        let message = tokio::time::timeout(SOON, self.hears.message())
            .await
            .unwrap();
        message.unwrap().unwrap().message.unwrap()
    }

    /// The next message that `pick` wants.
    async fn hear_until<T>(&mut self, pick: impl Fn(Hears) -> Option<T>) -> T {
        let heard = async {
            loop {
                if let Some(found) = pick(self.hear().await) {
                    return found;
                }
            }
        };
        tokio::time::timeout(SOON, heard).await.unwrap()
    }

    pub(crate) async fn whole(&mut self, sequence: u64, assignment: &Assignment) -> String {
        let whole = v1::Whole {
            sequence,
            assignment: Some(assignment.into()),
        };
        self.say(Says::Whole(whole)).await;
        let acknowledged = async {
            loop {
                match self.hear().await {
                    Hears::Acknowledgement(answer) => return answer,
                    Hears::Report(report) => self.early.push_back(report),
                    _ => {}
                }
            }
        };
        let answer = tokio::time::timeout(SOON, acknowledged).await.unwrap();
        assert_eq!(answer.sequence, sequence);
        answer.refused
    }

    /// The next report that says so of the task.
    pub(crate) async fn reported(&mut self, state: TaskState) -> u64 {
        loop {
            let heard = |message| match message {
                Hears::Report(report) => Some(report),
                _ => None,
            };
            let report = match self.early.pop_front() {
                Some(report) => report,
                None => self.hear_until(heard).await,
            };
            let number = report.number;
            let content = skep_proto::assignment::Report::try_from(report.report.unwrap()).unwrap();
            if content
                .tasks
                .iter()
                .any(|(id, status)| *id == TASK && status.state == state)
            {
                return number;
            }
            self.commit(number).await;
        }
    }

    pub(crate) async fn commit(&mut self, number: u64) {
        self.say(Says::ReportCommitted(v1::ReportCommitted { number }))
            .await;
    }
}

/// Without certificates: there is no cluster to prove anything to.
pub(crate) fn plain_dial() -> Dial {
    Arc::new(|address, _| {
        async move {
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            let endpoint = endpoint.map_err(std::io::Error::other)?;
            endpoint.connect().await.map_err(std::io::Error::other)
        }
        .boxed()
    })
}

fn start(node: &Node, managers: &[SocketAddr]) -> watch::Sender<bool> {
    listen(node, managers).0
}

/// A session, and what it is told besides its work.
fn listen(node: &Node, managers: &[SocketAddr]) -> (watch::Sender<bool>, watch::Receiver<Told>) {
    let (told, heard) = watch::channel(Told::default());
    let dial = plain_dial();
    let (stop, stopping) = watch::channel(false);
    let session = Session::<FakeExec, FakeKernel> {
        agent: Arc::clone(node.agent.as_ref().unwrap()),
        drills: crate::drill::tests::idle(node),
        exec: Arc::clone(&node.exec),
        outbox: Arc::clone(&node.outbox),
        db: node.db.clone().unwrap(),
        peers: Peers::new(Arc::clone(&dial), watch::channel(None).1),
        dial,
        labels: BTreeMap::new(),
        generic: BTreeMap::new(),
        door: 2377,
        managers: managers.to_vec(),
        stopping,
        connected: watch::channel(None).0,
        told,
    };
    tokio::spawn(session.run());
    (stop, heard)
}

#[tokio::test]
async fn an_assignment_is_acknowledged_obeyed_and_reported() {
    let (node, mut manager) = (Node::new().await, Manager::new().await);
    let _stop = start(&node, &[manager.address]);
    let (mut seat, hello) = manager.greet(&[]).await;
    assert!(hello.held.is_none() && hello.description.is_some());
    assert_eq!(hello.images.unwrap().digests.len(), 1);
    let refused = seat
        .whole(1, &assignment(5, vec![task(TaskState::Running)]))
        .await;
    assert_eq!(refused, "");
    seat.reported(TaskState::Running).await;
    let kept = node.db.as_ref().unwrap().assignment().unwrap().unwrap();
    assert_eq!(kept.generation.index, 5);
}

#[tokio::test]
async fn an_older_assignment_is_refused_in_words() {
    let (node, mut manager) = (Node::new().await, Manager::new().await);
    let _stop = start(&node, &[manager.address]);
    let (mut seat, _) = manager.greet(&[]).await;
    assert_eq!(seat.whole(1, &assignment(5, vec![])).await, "");
    let refused = seat.whole(2, &assignment(4, vec![])).await;
    assert!(refused.contains("obeys"), "{refused}");
}

#[tokio::test]
async fn a_report_is_said_again_until_it_is_committed() {
    let (node, mut manager) = (Node::new().await, Manager::new().await);
    let _stop = start(&node, &[manager.address]);
    let (mut seat, _) = manager.greet(&[]).await;
    seat.whole(1, &assignment(5, vec![task(TaskState::Running)]))
        .await;
    seat.reported(TaskState::Running).await;
    drop(seat);
    let (mut seat, hello) = manager.greet(&[]).await;
    assert_eq!(hello.held.unwrap().index, 5);
    let number = seat.reported(TaskState::Running).await;
    seat.commit(number).await;
    node.exec.exit(TASK, 4);
    let number = seat.reported(TaskState::Failed).await;
    seat.commit(number).await;
}

#[tokio::test]
async fn beats_come_without_anything_to_say() {
    let (node, mut manager) = (Node::new().await, Manager::new().await);
    let _stop = start(&node, &[manager.address]);
    let (mut seat, _) = manager.greet(&[]).await;
    for _ in 0..3 {
        seat.hear_until(|message| matches!(message, Hears::Beat(_)).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn the_next_manager_is_tried_and_remembered() {
    let node = Node::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (mut one, mut two) = (Manager::new().await, Manager::new().await);
    let _stop = start(&node, &[nobody, one.address]);
    let (seat, _) = one.greet(&[nobody, two.address]).await;
    let db = node.db.clone().unwrap();
    drop((seat, one));
    let (_seat, _) = two.greet(&[two.address]).await;
    let remembered = async {
        while db.managers().unwrap() != [two.address] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, remembered).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_was_never_heard_of_is_found() {
    let (node, mut leader) = (Node::new().await, Manager::new().await);
    let follower = Manager::following(Some(leader.address)).await;
    let _stop = start(&node, &[follower.address]);
    let (seat, _) = leader.greet(&[follower.address]).await;
    seat.say(Says::Managers(v1::Managers {
        addresses: vec![leader.address.into(), follower.address.into()],
        ..Default::default()
    }))
    .await;
    let db = node.db.clone().unwrap();
    let remembered = async {
        while db.managers().unwrap() != [leader.address, follower.address] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, remembered).await.unwrap();
}

#[tokio::test]
async fn a_node_is_told_who_decides_and_what_it_is() {
    let (node, mut manager) = (Node::new().await, Manager::new().await);
    let (_stop, mut heard) = listen(&node, &[manager.address]);
    let (seat, _) = manager.greet(&[manager.address]).await;
    let (one, two) = (NodeId::new(1), NodeId::new(2));
    assert!(heard.borrow().manages(two), "nobody has said who does");
    let place = Place {
        role: Role::Manager,
        raft: None,
    };
    seat.say(Says::Managers(v1::Managers {
        addresses: vec![manager.address.into()],
        nodes: vec![wire::WireId::to_bytes(one)],
    }))
    .await;
    seat.say(Says::Place(place.into())).await;
    let told = heard.wait_for(|told| told.place.is_some());
    let told = tokio::time::timeout(SOON, told).await.unwrap().unwrap();
    assert_eq!((told.place, &told.nodes[..]), (Some(place), &[one][..]));
    assert!(told.manages(one) && !told.manages(two));
}

#[tokio::test]
async fn a_daemon_that_stops_says_so() {
    let (node, mut manager) = (Node::new().await, Manager::new().await);
    let stop = start(&node, &[manager.address]);
    let (mut seat, _) = manager.greet(&[]).await;
    stop.send_replace(true);
    seat.hear_until(|message| matches!(message, Hears::Stopping(_)).then_some(()))
        .await;
}
