//! The types Raft is instantiated with. What a command means is not known here: it is bytes, so that
//! log and network never depend on the state they carry.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

openraft::declare_raft_types!(
    /// skep's choice of Raft types: one leader per term, random 64-bit node ids.
    pub Types:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type LogEntry = openraft::alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;

/// An encoded entry of the replicated state, opaque to Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command(pub Bytes);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying a command gave to the one who proposed it. Never leaves this process.
#[derive(Default)]
pub struct Answer(pub(crate) Option<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Answer(outcome)"
        } else {
            "Answer(none)"
        })
    }
}

/// A manager as the membership knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where its Raft service is reached, `host:port`.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
