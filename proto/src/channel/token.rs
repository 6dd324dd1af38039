//! Join tokens: `SKEP-1-<digest of the root>-<secret>`, both in base 36. Pure.
//!
//! The digest lets a node that joins prove the server; the secret lets the server decide whether, and in
//! which role, the node may join. A token does not name its role.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

const MARK: &str = "SKEP";
const VERSION: &str = "1";
/// Digits of 256 bits in base 36.
pub(super) const DIGEST_DIGITS: usize = 50;
/// Digits of 128 bits in base 36.
const SECRET_DIGITS: usize = 25;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// What a node must know to join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the root certificate's DER.
    pub root_digest: [u8; 32],
    /// The cluster's secret for a role.
    pub secret: [u8; 16],
}

/// Why a text is not a join token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// Made by Docker's swarm mode.
    #[error(
        "this is a join token of Docker Swarm, not of skep; get one with \"skep swarm join-token worker\" on a manager"
    )]
    OfDocker,
    /// For users from outside.
    #[error(
        "this is an access token, which lets users in from outside; to join, get a join token with \"skep swarm \
         join-token worker\" on a manager"
    )]
    Access,
    /// Something else altogether.
    #[error(
        "this is not a join token: it should begin with \"{MARK}-{VERSION}-\"; get one with \"skep swarm join-token worker\" on a manager"
    )]
    Foreign,
    /// Of another release.
    #[error(
        "the join token has version \"{0}\", but this release of skep knows version {VERSION}; upgrade skep on this machine"
    )]
    Version(String),
    /// Characters are missing or left over.
    #[error(
        "the join token's {part} has {found} characters instead of {expected}; copy the whole token"
    )]
    Length {
        /// Which part.
        part: &'static str,
        /// Characters it has.
        found: usize,
        /// Characters it should have.
        expected: usize,
    },
    /// It holds what it cannot.
    #[error(
        "the join token's {part} is damaged: only 0-9 and a-z can be in it, and not every value; copy the token again"
    )]
    Damaged {
        /// Which part.
        part: &'static str,
    },
}

/// SHA-256 of a root certificate's DER, as a token holds it.
pub fn root_digest(root: &[u8]) -> [u8; 32] {
    Sha256::digest(root).into()
}

impl JoinToken {
    /// The token of the cluster with this root, for the role of this secret.
    pub fn new(root: &[u8], secret: [u8; 16]) -> Self {
        Self {
            root_digest: root_digest(root),
            secret,
        }
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = write_base36(&self.root_digest, DIGEST_DIGITS);
        let secret = write_base36(&self.secret, SECRET_DIGITS);
        write!(f, "{MARK}-{VERSION}-{digest}-{secret}")
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken { (not shown) }")
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().split('-');
        match parts.next() {
            Some(MARK) => {}
            Some("SWMTKN") => return Err(TokenError::OfDocker),
            Some("SKEPT") => return Err(TokenError::Access),
            _ => return Err(TokenError::Foreign),
        }
        match parts.next() {
            Some(VERSION) => {}
            Some(version) if !version.is_empty() => {
                return Err(TokenError::Version(version.to_owned()));
            }
            _ => return Err(TokenError::Foreign),
        }
        let root_digest = read_part("root digest", parts.next(), DIGEST_DIGITS)?;
        let secret = read_part("secret", parts.next(), SECRET_DIGITS)?;
        match parts.next() {
            None => Ok(Self {
                root_digest,
                secret,
            }),
            Some(_) => Err(TokenError::Damaged { part: "end" }),
        }
    }
}

fn read_part<const N: usize>(
    part: &'static str,
    text: Option<&str>,
    expected: usize,
) -> Result<[u8; N], TokenError> {
    let text = text.unwrap_or_default();
    let found = text.chars().count();
    if found != expected {
        return Err(TokenError::Length {
            part,
            found,
            expected,
        });
    }
    read_base36(text).ok_or(TokenError::Damaged { part })
}

/// Long division of a big-endian number, digit by digit from the last.
pub(super) fn write_base36(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; width];
    for place in text.iter_mut().rev() {
        let mut rest = 0u16;
        for byte in &mut number {
            let part = rest * 256 + u16::from(*byte);
            *byte = u8::try_from(part / 36).unwrap_or(u8::MAX);
            rest = part % 36;
        }
        *place = DIGITS.get(usize::from(rest)).copied().unwrap_or(b'0');
    }
    text.into_iter().map(char::from).collect()
}

/// `None` for a character that is no digit and for a number that does not fit.
pub(super) fn read_base36<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut number = [0u8; N];
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        let mut carry = u16::try_from(digit).ok()?;
        for place in number.iter_mut().rev() {
            let part = u16::from(*place) * 36 + carry;
            *place = u8::try_from(part % 256).ok()?;
            carry = part / 256;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}
