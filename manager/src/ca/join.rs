//! Decides whether a node may join, and in which role. Pure: secrets and ids are drawn by the caller.

use skep_proto::channel::{JoinToken, Peer};
use skep_proto::cluster::{Cluster, JoinSecrets};
use skep_proto::ids::NodeId;
use skep_proto::node::Role;
use subtle::{Choice, ConstantTimeEq};

/// A node may not join.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinRefused {
    /// Its token is an old one.
    #[error(
        "the join token is not valid any more; get the present one with \"skep swarm join-token worker\" \
         (or \"manager\") on a manager"
    )]
    Secret,
}

/// The role that `secret` stands for. It takes the same time whatever is wrong with it.
pub fn role_of(secrets: &JoinSecrets, secret: &[u8]) -> Option<Role> {
    let manager: Choice = secrets.manager.ct_eq(secret);
    let worker: Choice = secrets.worker.ct_eq(secret);
    if bool::from(manager) {
        Some(Role::Manager)
    } else if bool::from(worker) {
        Some(Role::Worker)
    } else {
        None
    }
}

/// Who a node with this secret is in `cluster`, as `node`, an id that was never used.
///
/// # Errors
/// When the secret is none of the cluster's.
pub fn grant(cluster: &Cluster, secret: &[u8], node: NodeId) -> Result<Peer, JoinRefused> {
    let role = role_of(&cluster.tokens, secret).ok_or(JoinRefused::Secret)?;
    Ok(Peer {
        node,
        role,
        cluster: cluster.id,
    })
}

/// The token by which a node joins `cluster` in `role`.
pub fn token(cluster: &Cluster, role: Role) -> JoinToken {
    let secret = match role {
        Role::Worker => cluster.tokens.worker,
        Role::Manager => cluster.tokens.manager,
    };
    JoinToken::new(&cluster.authority.certificate, secret)
}

/// Secrets from 32 random bytes.
pub fn new_secrets(random: [u8; 32]) -> JoinSecrets {
    let mut secrets = JoinSecrets {
        worker: [0; 16],
        manager: [0; 16],
    };
    let (worker, manager) = random.split_at(16);
    secrets.worker.copy_from_slice(worker);
    secrets.manager.copy_from_slice(manager);
    secrets
}
