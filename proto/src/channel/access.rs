//! Access tokens: `SKEPT-1-<digest of the root>-<id>-<secret>`, all in base 36. Pure.
//!
//! The digest lets a user from outside prove the server, the id lets the server find the token, the secret proves
//! the user. What it is for is not in it: that is what the cluster keeps of it.

use std::fmt;
use std::str::FromStr;

use super::token::{DIGEST_DIGITS, read_base36, write_base36};
use crate::ids::TokenId;

const MARK: &str = "SKEPT";
const VERSION: &str = "1";
/// Digits of 256 bits in base 36.
const SECRET_DIGITS: usize = 50;

/// What a user must know to come in from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessToken {
    /// SHA-256 of the root certificate's DER.
    pub root_digest: [u8; 32],
    /// The cluster knows it by this.
    pub id: TokenId,
    /// Nobody else knows it.
    pub secret: [u8; 32],
}

/// Why a text is not an access token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessError {
    /// One by which nodes join.
    #[error(
        "this is a join token, by which nodes join; make one for users with \"skep token create\" on a manager"
    )]
    Join,
    /// Something else altogether.
    #[error(
        "this is not an access token: it should begin with \"{MARK}-{VERSION}-\"; make one with \"skep token create\" \
         on a manager"
    )]
    Foreign,
    /// Of another release.
    #[error(
        "the token has version \"{0}\", but this release of skep knows version {VERSION}; upgrade skep on this machine"
    )]
    Version(String),
    /// Characters are missing, left over, or none that can be in it.
    #[error(
        "the token's {part} is damaged: it has {expected} characters of 0-9 and a-z; copy the whole token again"
    )]
    Damaged {
        /// Which part.
        part: &'static str,
        /// Characters it should have.
        expected: usize,
    },
}

impl fmt::Display for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = write_base36(&self.root_digest, DIGEST_DIGITS);
        let secret = write_base36(&self.secret, SECRET_DIGITS);
        write!(f, "{MARK}-{VERSION}-{digest}-{}-{secret}", self.id)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken { (not shown) }")
    }
}

impl FromStr for AccessToken {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let mut parts = text.trim().split('-');
        match parts.next() {
            Some(MARK) => {}
            Some("SKEP" | "SWMTKN") => return Err(AccessError::Join),
            _ => return Err(AccessError::Foreign),
        }
        match parts.next() {
            Some(VERSION) => {}
            Some(version) if !version.is_empty() => {
                return Err(AccessError::Version(version.to_owned()));
            }
            _ => return Err(AccessError::Foreign),
        }
        let root_digest = part("root digest", parts.next(), DIGEST_DIGITS)?;
        let id = parts.next().unwrap_or_default();
        let id = id.parse().map_err(|_| AccessError::Damaged {
            part: "id",
            expected: 25,
        })?;
        let secret = part("secret", parts.next(), SECRET_DIGITS)?;
        if parts.next().is_some() {
            return Err(AccessError::Damaged {
                part: "secret",
                expected: SECRET_DIGITS,
            });
        }
        Ok(Self {
            root_digest,
            id,
            secret,
        })
    }
}

fn part<const N: usize>(
    part: &'static str,
    text: Option<&str>,
    expected: usize,
) -> Result<[u8; N], AccessError> {
    let text = text.filter(|text| text.len() == expected);
    text.and_then(read_base36)
        .ok_or(AccessError::Damaged { part, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::JoinToken;

    fn token() -> AccessToken {
        AccessToken {
            root_digest: [0xff; 32],
            id: TokenId::new(u128::MAX),
            secret: [0xfe; 32],
        }
    }

    #[test]
    fn a_token_reads_back_and_is_not_printed() {
        let text = token().to_string();
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
        assert!(!format!("{:?}", token()).contains("SKEPT"));
    }

    #[test]
    fn what_is_no_token_says_what_it_is() {
        let text = token().to_string();
        let join = JoinToken {
            root_digest: [1; 32],
            secret: [2; 16],
        };
        for (wrong, part) in [
            (join.to_string(), "join token"),
            (String::new(), "not an access token"),
            ("SKEPT".into(), "not an access token"),
            (text.replacen("-1-", "-2-", 1), "version \"2\""),
            (text[..text.len() - 1].to_owned(), "secret is damaged"),
            (format!("{text}-x"), "secret is damaged"),
            (text.to_uppercase(), "damaged"),
        ] {
            let error = wrong.parse::<AccessToken>().expect_err(&wrong).to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = text
            .parse::<JoinToken>()
            .expect_err("no join token")
            .to_string();
        assert!(error.contains("access token"), "{error}");
    }
}
