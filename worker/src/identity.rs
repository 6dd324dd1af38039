//! Who this node is: its key and certificate on disk, how it got them, how it gets the next ones.
//!
//! The key never leaves the node. What the cluster says about names and role is taken from its answer.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use skep_proto::channel::{
    self, ConnectError, Credentials, Identity, IdentityError, JoinToken, csr,
};
use skep_proto::ids::{ClusterId, NodeId, RaftId};
use skep_proto::node::Role;
use skep_proto::wire::{self, WireError, v1};
use tokio::sync::watch;

use crate::Told;
use crate::dial::Dial;

const FILE: &str = "identity";
/// Of the file; it stands in front.
const VERSION: u8 = 1;
/// For a manager to answer a join or a renewal.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds of asking for a new certificate.
const AGAIN: Duration = Duration::from_secs(30);
/// A clock that was set should be noticed within this.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// What went wrong with this node's identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// Its file.
    #[error("cannot {act} this node's identity in {root}: {source}")]
    File {
        /// What was tried.
        act: &'static str,
        /// Below which data root.
        root: String,
        /// Why not.
        source: io::Error,
    },
    /// What the file holds.
    #[error(
        "this node's identity in {root} cannot be read ({reason}): restore the file, or leave the \
         cluster and join again"
    )]
    Unreadable {
        /// Below which data root.
        root: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No key.
    #[error(transparent)]
    Request(#[from] csr::RequestError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The manager says no.
    #[error("{}", .0.message())]
    Refused(#[from] tonic::Status),
    /// The manager does not answer.
    #[error("{0} does not answer: is it a manager, and is it up?")]
    Silent(SocketAddr),
    /// No manager is known.
    #[error("no manager is known to this node")]
    Alone,
    /// Its answer cannot be understood.
    #[error("the manager's answer cannot be understood: {0}")]
    Wire(#[from] WireError),
    /// What it gave cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
    root: Vec<u8>,
}

/// How a node wants to join.
#[derive(Clone, Debug)]
pub struct JoinAs {
    /// Its host name.
    pub hostname: String,
    /// Where it can be reached; none: where its call comes from.
    pub address: Option<IpAddr>,
    /// Port of its door.
    pub port: u16,
    /// Its labels in the cluster.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Repeating a join with the same request gets the same node.
    pub request: skep_proto::ids::RequestId,
}

/// What a join led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// To be kept with [`store`].
    pub credentials: Credentials,
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// What it is there.
    pub role: Role,
    /// Where managers are.
    pub managers: Vec<SocketAddr>,
    /// Its Raft number if it is a manager.
    pub raft: Option<RaftId>,
}

fn failed(act: &'static str, root: &Path) -> impl FnOnce(io::Error) -> IdentityFault {
    let root = root.display().to_string();
    move |source| IdentityFault::File { act, root, source }
}

/// The credentials below `root`, if this node has any.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn load(root: &Path) -> Result<Option<Credentials>, IdentityFault> {
    let bytes = match fs::read(root.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", root))?,
    };
    let unreadable = |reason: String| IdentityFault::Unreadable {
        root: root.display().to_string(),
        reason,
    };
    let stored: Stored = match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| unreadable(error.to_string()))?
        }
        Some((version, _)) => return Err(unreadable(format!("it is of version {version}"))),
        None => return Err(unreadable("it is empty".to_owned())),
    };
    Ok(Some(Credentials {
        chain: stored.chain,
        key: stored.key,
        root: stored.root,
    }))
}

/// Keeps credentials below `root`, for root's eyes alone; durable when it returns.
///
/// # Errors
/// When the file cannot be written; then the old one stays.
pub fn store(root: &Path, credentials: &Credentials) -> Result<(), IdentityFault> {
    let stored = Stored {
        chain: credentials.chain.clone(),
        key: credentials.key.clone(),
        root: credentials.root.clone(),
    };
    let write = || -> io::Result<()> {
        let mut bytes = postcard::to_stdvec(&stored).map_err(io::Error::other)?;
        bytes.insert(0, VERSION);
        let fresh = root.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, root.join(FILE))?;
        fs::File::open(root)?.sync_all()
    };
    write().map_err(failed("keep", root))
}

/// Forgets who this node was.
///
/// # Errors
/// When the file cannot be removed.
pub fn forget(root: &Path) -> Result<(), IdentityFault> {
    match fs::remove_file(root.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", root)),
    }
}

