//! Distinct id types: one cannot be passed for another.
//!
//! An id is 128 random bits, written as 25 digits of base 36, as Docker's users know it. Ids are made by
//! whoever proposes (from the system's randomness, or from a seed in simulation), never here.

use std::fmt;
use std::str::FromStr;

/// Digits of a written id.
const WIDTH: usize = 25;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an id: expected {WIDTH} characters of 0-9 and a-z")]
pub struct IdError {
    text: String,
}

fn write_id(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = value;
    let mut text = [b'0'; WIDTH];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(rest % 36).unwrap_or(0);
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        rest /= 36;
    }
    f.write_str(std::str::from_utf8(&text).unwrap_or(""))
}

fn read_id(text: &str) -> Option<u128> {
    if text.len() != WIDTH {
        return None;
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return None,
        };
        value.checked_mul(36)?.checked_add(u128::from(digit))
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The id with these bits.
            pub const fn new(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits, for the wire (big-endian there).
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                read_id(text).map(Self).ok_or_else(|| IdError { text: text.to_owned() })
            }
        }
    };
}

id!(
    /// A cluster: all that one `swarm init` and its joins made.
    ClusterId
);
id!(
    /// A machine in a cluster; random and never used again.
    NodeId
);
id!(
    /// A service.
    ServiceId
);
id!(
    /// A task: one run of a spec on one node. Its container bears the same id.
    TaskId
);
id!(
    /// A network.
    NetworkId
);
id!(
    /// A secret.
    SecretId
);
id!(
    /// A config.
    ConfigId
);
id!(
    /// What lets somebody from outside of the nodes in.
    TokenId
);
id!(
    /// A drill.
    DrillId
);
id!(
    /// One command of a user: repeating it gets the first answer.
    RequestId
);

/// A manager's number in the Raft group: random, never used again, not even after removal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RaftId(pub u64);

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_id_reads_back() {
        for bits in [0, 1, 35, 36, u128::from(u64::MAX), u128::MAX] {
            let id = TaskId::new(bits);
            assert_eq!(id.to_string().len(), WIDTH);
            assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "abc",
            "ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "zzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }
}
