//! Tokens as the cluster keeps them: what lets somebody from outside of the nodes in, and how far. Pure.
//!
//! Of a secret the cluster knows the digest alone. What a token stands for is decided when a call comes, by what
//! was committed: a token that was removed or is over is refused at the next call.

mod pattern;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::ids::TokenId;
use crate::image::Digest;
use crate::time::WallTime;

pub use pattern::{ImagePattern, PatternError};

/// A token lasts so long where its maker does not say.
pub const LASTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Most services that one token names.
pub const MOST_SERVICES: usize = 100;
/// Most patterns of images that one token has.
pub const MOST_IMAGES: usize = 20;
/// Most tokens of a cluster.
pub const MOST_TOKENS: usize = 1_000;

/// A token, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// A part of its text.
    pub id: TokenId,
    /// Log index of the last change.
    pub version: u64,
    /// When it was made.
    pub created: WallTime,
    /// Who made it, as `user@host`.
    pub by: String,
    /// It is refused from then on; `None` is never.
    pub expires: Option<WallTime>,
    /// What it is for.
    pub spec: TokenSpec,
}

/// A token as managers keep it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredToken {
    /// It.
    pub token: Token,
    /// SHA-256 of its secret.
    pub digest: Digest,
}

/// What a token is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenSpec {
    /// Unique in the cluster; whatever is done with it is told by this name.
    pub name: String,
    /// What its bearer may do.
    pub role: TokenRole,
}

/// What the bearer of a token may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenRole {
    /// All that a user on a manager may, save what is about one node.
    Admin,
    /// See everything but secrets.
    Read,
    /// Roll out new versions of some services, within bounds.
    Deploy(DeployBounds),
}

/// How far a deploy token goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeployBounds {
    /// Names of the services that it is for.
    pub services: BTreeSet<String>,
    /// Their image may be one that fits any of these; with none it stays what it is.
    pub images: Vec<ImagePattern>,
    /// Their number of replicas may be in this range; without one it stays what it is.
    pub replicas: Option<ReplicaRange>,
}

/// A number of replicas from `least` to `most`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaRange {
    /// At least so many.
    pub least: u32,
    /// At most so many.
    pub most: u32,
}

impl ReplicaRange {
    /// Whether `replicas` is in it.
    pub fn has(self, replicas: u32) -> bool {
        (self.least..=self.most).contains(&replicas)
    }
}

impl fmt::Display for ReplicaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.least, self.most)
    }
}

impl TokenRole {
    /// As users write it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Read => "read",
            Self::Deploy(_) => "deploy",
        }
    }
}

impl Token {
    /// Whether it is over at `now`.
    pub fn expired(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// What the cluster keeps of a secret.
pub fn secret_digest(secret: &[u8]) -> Digest {
    Digest(Sha256::digest(secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends() {
        let range = ReplicaRange { least: 2, most: 4 };
        let within: Vec<u32> = (0..=6).filter(|number| range.has(*number)).collect();
        assert_eq!(within, [2, 3, 4]);
        assert_eq!(range.to_string(), "2..4");
    }

    #[test]
    fn a_token_is_over_from_its_last_moment_on() {
        let at = WallTime::from_unix_millis;
        let token = |expires| Token {
            id: TokenId::new(1),
            version: 1,
            created: at(0),
            by: String::new(),
            expires,
            spec: TokenSpec {
                name: "ci".into(),
                role: TokenRole::Read,
            },
        };
        assert!(!token(Some(at(5))).expired(at(4)));
        assert!(token(Some(at(5))).expired(at(5)));
        assert!(!token(None).expired(at(u64::MAX)));
    }
}
