//! A real manager in this process, with workers that obey without containers: everything between a user's call and
//! a worker's report, over real connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use skep_manager::{Founding, Manager, UserDoor, ca};
use skep_proto::assignment::Assignment;
use skep_proto::channel::{self, Credentials, Identity, JoinToken, Peer, csr};
use skep_proto::cluster::{Cluster, ClusterSpec};
use skep_proto::difference::{Difference, apply_difference};
use skep_proto::ids::{ClusterId, NodeId, RaftId, RequestId, TaskId};
use skep_proto::image::{BUILT_IN, Digest, Image};
use skep_proto::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Place, Role,
};
use skep_proto::resources::Resources;
use skep_proto::task::{TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};
use skep_proto::wire::v1::ca_client::CaClient;
use skep_proto::wire::v1::control_client::ControlClient;
use skep_proto::wire::v1::dispatch_client::DispatchClient;
use skep_proto::wire::v1::manager_message::Message as Told;
use skep_proto::wire::v1::worker_message::Message as Said;
use skep_proto::wire::{self, WireId, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Nothing is waited for longer than this.
const DEADLINE: Duration = Duration::from_secs(20);

/// A user's calls.
pub type User = ControlClient<UserDoor>;

/// A manager that leads a cluster of its own.
pub struct Alone {
    /// The manager.
    pub manager: Manager,
    /// Where its door for nodes is.
    pub address: SocketAddr,
    /// Its identity.
    pub identity: Identity,
    directory: tempfile::TempDir,
    node: NodeId,
    raft: RaftId,
}

impl Alone {
    /// Begins a cluster.
    ///
    /// # Panics
    /// When it does not begin.
    pub async fn found() -> Self {
        channel::install_provider();
        let directory = tempfile::tempdir().expect("a directory");
        let (cluster, node, raft) = (
            ClusterId::new(rand::random()),
            NodeId::new(rand::random()),
            RaftId(rand::random()),
        );
        let now = SystemTime::now();
        let authority = ca::make_root(cluster, now).expect("a root");
        let request = csr::request().expect("a request");
        let peer = Peer {
            node,
            role: Role::Manager,
            cluster,
        };
        let spec = ClusterSpec {
            down_after: Duration::from_secs(1),
            ..ClusterSpec::default()
        };
        let signed = ca::sign(
            &authority,
            &request.csr,
            (&peer, None),
            spec.certificate_expiry,
            now,
        );
        let credentials = Credentials {
            chain: vec![signed.expect("a certificate")],
            key: request.key,
            root: authority.certificate.clone(),
        };
        let identity = Identity::new(&credentials).expect("an identity");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let manager = start(&directory, node, raft, &identity).await;
        let founding = Founding {
            cluster: Cluster {
                id: cluster,
                version: 0,
                created: WallTime::default(),
                spec,
                authority,
                tokens: ca::new_secrets(rand::random()),
                feature_level: 1,
                incarnation: 1,
            },
            node: first_node(node, address),
            address,
            images: vec![Image {
                name: BUILT_IN.into(),
                digest: Digest([7; 32]),
                size: 1,
            }],
        };
        manager.found(founding).await.expect("the cluster begins");
        let alone = Self {
            manager,
            address,
            identity,
            directory,
            node,
            raft,
        };
        alone.serve(listener);
        alone
    }

    fn serve(&self, listener: tokio::net::TcpListener) {
        let incoming = channel::accept(listener, &self.identity).expect("a door");
        let routes = self.manager.node_door(tonic::service::Routes::default());
        tokio::spawn(
            channel::server()
                .add_routes(routes)
                .serve_with_incoming(incoming),
        );
    }

    /// Stops the manager and starts it again on what it has stored.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(self) -> Self {
        let Self {
            manager,
            address,
            identity,
            directory,
            node,
            raft,
        } = self;
        manager.stop().await;
        let manager = start(&directory, node, raft, &identity).await;
        Self {
            manager,
            address,
            identity,
            directory,
            node,
            raft,
        }
    }

    /// The door for users.
    pub fn user(&self) -> User {
        ControlClient::new(self.manager.user_door())
    }

    /// Lets a worker join by its token and obey.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn worker(&self, hostname: &str) -> Obedient {
        let asked = v1::JoinTokensRequest {
            request: request(),
            rotate: Vec::new(),
        };
        let tokens = self
            .user()
            .join_tokens(asked)
            .await
            .expect("tokens")
            .into_inner();
        let token: JoinToken = tokens.worker.parse().expect("a token");
        let request = csr::request().expect("a request");
        let channel = channel::connect_pinned(self.address, &token)
            .await
            .expect("a connection");
        let message = v1::JoinRequest {
            secret: token.secret.to_vec(),
            csr: request.csr,
            hostname: hostname.into(),
            address: None,
            port: 2377,
            request: self::request(),
            ..Default::default()
        };
        let answer = CaClient::new(channel)
            .join(message)
            .await
            .expect("a place")
            .into_inner();
        let credentials = Credentials {
            chain: answer.chain,
            key: request.key,
            root: answer.root,
        };
        let identity = Identity::new(&credentials).expect("an identity");
        let node = wire::id(&answer.node, "node").expect("an id");
        Obedient::start(self.address, identity, node, hostname).await
    }
}

