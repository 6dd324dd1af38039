//! Joins a cluster: asks its managers for a place, and waits until a new manager is a member.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use skep_manager::Manager;
use skep_manager::leader::Standing;
use skep_proto::channel::JoinToken;
use skep_proto::ids::RequestId;
use skep_worker::identity::{self, IdentityFault, JoinAs, Joined};
use tonic::Code;

use super::membership::Membership;

/// A new manager is a member within this.
const MEMBER: Duration = Duration::from_secs(30);

/// Asks one manager after the other for a place.
///
/// # Errors
/// Says what each of them said; a token that is refused is not tried elsewhere.
pub async fn ask(
    token: &str,
    managers: &[SocketAddr],
    advertise: Option<SocketAddr>,
    port: u16,
    labels: BTreeMap<String, String>,
) -> anyhow::Result<Joined> {
    let token: JoinToken = token.parse().context("--token is not a join token")?;
    let plan = JoinAs {
        hostname: nix::unistd::gethostname()?.to_string_lossy().into_owned(),
        address: advertise.map(|at| at.ip()),
        port,
        labels,
        request: RequestId::new(rand::random()),
    };
    let mut said = Vec::new();
    for manager in managers {
        match identity::join(*manager, &token, &plan).await {
            Ok(joined) => return Ok(joined),
            Err(IdentityFault::Refused(status)) if status.code() == Code::PermissionDenied => {
                bail!("{}", status.message())
            }
            Err(error) => said.push(format!("{manager}: {:#}", anyhow::Error::new(error))),
        }
    }
    bail!(
        "no manager let this node join with this token: {}",
        said.join("; ")
    )
}

/// What this node is to remember of the cluster it joined.
///
/// # Errors
/// When it is not known where the others reach it.
pub fn membership(
    joined: &Joined,
    advertise: Option<SocketAddr>,
    listen: SocketAddr,
) -> anyhow::Result<Membership> {
    let way = joined
        .managers
        .iter()
        .find_map(|manager| own_address(*manager));
    let advertise = advertise.or(way.map(|ip| SocketAddr::new(ip, listen.port())));
    Ok(Membership {
        cluster: joined.cluster,
        node: joined.node,
        raft: joined.raft,
        advertise: advertise
            .context("no way to a manager; name this node's address with --advertise-addr")?,
        listen,
        managers: joined.managers.clone(),
    })
}

/// The address from which this machine reaches `other`. Nothing is sent.
fn own_address(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if other.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0u16; 8].into()
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Waits until a new manager has learnt who leads.
///
/// # Errors
/// When that takes too long: the leader cannot reach this node.
pub async fn until_member(manager: &Manager) -> anyhow::Result<()> {
    let mut standing = manager.standing();
    let known = standing.wait_for(|it| !matches!(it, Standing::Unknown));
    match tokio::time::timeout(MEMBER, known).await {
        Ok(Ok(_)) => Ok(()),
        _ => bail!(
            "the leader does not reach this node within {MEMBER:?}: check that its address and the port for \
             control traffic are open, then leave (skep swarm leave --force) and join again"
        ),
    }
}
