//! Prepares a new cluster: ids, root, tokens, the first node's certificate.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use skep_manager::{Founding, ca};
use skep_proto::channel::{Credentials, JoinToken, Peer, Stamp, csr};
use skep_proto::cluster::{Cluster, ClusterSpec};
use skep_proto::ids::{ClusterId, NodeId, RaftId};
use skep_proto::image::Image;
use skep_proto::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeState, NodeStatus, Role,
};
use skep_proto::time::{ClusterTime, WallTime};

/// Features of this version: all there are so far.
const FEATURE_LEVEL: u32 = 1;
/// A cluster begins with this incarnation.
const FIRST: u64 = 1;

/// A cluster that is about to begin.
pub struct Prepared {
    /// What it begins with.
    pub founding: Founding,
    /// The first node's certificate.
    pub credentials: Credentials,
    /// The first manager's number in the Raft group.
    pub raft: RaftId,
}

impl Prepared {
    /// The tokens to join as a worker and as a manager.
    pub fn tokens(&self) -> (String, String) {
        let cluster = &self.founding.cluster;
        let token = |secret| JoinToken::new(&cluster.authority.certificate, secret).to_string();
        (token(cluster.tokens.worker), token(cluster.tokens.manager))
    }
}

/// Prepares a cluster whose first manager is reached at `advertise`.
///
/// # Errors
/// When certificates cannot be made.
pub fn prepare(
    advertise: SocketAddr,
    spec: ClusterSpec,
    images: Vec<Image>,
) -> anyhow::Result<Prepared> {
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let wall = WallTime::from_unix_millis(u64::try_from(since.as_millis())?);
    let id = ClusterId::new(rand::random());
    let node = NodeId::new(rand::random());
    let authority = ca::make_root(id, now)?;
    let request = csr::request()?;
    let peer = Peer {
        node,
        role: Role::Manager,
        cluster: id,
    };
    let raft = RaftId(rand::random());
    let stamp = Stamp {
        incarnation: FIRST,
        index: 0,
        raft: Some(raft),
    };
    let certificate = ca::sign(
        &authority,
        &request.csr,
        (&peer, Some(stamp)),
        spec.certificate_expiry,
        now,
    )?;
    let credentials = Credentials {
        chain: vec![certificate],
        key: request.key.clone(),
        root: authority.certificate.clone(),
    };
    let cluster = Cluster {
        id,
        version: 0,
        created: wall,
        spec,
        authority,
        tokens: ca::new_secrets(rand::random()),
        feature_level: FEATURE_LEVEL,
        incarnation: FIRST,
    };
    let founding = Founding {
        cluster,
        node: first_node(node, wall, advertise),
        address: advertise,
        images,
    };
    Ok(Prepared {
        founding,
        credentials,
        raft,
    })
}

/// A node as it is before it was heard of, without a manager's status.
pub fn first_node(id: NodeId, created: WallTime, advertise: SocketAddr) -> Node {
    let spec = NodeSpec {
        labels: Default::default(),
        role: Role::Manager,
        availability: Availability::Active,
    };
    let status = NodeStatus {
        state: NodeState::Unknown,
        since: ClusterTime::ZERO,
        message: String::new(),
    };
    Node {
        id,
        version: 0,
        created,
        spec,
        description: NodeDescription::default(),
        address: advertise.ip(),
        status,
        number: 0,
        manager: None,
    }
}
