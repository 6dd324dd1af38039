//! The records of the log and what they add up to. Pure: the writer and recovery both go through
//! `Tip` and `Replay`, so that what is read back is what was meant.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use prost::Message;

use crate::raft::codec::{CodecError, EntryBytes, LogIdBytes, VoteBytes, entry_of};
use crate::raft::types::{LogEntry, LogId, Vote};

const VERSION: u8 = 1;
const KIND_CHECKPOINT: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_ENTRY: u8 = 3;
const KIND_TRUNCATE: u8 = 4;
const KIND_PURGE: u8 = 5;
const KIND_COMMITTED: u8 = 6;

/// Bytes of a record before its body: kind, version, length.
pub(crate) const RECORD_HEAD: usize = 6;
/// More than any body but an entry's takes, and more than what surrounds an entry's payload.
pub(crate) const RECORD_MARGIN: usize = 128;

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// Where the log stood when its run began; always the first of a run.
    Checkpoint(Tip),
    Vote(Vote),
    Entry(LogEntry),
    /// Entries behind this one are dropped, all of them for `None`.
    Truncate(Option<LogId>),
    /// Entries up to this one are in a snapshot.
    Purge(LogId),
    Committed(Option<LogId>),
}

/// All of the log save its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    /// The last entry, or what was purged last when there is none.
    pub last: Option<LogId>,
}

/// Why records do not make a log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("record cut short")]
    Short,
    #[error(
        "record of unknown kind {0} version {1}: written by a newer skep, upgrade this manager"
    )]
    Unknown(u8, u8),
    #[error(transparent)]
    Body(#[from] CodecError),
    #[error("entry {found} follows {last:?}: entries between them are missing")]
    Hole { last: Option<u64>, found: u64 },
    #[error("entries up to {upto} are missing, although only those up to {purged:?} were purged")]
    Missing { upto: u64, purged: Option<u64> },
    #[error("a run begins at {said:?} but the one before it ended at {found:?}")]
    Checkpoint { said: Box<Tip>, found: Box<Tip> },
}

#[derive(Clone, PartialEq, prost::Message)]
struct TipBytes {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteBytes>,
    #[prost(message, optional, tag = "2")]
    committed: Option<LogIdBytes>,
    #[prost(message, optional, tag = "3")]
    purged: Option<LogIdBytes>,
    #[prost(message, optional, tag = "4")]
    last: Option<LogIdBytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MaybeLogId {
    #[prost(message, optional, tag = "1")]
    id: Option<LogIdBytes>,
}

impl Tip {
    /// Follows one record.
    pub(crate) fn follow(&mut self, record: &Record) {
        match record {
            Record::Checkpoint(tip) => *self = *tip,
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Entry(entry) => self.last = Some(entry.log_id),
            Record::Truncate(after) => {
                let keep = (*after).max(self.purged);
                if keep.map(|id| id.index) < self.last.map(|id| id.index) {
                    self.last = keep;
                }
            }
            Record::Purge(upto) => {
                self.purged = self.purged.max(Some(*upto));
                self.last = self.last.max(self.purged);
            }
            Record::Committed(id) => self.committed = *id,
        }
    }

    fn to_bytes(self) -> TipBytes {
        TipBytes {
            vote: self.vote.as_ref().map(VoteBytes::from),
            committed: self.committed.map(LogIdBytes::from),
            purged: self.purged.map(LogIdBytes::from),
            last: self.last.map(LogIdBytes::from),
        }
    }

    fn from_bytes(bytes: TipBytes) -> Self {
        Self {
            vote: bytes.vote.map(Vote::from),
            committed: bytes.committed.map(LogId::from),
            purged: bytes.purged.map(LogId::from),
            last: bytes.last.map(LogId::from),
        }
    }
}

impl Record {
    /// The most bytes it can take when encoded.
    pub(crate) fn size_bound(&self) -> usize {
        let body = match self {
            Self::Entry(entry) => match &entry.payload {
                openraft::EntryPayload::Blank => 0,
                openraft::EntryPayload::Normal(command) => command.0.len(),
                openraft::EntryPayload::Membership(_) => EntryBytes::from(entry).encoded_len(),
            },
            _ => 0,
        };
        RECORD_HEAD + RECORD_MARGIN + body
    }

