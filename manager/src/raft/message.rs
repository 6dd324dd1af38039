//! What managers say to each other about consensus, as bytes. The door to the wire carries them unread; who
//! receives a version or a kind it does not know refuses the message.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use prost::Message;

use super::codec::{CodecError, EntryBytes, LogIdBytes, VoteBytes, entry_of};
use super::snapshot::MetaBytes;
use super::types::{LogId, Types, Vote};

/// Version of every body in this file.
pub(crate) const VERSION: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Append {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteBytes>,
    #[prost(message, optional, tag = "2")]
    before: Option<LogIdBytes>,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<EntryBytes>,
    #[prost(message, optional, tag = "4")]
    committed: Option<LogIdBytes>,
}

/// An answer: what it says, and what it says it with.
#[derive(Clone, PartialEq, prost::Message)]
struct Said {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    vote: Option<VoteBytes>,
    #[prost(message, optional, tag = "3")]
    id: Option<LogIdBytes>,
    #[prost(message, optional, tag = "4")]
    other_vote: Option<VoteBytes>,
    #[prost(message, optional, tag = "5")]
    other_id: Option<LogIdBytes>,
}

const SUCCESS: u32 = 1;
const PARTIAL: u32 = 2;
const CONFLICT: u32 = 3;
const HIGHER_VOTE: u32 = 4;
const GRANTED: u32 = 5;
const DENIED: u32 = 6;
const VOTE_CHANGED: u32 = 7;
const NOT_FLUSHED: u32 = 8;
const NOT_LEADER: u32 = 9;

#[derive(Clone, PartialEq, prost::Message)]
struct VoteAsk {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteBytes>,
    #[prost(message, optional, tag = "2")]
    last: Option<LogIdBytes>,
    #[prost(bool, tag = "3")]
    transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TransferAsk {
    #[prost(message, optional, tag = "1")]
    from: Option<VoteBytes>,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(message, optional, tag = "3")]
    last: Option<LogIdBytes>,
}

/// What comes before a snapshot's chunks.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotHead {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteBytes>,
    #[prost(message, optional, tag = "2")]
    pub meta: Option<MetaBytes>,
}

fn ids(id: Option<LogId>) -> Option<LogIdBytes> {
    id.map(LogIdBytes::from)
}

fn vote_of(vote: Option<VoteBytes>) -> Result<Vote, CodecError> {
    vote.map(Vote::from).ok_or(CodecError::Missing("vote"))
}

/// A message that can be said to another manager.
pub(crate) trait Wire: Sized {
    fn encode(&self) -> Bytes;
    fn decode(bytes: Bytes) -> Result<Self, CodecError>;
}