async fn start(
    directory: &tempfile::TempDir,
    node: NodeId,
    raft: RaftId,
    identity: &Identity,
) -> Manager {
    let config = skep_manager::Config {
        resolver: std::sync::Arc::new(skep_manager::control::NoRegistry),
        directory: directory.path().join("manager"),
        node,
        raft,
        identity: identity.clone(),
    };
    Manager::start(config).await.expect("the manager starts")
}

fn first_node(id: NodeId, address: SocketAddr) -> Node {
    Node {
        id,
        version: 0,
        created: WallTime::default(),
        spec: NodeSpec {
            labels: BTreeMap::new(),
            role: Role::Manager,
            availability: Availability::Active,
        },
        description: NodeDescription {
            hostname: "manager".into(),
            ..NodeDescription::default()
        },
        address: address.ip(),
        status: NodeStatus {
            state: NodeState::Unknown,
            since: ClusterTime::ZERO,
            message: String::new(),
        },
        number: 0,
        manager: None,
    }
}

/// A new request id.
pub fn request() -> Vec<u8> {
    RequestId::new(rand::random()).to_bytes()
}

/// A worker that says of every task that it has done what it was told, and runs nothing.
pub struct Obedient {
    /// Its node.
    pub node: NodeId,
    /// What it was told last.
    pub assignment: Arc<Mutex<Assignment>>,
    /// What it is in the cluster, as it was told.
    pub place: Arc<Mutex<Option<Place>>>,
    /// Its identity.
    pub identity: Identity,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Obedient {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Obedient {
    async fn start(manager: SocketAddr, identity: Identity, node: NodeId, hostname: &str) -> Self {
        let channel = channel::connect(manager, Some(Role::Manager), &identity)
            .await
            .expect("a connection");
        let (sender, receiver) = mpsc::channel(64);
        let description = NodeDescription {
            hostname: hostname.into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            resources: Resources {
                nano_cpus: 4_000_000_000,
                memory: 8 << 30,
            },
            engine: "test".into(),
            ..NodeDescription::default()
        };
        let hello = v1::Hello {
            version: 1,
            description: Some(v1::NodeDescription::from(&description)),
            held: None,
            images: None,
        };
        sender
            .send(said(Said::Hello(hello)))
            .await
            .expect("a session");
        let mut client = DispatchClient::new(channel);
        let told = client
            .session(ReceiverStream::new(receiver))
            .await
            .expect("a session")
            .into_inner();
        let (assignment, place) = (Arc::default(), Arc::default());
        let held = (Arc::clone(&assignment), Arc::clone(&place));
        let running = tokio::spawn(obey(told, sender, held));
        Self {
            node,
            assignment,
            place,
            identity,
            running,
        }
    }
}

fn said(message: Said) -> v1::WorkerMessage {
    v1::WorkerMessage {
        message: Some(message),
    }
}

async fn obey(
    mut told: tonic::Streaming<v1::ManagerMessage>,
    sender: mpsc::Sender<v1::WorkerMessage>,
    (held, place): (Arc<Mutex<Assignment>>, Arc<Mutex<Option<Place>>>),
) {
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    let mut reports = 0;
    loop {
        let message = tokio::select! {
            _ = beat.tick() => {
                if sender.send(said(Said::Beat(v1::Beat {}))).await.is_err() { return }
                continue;
            }
            message = told.message() => message,
        };
        let Ok(Some(message)) = message else { return };
        let sequence = match message.message {
            Some(Told::Whole(whole)) => {
                let new = wire::message(whole.assignment, "assignment").expect("an assignment");
                *held.lock().expect("not poisoned") = new;
                whole.sequence
            }
            Some(Told::Difference(step)) => {
                let new: Difference =
                    wire::message(step.difference, "difference").expect("a difference");
                apply_difference(&mut held.lock().expect("not poisoned"), new).expect("it fits");
                step.sequence
            }
            Some(Told::Place(told)) => {
                let told = Place::try_from(told).expect("a place");
                *place.lock().expect("not poisoned") = Some(told);
                continue;
            }
            _ => continue,
        };
        let refused = String::new();
        let stored = Said::Acknowledgement(v1::Acknowledgement { sequence, refused });
        reports += 1;
        let report = report(&held.lock().expect("not poisoned"));
        let news = Said::Report(v1::NumberedReport {
            number: reports,
            report: Some(report),
        });
        for message in [stored, news] {
            if sender.send(said(message)).await.is_err() {
                return;
            }
        }
    }
}

/// Every task got to where it is to be.
fn report(assignment: &Assignment) -> v1::Report {
    let reached = |desired: TaskState| match desired {
        TaskState::Ready | TaskState::Running => desired,
        _ => TaskState::Shutdown,
    };
    let tasks: Vec<(TaskId, TaskStatus)> = assignment
        .tasks
        .values()
        .map(|task| {
            (
                task.id,
                TaskStatus::of(reached(task.desired), WallTime::default()),
            )
        })
        .collect();
    let networks = assignment
        .view
        .networks
        .iter()
        .map(|it| (it.id, it.revision))
        .collect();
    v1::Report::from(&skep_proto::assignment::Report {
        tasks,
        networks,
        images: None,
        taken_ports: None,
        volumes: None,
    })
}

/// Waits for a condition.
///
/// # Panics
/// When it does not hold in time.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
