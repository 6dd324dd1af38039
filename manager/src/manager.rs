//! Puts a manager together: what the daemon starts, asks for its doors and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_proto::channel::{self, Identity};
use skep_proto::cluster::Cluster;
use skep_proto::ids::{NodeId, RaftId};
use skep_proto::image::Image;
use skep_proto::node::{ManagerStatus, Node, Role};
use skep_proto::wire::v1::ca_server::CaServer;
use skep_proto::wire::v1::control_server::ControlServer;
use skep_proto::wire::v1::dispatch_server::DispatchServer;
use skep_proto::wire::v1::drills_server::DrillsServer;
use skep_proto::wire::v1::streams_server::StreamsServer;
use skep_proto::wire::v1::tokens_server::TokensServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::admit::{Admit, Admitted};
use crate::ca::CaDoor;
use crate::control::{Control, Forward, SharedResolver};
use crate::dispatch::{Dispatch, reports};
use crate::leader::{self, Live, Standing};
use crate::outside::Outside;
use crate::peers::Peers;
use crate::raft::{
    self, Consensus, GrpcTransport, Lane, Leadership, MembershipError, OpenError, ProposeError,
    RaftService, ReadError, Target, TransportError,
};
use crate::revival::Backup;
use crate::ring::Ring;
use crate::state::{Change, Entry, State};
use crate::streams::Relay;

/// A manager alone elects itself in milliseconds; a disk that stalls may take longer.
const FIRST_ELECTION: Duration = Duration::from_secs(10);

/// What a manager is started with.
#[derive(Clone)]
pub struct Config {
    /// Its own directory in the data root.
    pub directory: PathBuf,
    /// Its node.
    pub node: NodeId,
    /// Its Raft number, given when it joined; a founder's is drawn.
    pub raft: RaftId,
    /// Proves who it is.
    pub identity: Identity,
    /// Asks registries what images' names mean.
    pub resolver: SharedResolver,
}

/// The services for users, answered by the leader.
pub type UserDoor = Forward<Routes>;

/// What a new cluster begins with.
pub struct Founding {
    /// The cluster.
    pub cluster: Cluster,
    /// Its first node, without a manager's status.
    pub node: Node,
    /// Where the first manager is reached.
    pub address: SocketAddr,
    /// Images that every node has built in.
    pub images: Vec<Image>,
}

/// Why a manager does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its log or state cannot be opened.
    #[error("cannot open what this manager has stored: {0}")]
    Open(#[from] OpenError),
    /// The cluster cannot begin.
    #[error("cannot begin the cluster: {0}")]
    Begin(#[from] MembershipError),
    /// A manager alone did not elect itself.
    #[error(
        "this manager did not become the leader within {FIRST_ELECTION:?}: is its disk very slow?"
    )]
    NotElected,
    /// The first entry was not committed.
    #[error("cannot write the first entry: {0}")]
    First(#[from] ProposeError),
}

/// A manager at work. Dropping it without [`Manager::stop`] leaves its parts running until the program ends.
pub struct Manager {
    ring: Ring,
    consensus: Consensus<State>,
    control: Control,
    dispatch: Dispatch,
    ca: CaDoor,
    relay: Relay,
    peers: Peers,
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
    parts: JoinSet<()>,
    node: NodeId,
    live: Live,
}

/// What a manager says of itself to whoever watches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Raft term.
    pub term: u64,
    /// It leads.
    pub leads: bool,
    /// It knows who leads.
    pub leader_known: bool,
    /// Open sessions of workers, while it leads.
    pub sessions: usize,
}

