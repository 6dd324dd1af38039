//! Raft's own records as bytes, for the log, for snapshots and for the wire alike. Only ids, votes,
//! memberships and entries: what a command holds is encoded by the one who proposes it. A kind that is
//! not known here is an error, never skipped.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use prost::Message;

use super::types::{Command, LogEntry, LogId, Membership, Peer, StoredMembership, Vote};

/// Why bytes could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("malformed message: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("entry of unknown kind {0}: written by a newer skep, upgrade this manager")]
    UnknownKind(u32),
    #[error("membership is not valid: {0}")]
    Membership(String),
}

const KIND_BLANK: u32 = 1;
const KIND_COMMAND: u32 = 2;
const KIND_MEMBERSHIP: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LogIdBytes {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct VoteBytes {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VotersBytes {
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PeerBytes {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub address: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MembershipBytes {
    #[prost(message, repeated, tag = "1")]
    pub configs: Vec<VotersBytes>,
    #[prost(message, repeated, tag = "2")]
    pub peers: Vec<PeerBytes>,
    /// Where the membership stands in the log; absent inside an entry.
    #[prost(message, optional, tag = "3")]
    pub at: Option<LogIdBytes>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct EntryBytes {
    #[prost(message, optional, tag = "1")]
    pub id: Option<LogIdBytes>,
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}

impl From<LogId> for LogIdBytes {
    fn from(id: LogId) -> Self {
        Self {
            term: id.leader_id.term,
            index: id.index,
        }
    }
}

impl From<LogIdBytes> for LogId {
    fn from(id: LogIdBytes) -> Self {
        Self::new_term_index(id.term, id.index)
    }
}

impl From<&Vote> for VoteBytes {
    fn from(vote: &Vote) -> Self {
        let leader = vote.leader_id();
        Self {
            term: leader.term(),
            node: *leader.node_id(),
            committed: vote.is_committed(),
        }
    }
}

impl From<VoteBytes> for Vote {
    fn from(vote: VoteBytes) -> Self {
        if vote.committed {
            Self::new_committed(vote.term, vote.node)
        } else {
            Self::new(vote.term, vote.node)
        }
    }
}

impl From<&Membership> for MembershipBytes {
    fn from(membership: &Membership) -> Self {
        let voters = |ids: &BTreeSet<u64>| VotersBytes {
            ids: ids.iter().copied().collect(),
        };
        Self {
            configs: membership.get_joint_config().iter().map(voters).collect(),
            peers: membership
                .nodes()
                .map(|(id, peer)| PeerBytes {
                    id: *id,
                    address: peer.address.clone(),
                })
                .collect(),
            at: None,
        }
    }
}

impl TryFrom<MembershipBytes> for Membership {
    type Error = CodecError;

    fn try_from(bytes: MembershipBytes) -> Result<Self, CodecError> {
        if bytes.configs.is_empty() && bytes.peers.is_empty() {
            return Ok(Self::default());
        }
        let configs = bytes
            .configs
            .into_iter()
            .map(|c| c.ids.into_iter().collect())
            .collect();
        let peers: BTreeMap<u64, Peer> = bytes
            .peers
            .into_iter()
            .map(|p| (p.id, Peer { address: p.address }))
            .collect();
        Self::new(configs, peers).map_err(|e| CodecError::Membership(e.to_string()))
    }
}

impl From<&StoredMembership> for MembershipBytes {
    fn from(stored: &StoredMembership) -> Self {
        let at = stored.log_id().map(LogIdBytes::from);
        Self {
            at,
            ..Self::from(stored.membership())
        }
    }
}

impl TryFrom<MembershipBytes> for StoredMembership {
    type Error = CodecError;

    fn try_from(bytes: MembershipBytes) -> Result<Self, CodecError> {
        let at = bytes.at.map(LogId::from);
        Ok(Self::new(at, Membership::try_from(bytes)?))
    }
}

impl From<&LogEntry> for EntryBytes {
    fn from(entry: &LogEntry) -> Self {
        let (kind, body) = match &entry.payload {
            EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
            EntryPayload::Normal(command) => (KIND_COMMAND, command.0.clone()),
            EntryPayload::Membership(membership) => (
                KIND_MEMBERSHIP,
                MembershipBytes::from(membership).encode_to_vec().into(),
            ),
        };
        Self {
            id: Some(entry.log_id.into()),
            kind,
            body,
        }
    }
}

/// The entry in `bytes`.
pub(crate) fn entry_of(bytes: EntryBytes) -> Result<LogEntry, CodecError> {
    let log_id = bytes
        .id
        .ok_or(CodecError::Missing("log id of an entry"))?
        .into();
    let payload = match bytes.kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_COMMAND => EntryPayload::Normal(Command(bytes.body)),
        KIND_MEMBERSHIP => {
            let membership = MembershipBytes::decode(bytes.body)?;
            EntryPayload::Membership(membership.try_into()?)
        }
        other => return Err(CodecError::UnknownKind(other)),
    };
    Ok(LogEntry { log_id, payload })
}
