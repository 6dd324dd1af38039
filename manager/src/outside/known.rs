//! Whether what somebody shows is a token of this cluster. Pure.

use std::sync::Arc;
use std::time::Duration;

use skep_proto::channel::{AccessError, AccessToken, root_digest};
use skep_proto::time::WallTime;
use skep_proto::token::{StoredToken, secret_digest};
use skep_proto::unit;
use subtle::ConstantTimeEq;

use crate::state::State;

/// Why somebody from outside is not let in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unknown {
    /// Neither certificate nor token.
    #[error(
        "this call needs a certificate of the cluster, or a token; make one on a manager with: skep token create"
    )]
    Nothing,
    /// It is no token.
    #[error(transparent)]
    Malformed(#[from] AccessError),
    /// Its root is not ours.
    #[error(
        "the token is one of another cluster; make one on a manager of this cluster with: skep token create"
    )]
    OtherCluster,
    /// It was removed.
    #[error(
        "the token was revoked: this cluster has none with the id {0} any more; make another on a manager with: skep \
         token create"
    )]
    Revoked(String),
    /// The id is known, the secret is not its.
    #[error("the token's secret is not the one that the cluster knows; copy the whole token again")]
    Secret,
    /// It is over.
    #[error(
        "token \"{name}\" has expired: it was valid until {ago} ago; make another on a manager with: skep token create"
    )]
    Expired {
        /// Its name.
        name: String,
        /// Since when.
        ago: String,
    },
}

/// The token that `shown` proves. It takes the same time whatever is wrong with the secret.
///
/// # Errors
/// Why it proves none.
pub fn known(
    state: &State,
    shown: &AccessToken,
    now: WallTime,
) -> Result<Arc<StoredToken>, Unknown> {
    let digest = secret_digest(&shown.secret);
    let Some(stored) = state.token(shown.id) else {
        // Where the root was rotated, tokens of before name the old one and are known all the same.
        let ours = |it: &Arc<skep_proto::cluster::Cluster>| {
            root_digest(&it.authority.certificate) == shown.root_digest
        };
        return Err(if state.cluster().is_some_and(ours) {
            Unknown::Revoked(shown.id.to_string())
        } else {
            Unknown::OtherCluster
        });
    };
    if !bool::from(stored.digest.0.ct_eq(&digest.0)) {
        return Err(Unknown::Secret);
    }
    if stored.token.expired(now) {
        return Err(expired(stored, now));
    }
    Ok(stored.clone())
}

/// What is said of a token that is over.
pub fn expired(stored: &StoredToken, now: WallTime) -> Unknown {
    let until = stored.token.expires.unwrap_or(now).unix_millis();
    let seconds = now.unix_millis().saturating_sub(until) / 1000;
    Unknown::Expired {
        name: stored.token.spec.name.clone(),
        ago: unit::duration_text(Duration::from_secs(seconds)),
    }
}
