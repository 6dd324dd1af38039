//! The door of the authority: nodes join by a token's secret, and get new certificates while they belong.
//!
//! The leader answers. A manager that passes a call on says in headers who made it; they count only when the
//! one who says so is a manager of this cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use skep_proto::channel::{Connection, Peer, Stamp};
use skep_proto::cluster::Cluster;
use skep_proto::ids::{NodeId, RaftId};
use skep_proto::node::{
    Availability, ManagerStatus, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use skep_proto::wire::v1::ca_server::Ca;
use skep_proto::wire::{self, WireError, WireId, v1};
use tonic::{Request, Response, Status};

use super::{grant, sign};
use crate::control::forward::{FORWARDED, FORWARDED_FOR, FORWARDED_NODE};
use crate::ring::{Ring, wall_time};
use crate::state::{Answer, Change, Entry, State};

/// Tries to give a new manager its number, against others who change its node at the same time.
const SEATINGS: usize = 5;

/// Answers nodes that join or renew. Cheap to clone.
#[derive(Clone)]
pub struct CaDoor {
    ring: Ring,
}

impl CaDoor {
    /// Answers from `ring`.
    pub fn new(ring: Ring) -> Self {
        Self { ring }
    }

    async fn read(&self) -> Result<(State, Arc<Cluster>), Status> {
        let state = self
            .ring
            .read()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let cluster = cluster(&state)?;
        Ok((state, cluster))
    }

    /// Says who calls, whether directly or through a manager.
    fn origin<T>(&self, request: &Request<T>) -> (Option<NodeId>, Option<IpAddr>) {
        let connection = request.extensions().get::<Connection>();
        let peer = connection.and_then(|it| it.peer);
        let state = self.ring.stale();
        let manager = |peer: &Peer| {
            state
                .node(peer.node)
                .is_some_and(|node| node.spec.role == Role::Manager)
        };
        let header = |name: &str| {
            request
                .metadata()
                .get(name)
                .and_then(|text| text.to_str().ok())
        };
        if peer.as_ref().is_some_and(manager) && header(FORWARDED).is_some() {
            let node = header(FORWARDED_NODE).and_then(|text| text.parse().ok());
            return (
                node,
                header(FORWARDED_FOR).and_then(|text| text.parse().ok()),
            );
        }
        (
            peer.map(|peer| peer.node),
            connection.map(|it| it.remote.ip()),
        )
    }

    /// The caller as the cluster has it, and the state that says so. One that is to be a manager gets its number in the Raft group when it says
    /// where it is reached; once it has one, it keeps that until it is out of the group.
    async fn seated(
        &self,
        caller: NodeId,
        door: Option<SocketAddr>,
    ) -> Result<(Arc<Node>, State), Status> {
        for _ in 0..SEATINGS {
            let (state, _) = self.read().await?;
            let node = state.node(caller).cloned().ok_or_else(|| {
                Status::permission_denied(format!("node {caller} is not of the cluster (any more)"))
            })?;
            let wants = node.spec.role == Role::Manager && node.manager.is_none();
            let Some(address) = door.filter(|_| wants) else {
                return Ok((node, state));
            };
            let raft = RaftId(rand::random());
            let entry = Entry {
                changes: vec![Change::PutNode(Arc::new(Node {
                    manager: Some(ManagerStatus { raft, address }),
                    ..Node::clone(&node)
                }))],
                ..Entry::default()
            };
            let proposed = self.ring.propose(entry).await;
            proposed.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        Err(Status::unavailable(
            "the node changed meanwhile; ask once more",
        ))
    }

    /// The node that this request made, now or before.
    async fn joined(
        &self,
        message: &v1::JoinRequest,
        from: Option<IpAddr>,
    ) -> Result<(Arc<Node>, State), Status> {
        let malformed = |error: WireError| Status::invalid_argument(error.to_string());
        let request = wire::request_id(&message.request).map_err(malformed)?;
        let (state, cluster) = self.read().await?;
        let id = NodeId::new(rand::random());
        let granted = grant(&cluster, &message.secret, id)
            .map_err(|refused| Status::permission_denied(refused.to_string()))?;
        if state.answered(request).is_none() {
            let told = message.address.as_deref();
            let told = told
                .map(|bytes| wire::address(bytes, "address"))
                .transpose()
                .map_err(malformed)?;
            let address = told.or(from).ok_or_else(|| {
                Status::invalid_argument(
                    "it is not known where this node can be reached; name it with --advertise-addr",
                )
            })?;
            let port = wire::network_port(message.port, "port").map_err(malformed)?;
            let node = new_node(id, granted.role, message, SocketAddr::new(address, port));
            let changes = vec![Change::PutNode(Arc::new(node))];
            let outcome = self.ring.command(request, Answer::Node(id), changes).await;
            let outcome = outcome.map_err(|error| Status::unavailable(error.to_string()))?;
            if let Some(dropped) = outcome.dropped.first() {
                return Err(Status::failed_precondition(dropped.reason.to_string()));
            }
        }
        let state = self.ring.stale();
        let made = match state.answered(request).map(|it| &it.answer) {
            Some(Answer::Node(id)) => state.node(*id).cloned(),
            _ => None,
        };
        let made = made.filter(|node| node.spec.role == granted.role);
        made.map(|node| (node, state.clone()))
            .ok_or_else(|| Status::unavailable("the node is not known here yet; repeat"))
    }
}

fn cluster(state: &State) -> Result<Arc<Cluster>, Status> {
    let cluster = state.cluster().cloned();
    cluster.ok_or_else(|| Status::unavailable("the cluster is being made; repeat"))
}

fn new_node(id: NodeId, role: Role, message: &v1::JoinRequest, at: SocketAddr) -> Node {
    let raft = RaftId(rand::random());
    Node {
        id,
        version: 0,
        created: wall_time(),
        spec: NodeSpec {
            labels: message
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            role,
            availability: Availability::Active,
        },
        description: NodeDescription {
            hostname: message.hostname.clone(),
            ..Default::default()
        },
        address: at.ip(),
        status: NodeStatus {
            state: NodeState::Unknown,
            since: Default::default(),
            message: String::new(),
        },
        number: 0,
        manager: (role == Role::Manager).then_some(ManagerStatus { raft, address: at }),
    }
}

fn managers(state: &State) -> Vec<v1::Address> {
    let managers = state.managers().filter_map(|node| node.manager.as_ref());
    managers
        .map(|manager| v1::Address::from(manager.address))
        .collect()
}

/// Of `node` in `state`, which is what the certificate is made from.
fn certificate(state: &State, csr: &[u8], node: &Node, role: Role) -> Result<Vec<u8>, Status> {
    let cluster = cluster(state)?;
    let peer = Peer {
        node: node.id,
        role,
        cluster: cluster.id,
    };
    let stamp = Stamp {
        incarnation: cluster.incarnation,
        index: state.applied(),
        raft: node.place().raft,
    };
    sign(
        &cluster.authority,
        csr,
        (&peer, Some(stamp)),
        cluster.spec.certificate_expiry,
        SystemTime::now(),
    )
    .map_err(|error| Status::invalid_argument(error.to_string()))
}

#[tonic::async_trait]
impl Ca for CaDoor {
    async fn root(&self, _: Request<v1::RootRequest>) -> Result<Response<v1::RootAnswer>, Status> {
        let (_, cluster) = self.read().await?;
        let certificate = cluster.authority.certificate.clone();
        Ok(Response::new(v1::RootAnswer { certificate }))
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinAnswer>, Status> {
        let (_, from) = self.origin(&request);
        let message = request.into_inner();
        let (node, state) = self.joined(&message, from).await?;
        let cluster = cluster(&state)?;
        let role = node.spec.role;
        Ok(Response::new(v1::JoinAnswer {
            chain: vec![certificate(&state, &message.csr, &node, role)?],
            node: node.id.to_bytes(),
            cluster: cluster.id.to_bytes(),
            role: v1::Role::from(role).into(),
            root: cluster.authority.certificate.clone(),
            managers: managers(&state),
            raft: node.manager.as_ref().map(|manager| manager.raft.0),
        }))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewAnswer>, Status> {
        let (caller, _) = self.origin(&request);
        let caller =
            caller.ok_or_else(|| Status::unauthenticated("only a node renews its certificate"))?;
        let malformed = |error: WireError| Status::invalid_argument(error.to_string());
        let message = request.into_inner();
        let door = wire::optional(message.door, "door").map_err(malformed)?;
        let (node, state) = self.seated(caller, door).await?;
        let cluster = cluster(&state)?;
        // Until it is out of the group others reach it as a manager.
        let role = match node.manager {
            Some(_) => Role::Manager,
            None => node.spec.role,
        };
        Ok(Response::new(v1::RenewAnswer {
            chain: vec![certificate(&state, &message.csr, &node, role)?],
            role: v1::Role::from(role).into(),
            root: cluster.authority.certificate.clone(),
            raft: node.place().raft.map(|raft| raft.0),
            managers: managers(&state),
            incarnation: cluster.incarnation,
        }))
    }
}