    /// Appends it to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let maybe = |id: Option<LogId>| MaybeLogId {
            id: id.map(LogIdBytes::from),
        };
        match self {
            Self::Checkpoint(tip) => put(out, KIND_CHECKPOINT, &tip.to_bytes()),
            Self::Vote(vote) => put(out, KIND_VOTE, &VoteBytes::from(vote)),
            Self::Entry(entry) => put(out, KIND_ENTRY, &EntryBytes::from(entry)),
            Self::Truncate(after) => put(out, KIND_TRUNCATE, &maybe(*after)),
            Self::Purge(upto) => put(out, KIND_PURGE, &LogIdBytes::from(*upto)),
            Self::Committed(id) => put(out, KIND_COMMITTED, &maybe(*id)),
        }
    }

    /// Takes the next record off `bytes`.
    pub(crate) fn decode(bytes: &mut Bytes) -> Result<Self, RecordError> {
        if bytes.remaining() < RECORD_HEAD {
            return Err(RecordError::Short);
        }
        let (kind, version) = (bytes.get_u8(), bytes.get_u8());
        let len = usize::try_from(bytes.get_u32_le()).map_err(|_| RecordError::Short)?;
        if bytes.remaining() < len {
            return Err(RecordError::Short);
        }
        if version != VERSION {
            return Err(RecordError::Unknown(kind, version));
        }
        let body = bytes.split_to(len);
        let log_id = |body| {
            LogIdBytes::decode(body)
                .map(LogId::from)
                .map_err(CodecError::from)
        };
        let maybe = |body| {
            MaybeLogId::decode(body)
                .map(|m| m.id.map(LogId::from))
                .map_err(CodecError::from)
        };
        Ok(match kind {
            KIND_CHECKPOINT => {
                let tip = TipBytes::decode(body).map_err(CodecError::from)?;
                Self::Checkpoint(Tip::from_bytes(tip))
            }
            KIND_VOTE => Self::Vote(VoteBytes::decode(body).map_err(CodecError::from)?.into()),
            KIND_ENTRY => {
                let entry = EntryBytes::decode(body).map_err(CodecError::from)?;
                Self::Entry(entry_of(entry)?)
            }
            KIND_TRUNCATE => Self::Truncate(maybe(body)?),
            KIND_PURGE => Self::Purge(log_id(body)?),
            KIND_COMMITTED => Self::Committed(maybe(body)?),
            other => return Err(RecordError::Unknown(other, version)),
        })
    }
}

fn put(out: &mut Vec<u8>, kind: u8, body: &impl Message) {
    let len = u32::try_from(body.encoded_len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[kind, VERSION]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&body.encode_to_vec());
}

/// What the records read so far add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay {
    pub tip: Tip,
    pub entries: VecDeque<LogEntry>,
    /// Entries up to this index lie in segments that are no longer there.
    absent: Option<u64>,
    begun: bool,
}

impl Replay {
    /// Follows one record.
    pub(crate) fn follow(&mut self, record: Record) -> Result<(), RecordError> {
        if let Record::Checkpoint(said) = &record {
            if !self.begun {
                self.absent = said.last.map(|id| id.index);
                self.begun = true;
            } else if *said != self.tip {
                let (said, found) = (Box::new(*said), Box::new(self.tip));
                return Err(RecordError::Checkpoint { said, found });
            }
        }
        if let Record::Entry(entry) = &record {
            let last = self.tip.last.map(|id| id.index);
            if last.map_or(0, |l| l.saturating_add(1)) != entry.log_id.index {
                return Err(RecordError::Hole {
                    last,
                    found: entry.log_id.index,
                });
            }
        }
        self.tip.follow(&record);
        match record {
            Record::Entry(entry) => self.entries.push_back(entry),
            Record::Truncate(after) => {
                let keep = after.map(|id| id.index);
                while self
                    .entries
                    .back()
                    .is_some_and(|e| Some(e.log_id.index) > keep)
                {
                    self.entries.pop_back();
                }
                self.absent = self.absent.min(keep);
            }
            Record::Purge(upto) => {
                while self
                    .entries
                    .front()
                    .is_some_and(|e| e.log_id.index <= upto.index)
                {
                    self.entries.pop_front();
                }
            }
            Record::Checkpoint(_) | Record::Vote(_) | Record::Committed(_) => {}
        }
        Ok(())
    }

    /// Checks that nothing but what was purged is absent.
    pub(crate) fn check_whole(&self) -> Result<(), RecordError> {
        let purged = self.tip.purged.map(|id| id.index);
        match self.absent {
            Some(upto) if self.absent > purged => Err(RecordError::Missing { upto, purged }),
            _ => Ok(()),
        }
    }
}