fn bytes(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

impl Wire for AppendEntriesRequest<Types> {
    fn encode(&self) -> Bytes {
        bytes(&Append {
            vote: Some(VoteBytes::from(&self.vote)),
            before: ids(self.prev_log_id),
            entries: self.entries.iter().map(EntryBytes::from).collect(),
            committed: ids(self.leader_commit),
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let append = Append::decode(bytes)?;
        Ok(Self {
            vote: vote_of(append.vote)?,
            prev_log_id: append.before.map(LogId::from),
            entries: append
                .entries
                .into_iter()
                .map(entry_of)
                .collect::<Result<_, _>>()?,
            leader_commit: append.committed.map(LogId::from),
        })
    }
}

impl Wire for AppendEntriesResponse<Types> {
    fn encode(&self) -> Bytes {
        let said = match self {
            Self::Success => Said {
                kind: SUCCESS,
                ..Said::default()
            },
            Self::PartialSuccess(id) => Said {
                kind: PARTIAL,
                id: ids(*id),
                ..Said::default()
            },
            Self::Conflict => Said {
                kind: CONFLICT,
                ..Said::default()
            },
            Self::HigherVote(vote) => Said {
                kind: HIGHER_VOTE,
                vote: Some(vote.into()),
                ..Said::default()
            },
        };
        bytes(&said)
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let said = Said::decode(bytes)?;
        match said.kind {
            SUCCESS => Ok(Self::Success),
            PARTIAL => Ok(Self::PartialSuccess(said.id.map(LogId::from))),
            CONFLICT => Ok(Self::Conflict),
            HIGHER_VOTE => Ok(Self::HigherVote(vote_of(said.vote)?)),
            other => Err(CodecError::UnknownKind(other)),
        }
    }
}

impl Wire for VoteRequest<Types> {
    fn encode(&self) -> Bytes {
        bytes(&VoteAsk {
            vote: Some(VoteBytes::from(&self.vote)),
            last: ids(self.last_log_id),
            transfer: self.leadership_transfer,
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let ask = VoteAsk::decode(bytes)?;
        let mut request = Self::new(vote_of(ask.vote)?, ask.last.map(LogId::from));
        request.leadership_transfer = ask.transfer;
        Ok(request)
    }
}

impl Wire for VoteResponse<Types> {
    fn encode(&self) -> Bytes {
        bytes(&Said {
            kind: if self.vote_granted { GRANTED } else { DENIED },
            vote: Some(VoteBytes::from(&self.vote)),
            id: ids(self.last_log_id),
            ..Said::default()
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let said = Said::decode(bytes)?;
        let granted = match said.kind {
            GRANTED => true,
            DENIED => false,
            other => return Err(CodecError::UnknownKind(other)),
        };
        Ok(Self::new(
            vote_of(said.vote)?,
            said.id.map(LogId::from),
            granted,
        ))
    }
}

impl Wire for TransferLeaderRequest<Types> {
    fn encode(&self) -> Bytes {
        bytes(&TransferAsk {
            from: Some(VoteBytes::from(self.from_leader())),
            to: *self.to_node_id(),
            last: ids(self.last_log_id().copied()),
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let ask = TransferAsk::decode(bytes)?;
        Ok(Self::new(
            vote_of(ask.from)?,
            ask.to,
            ask.last.map(LogId::from),
        ))
    }
}

impl Wire for Result<(), TransferLeaderError<Types>> {
    fn encode(&self) -> Bytes {
        let said = match self {
            Ok(()) => Said {
                kind: SUCCESS,
                ..Said::default()
            },
            Err(TransferLeaderError::VoteChanged { expected, actual }) => Said {
                kind: VOTE_CHANGED,
                vote: Some(expected.into()),
                other_vote: Some(actual.into()),
                ..Said::default()
            },
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Said {
                kind: NOT_FLUSHED,
                id: ids(*expected),
                other_id: ids(*actual),
                ..Said::default()
            },
        };
        bytes(&said)
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let said = Said::decode(bytes)?;
        match said.kind {
            SUCCESS => Ok(Ok(())),
            VOTE_CHANGED => Ok(Err(TransferLeaderError::VoteChanged {
                expected: vote_of(said.vote)?,
                actual: vote_of(said.other_vote)?,
            })),
            NOT_FLUSHED => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: said.id.map(LogId::from),
                actual: said.other_id.map(LogId::from),
            })),
            other => Err(CodecError::UnknownKind(other)),
        }
    }
}

/// Up to where a linearizable read must have applied; `None` from one who does not lead.
pub(crate) struct ReadAt(pub Option<u64>);

impl Wire for ReadAt {
    fn encode(&self) -> Bytes {
        let id = self.0.map(|index| LogIdBytes { term: 0, index });
        bytes(&Said {
            kind: if id.is_some() { SUCCESS } else { NOT_LEADER },
            id,
            ..Said::default()
        })
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let said = Said::decode(bytes)?;
        match said.kind {
            SUCCESS => Ok(Self(said.id.map(|id| id.index))),
            NOT_LEADER => Ok(Self(None)),
            other => Err(CodecError::UnknownKind(other)),
        }
    }
}

impl Wire for Vote {
    fn encode(&self) -> Bytes {
        bytes(&VoteBytes::from(self))
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        Ok(VoteBytes::decode(bytes)?.into())
    }
}