impl Manager {
    /// Opens what is stored and takes part: it follows, stands and leads as Raft says.
    ///
    /// # Errors
    /// When what is stored cannot be opened; nothing is changed then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut settings = raft::Config::new(&config.directory);
        settings.id = Some(config.raft.0);
        let transport = Arc::new(GrpcTransport::new(connector(config.identity.clone())));
        let consensus = Consensus::<State>::open(settings, transport).await?;
        let ring = Ring::new(consensus.clone());
        let (stop, live, mut parts) = (CancellationToken::new(), Live::default(), JoinSet::new());
        let standing = follow_leadership(&consensus, &mut parts);
        let (report, gatherer) = reports::channel();
        parts.spawn(leader::run(
            ring.clone(),
            consensus.clone(),
            live.clone(),
            gatherer,
            standing.clone(),
            stop.clone(),
        ));
        let relay = Relay::new(ring.clone(), config.identity.clone());
        let (node, peers) = (config.node, Peers::new(config.identity));
        let resolver = config.resolver;
        Ok(Self {
            control: Control::new(
                ring.clone(),
                consensus.clone(),
                live.clone(),
                node,
                resolver,
            ),
            dispatch: Dispatch::new(ring.clone(), live.clone(), report, standing.clone()),
            ca: CaDoor::new(ring.clone()),
            relay,
            peers,
            ring,
            consensus,
            standing,
            stop,
            parts,
            node,
            live,
        })
    }

    /// Begins a cluster with this manager alone.
    ///
    /// # Errors
    /// When it belongs to one already, or its disk does not take the first entry.
    pub async fn found(&self, founding: Founding) -> Result<(), StartError> {
        self.consensus
            .initialize(&founding.address.to_string())
            .await?;
        self.until_leading().await?;
        let raft = RaftId(self.consensus.id());
        let manager = Some(ManagerStatus {
            raft,
            address: founding.address,
        });
        let mut changes = vec![
            Change::PutCluster(Arc::new(founding.cluster)),
            Change::PutNode(Arc::new(Node {
                manager,
                ..founding.node
            })),
        ];
        changes.extend(
            founding
                .images
                .into_iter()
                .map(|image| Change::PutImage(Arc::new(image))),
        );
        self.ring
            .propose(Entry {
                atomic: true,
                changes,
                ..Entry::default()
            })
            .await?;
        Ok(())
    }

    /// Waits until this manager leads, as one that is alone soon does.
    ///
    /// # Errors
    /// When it does not within ten seconds.
    pub async fn until_leading(&self) -> Result<(), StartError> {
        let mut standing = self.standing.clone();
        let leads = standing.wait_for(|it| matches!(it, Standing::Leading { .. }));
        match tokio::time::timeout(FIRST_ELECTION, leads).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StartError::NotElected),
        }
    }

    /// All that was acknowledged before this call, to be kept elsewhere.
    ///
    /// # Errors
    /// When no majority answers.
    pub async fn backup(&self) -> Result<Backup, ReadError> {
        Ok(Backup::new(self.consensus.read_index().await?))
    }

    /// What other nodes find here, behind mutual TLS.
    pub fn node_door(&self, routes: Routes) -> Routes {
        let admit = |admitted| (self.ring.clone(), admitted);
        let (ring, members) = admit(Admitted::Members);
        let raft = RaftService::new(self.consensus.inbound()).into_server();
        let routes = routes.add_service(Admit::new(raft, ring, members));
        let routes =
            routes.add_service(self.outside::<ControlServer<Control>, _>(self.user_door()));
        let routes = routes.add_service(self.outside::<DrillsServer<Control>, _>(self.user_door()));
        let routes = routes.add_service(self.outside::<TokensServer<Control>, _>(self.user_door()));
        let routes = routes.add_service(self.outside::<StreamsServer<Relay>, _>(self.streams()));
        let (ring, nodes) = admit(Admitted::Nodes);
        let dispatch = DispatchServer::new(self.dispatch.clone());
        let routes = routes.add_service(Admit::new(dispatch, ring, nodes));
        let ca = CaServer::new(self.ca.clone());
        routes.add_service(Forward::new(ca, self.standing.clone(), self.peers.clone()))
    }

    /// The service `N`, for managers and for users with a token.
    fn outside<N, S: Clone>(&self, service: S) -> Outside<N, Admit<S>, S> {
        let nodes = Admit::new(service.clone(), self.ring.clone(), Admitted::Managers);
        Outside::new(self.ring.clone(), nodes, service)
    }

    /// A service of this node's worker, for nodes of the cluster alone.
    pub fn for_nodes<S>(&self, service: S) -> Admit<S> {
        Admit::new(service, self.ring.clone(), Admitted::Nodes)
    }

    /// A service of this node's worker, for managers of the cluster alone.
    pub fn for_managers<S>(&self, service: S) -> Admit<S> {
        Admit::new(service, self.ring.clone(), Admitted::Managers)
    }

    /// Logs and terminals of all nodes, for users on this node's socket.
    pub fn streams(&self) -> StreamsServer<Relay> {
        StreamsServer::new(self.relay.clone())
    }

    /// What users find on this node's socket.
    pub fn user_door(&self) -> UserDoor {
        let services = Routes::new(ControlServer::new(self.control.clone()))
            .add_service(TokensServer::new(self.control.clone()))
            .add_service(DrillsServer::new(self.control.clone()));
        Forward::new(services, self.standing.clone(), self.peers.clone())
    }

    /// Whether this manager knows who leads, now or within the time the caller waits.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// What was committed, as far as this manager knows.
    pub fn state(&self) -> State {
        self.ring.stale()
    }

    /// Becomes `Some` with the reason when this manager can take no further part. The daemon must end then.
    pub fn fatal(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.consensus.fatal()
    }

    /// What this manager says of itself to whoever watches it.
    pub fn reading(&self) -> Reading {
        let leadership = self.consensus.leader();
        let leadership = leadership.borrow();
        Reading {
            term: leadership.term,
            leads: leadership.own,
            leader_known: leadership.own || leadership.leader.is_some(),
            sessions: self.live.sessions(),
        }
    }

    /// Its number in the Raft group.
    pub fn raft(&self) -> RaftId {
        RaftId(self.consensus.id())
    }

    /// The node that the leader is on, where known.
    pub fn leader(&self) -> Option<NodeId> {
        match *self.standing.borrow() {
            Standing::Leading { .. } => Some(self.node),
            Standing::Unknown => None,
            Standing::Following { leader } => {
                let state = self.ring.stale();
                let leads = |node: &&Arc<Node>| {
                    node.spec.role == Role::Manager
                        && node.manager.as_ref().is_some_and(|it| it.address == leader)
                };
                state.nodes().find(leads).map(|node| node.id)
            }
        }
    }

    /// Hands over if it leads, then stops. What was acknowledged is on disk.
    pub async fn stop(mut self) {
        let leads = matches!(*self.standing.borrow(), Standing::Leading { .. });
        if leads && let Err(error) = self.consensus.transfer_leader(None).await {
            tracing::debug!(%error, "nobody took over before the stop");
        }
        self.stop.cancel();
        self.parts.shutdown().await;
        self.consensus.shutdown().await;
    }
}