/// Joins the cluster of `token` by the manager at `manager`. Nothing is kept here.
///
/// # Errors
/// When the manager cannot be reached, is not of that cluster, or refuses.
pub async fn join(
    manager: SocketAddr,
    token: &JoinToken,
    node: &JoinAs,
) -> Result<Joined, IdentityFault> {
    let request = csr::request()?;
    let channel = channel::connect_pinned(manager, token).await?;
    let mut client = v1::ca_client::CaClient::new(channel);
    let asked = client.join(v1::JoinRequest {
        secret: token.secret.to_vec(),
        csr: request.csr,
        hostname: node.hostname.clone(),
        address: node.address.map(wire::address_bytes),
        port: node.port.into(),
        labels: node.labels.clone(),
        request: wire::WireId::to_bytes(node.request),
    });
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer
        .map_err(|_| IdentityFault::Silent(manager))??
        .into_inner();
    let credentials = Credentials {
        chain: answer.chain,
        key: request.key,
        root: answer.root,
    };
    // What was given is tried before anybody keeps it.
    Identity::new(&credentials)?;
    Ok(Joined {
        credentials,
        node: wire::id(&answer.node, "node")?,
        cluster: wire::id(&answer.cluster, "cluster")?,
        role: wire::enumeration::<v1::Role, _>(answer.role, "role")?,
        managers: wire::list(answer.managers, "managers")?,
        raft: answer.raft.map(RaftId),
    })
}

/// What this node is in the cluster, as it was told with a new certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renewed {
    /// Its number in the Raft group; what it had under another is to go.
    pub raft: Option<RaftId>,
    /// Where managers are.
    pub managers: Vec<SocketAddr>,
    /// The cluster's incarnation.
    pub incarnation: u64,
}

/// Asks the managers in turn for the next certificate, keeps it, and uses it from then on. A node that says where its
/// `door` is becomes a manager, if it is to be one.
///
/// # Errors
/// What the last of them said.
pub async fn renew(
    identity: &Identity,
    dial: &Dial,
    managers: &[SocketAddr],
    door: Option<SocketAddr>,
    root: &Path,
) -> Result<Renewed, IdentityFault> {
    let mut last = IdentityFault::Alone;
    for manager in managers {
        match renew_by(identity, dial, *manager, door, root).await {
            Ok(renewed) => return Ok(renewed),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn renew_by(
    identity: &Identity,
    dial: &Dial,
    manager: SocketAddr,
    door: Option<SocketAddr>,
    root: &Path,
) -> Result<Renewed, IdentityFault> {
    let request = csr::request()?;
    let asked = async {
        let channel = dial(manager, Some(Role::Manager)).await;
        let channel = channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let mut client = v1::ca_client::CaClient::new(channel);
        let (csr, door) = (request.csr, door.map(v1::Address::from));
        client.renew(v1::RenewRequest { csr, door }).await
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer
        .map_err(|_| IdentityFault::Silent(manager))??
        .into_inner();
    let credentials = Credentials {
        chain: answer.chain,
        key: request.key,
        root: answer.root,
    };
    let renewed = Renewed {
        raft: answer.raft.map(RaftId),
        managers: wire::list(answer.managers, "managers")?,
        incarnation: answer.incarnation,
    };
    Identity::new(&credentials)?;
    store(root, &credentials)?;
    identity.replace(&credentials)?;
    Ok(renewed)
}

/// Renews for ever, each certificate at a point of its life that is drawn once. `told` says where to ask.
pub async fn keep_renewed(
    identity: Identity,
    dial: Dial,
    told: watch::Receiver<Told>,
    root: std::path::PathBuf,
) {
    let mut random: u32 = rand::random();
    loop {
        let left = identity.renew_at(random).duration_since(SystemTime::now());
        if let Ok(left) = left {
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
            continue;
        }
        let known = told.borrow().managers.clone();
        match renew(&identity, &dial, &known, None, &root).await {
            Ok(_) if identity.renew_at(random) > SystemTime::now() => {
                random = rand::random();
                tracing::info!("certificate renewed");
            }
            Ok(_) => tokio::time::sleep(AGAIN).await,
            Err(error) => {
                tracing::warn!(error = %error, "cannot renew the certificate yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
