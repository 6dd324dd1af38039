//! What the cluster knew when it signed a certificate: whoever has applied less of the log believes it.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ids::RaftId;

/// The extension that bears it, not critical: who does not know it passes over it. Below the arc that is free for
/// numbers drawn at random (ITU-T X.667).
const OID: [u64; 3] = [2, 25, 4_210_797_466_310_915_077];
/// DER's tag of a text.
const UTF8: u8 = 0x0c;
/// Of the text, so that its length is one byte.
const LONGEST: usize = 127;

/// Up to where in its log the cluster had come when it signed a certificate, and the number that its bearer had then
/// in the Raft group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// The cluster's incarnation.
    pub incarnation: u64,
    /// Index in its log.
    pub index: u64,
    /// The bearer's number, if it had one.
    pub raft: Option<RaftId>,
}

impl Stamp {
    /// The stamp of `certificate` (DER), whose chain must have been verified before. `None` where it bears none that
    /// is understood: it was signed by another release.
    pub fn of_certificate(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let oid = x509_parser::der_parser::oid::Oid::from(&OID).ok()?;
        let extension = parsed.get_extension_unique(&oid).ok()??;
        Self::read(extension.value)
    }

    /// Identifier and content of the extension that bears it.
    pub fn extension(&self) -> ([u64; 3], Vec<u8>) {
        let mut text = format!("{} {}", self.incarnation, self.index);
        if let Some(raft) = self.raft {
            text.push_str(&format!(" {raft}"));
        }
        let length = u8::try_from(text.len().min(LONGEST)).unwrap_or_default();
        let mut content = vec![UTF8, length];
        content.extend(text.into_bytes());
        (OID, content)
    }

    fn read(content: &[u8]) -> Option<Self> {
        let (head, text) = content.split_at_checked(2)?;
        if head != [UTF8, u8::try_from(text.len()).ok()?] {
            return None;
        }
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let (incarnation, index) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let raft = words.next().map(|word| u64::from_str_radix(word, 16));
        Some(Self {
            incarnation,
            index,
            raft: raft.transpose().ok()?.map(RaftId),
        })
    }

    /// Whether it is of a later moment than the one at which a log was applied up to `index`.
    pub fn is_later_than(&self, incarnation: u64, index: u64) -> bool {
        (self.incarnation, self.index) > (incarnation, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for raft in [None, Some(RaftId(0)), Some(RaftId(u64::MAX))] {
            for number in [0, 7, u64::MAX] {
                let stamp = Stamp {
                    incarnation: number,
                    index: number,
                    raft,
                };
                assert_eq!(Stamp::read(&stamp.extension().1), Some(stamp));
            }
        }
        let unknown: [&[u8]; 6] = [
            b"",
            b"\x0c",
            b"\x0c\x031 2x",
            b"\x0d\x031 2",
            b"\x0c\x031 x",
            b"\x0c\x051 2 x",
        ];
        for content in unknown {
            assert_eq!(Stamp::read(content), None, "{content:?}");
        }
    }

    #[test]
    fn an_incarnation_counts_before_an_index() {
        let stamp = Stamp {
            incarnation: 2,
            index: 10,
            raft: None,
        };
        assert!(stamp.is_later_than(2, 9) && stamp.is_later_than(1, 11));
        assert!(!stamp.is_later_than(2, 10) && !stamp.is_later_than(3, 1));
    }
}