/// Makes Raft's channels to other managers.
fn connector(
    identity: Identity,
) -> impl Fn(&Target, Lane) -> Result<tonic::transport::Channel, TransportError> {
    move |target, _| {
        let unreachable = |reason: String| TransportError::Unreachable(reason);
        let address = target.address.parse().map_err(|error| {
            unreachable(format!("\"{}\" is not an address: {error}", target.address))
        })?;
        channel::connect_lazy(address, Some(Role::Manager), &identity)
            .map_err(|error| unreachable(error.to_string()))
    }
}

/// Who leads, as other rooms see it.
fn follow_leadership(
    consensus: &Consensus<State>,
    parts: &mut JoinSet<()>,
) -> watch::Receiver<Standing> {
    let mut leadership = consensus.leader();
    let (sender, receiver) = watch::channel(standing(&leadership.borrow_and_update()));
    parts.spawn(async move {
        while leadership.changed().await.is_ok() {
            let now = standing(&leadership.borrow_and_update());
            sender.send_if_modified(|standing| {
                let news = *standing != now;
                *standing = now;
                news
            });
        }
    });
    receiver
}

fn standing(leadership: &Leadership) -> Standing {
    match &leadership.leader {
        _ if leadership.own => Standing::Leading {
            term: leadership.term,
        },
        Some(leader) => leader
            .address
            .parse()
            .map_or(Standing::Unknown, |leader| Standing::Following { leader }),
        None => Standing::Unknown,
    }
}
