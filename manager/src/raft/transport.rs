//! How a message gets from one manager to another, and what receives it there. Two ends of one seam: the
//! wire carries bodies unread, and tests carry them in memory.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// What is asked of another manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Entries, or a heartbeat.
    Append,
    /// A vote.
    Vote,
    /// Whether a vote would be given.
    PreVote,
    /// To stand at once, for the leader steps down.
    TransferLeader,
    /// Up to where a linearizable read must have applied.
    ReadIndex,
}

/// Messages on one lane never wait for those on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Entries and votes.
    Log,
    /// Heartbeats.
    Heartbeat,
    /// Snapshots.
    Snapshot,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its Raft id. Who answers under another one must refuse.
    pub id: u64,
    /// Where it is reached, `host:port`.
    pub address: String,
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing listens there, or the way is cut.
    #[error("cannot reach manager: {0}")]
    Unreachable(String),
    /// It was reached and refused, or the connection broke.
    #[error("manager refused: {0}")]
    Refused(String),
    /// No answer in time.
    #[error("no answer from manager within {0:?}")]
    Late(Duration),
}

/// A snapshot on its way: pieces of at most 1 MiB.
pub type Pieces = BoxStream<'static, Result<Bytes, TransportError>>;

/// Carries messages to other managers.
pub trait Transport: Send + Sync + 'static {
    /// Asks and waits for the answer at most `within`.
    fn call(
        &self,
        target: &Target,
        lane: Lane,
        call: Call,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Sends a snapshot and waits for the answer at most `within`.
    fn send_snapshot(
        &self,
        target: &Target,
        head: Bytes,
        pieces: Pieces,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// Receives messages of other managers. `target` is whom they meant.
pub trait Inbound: Send + Sync + 'static {
    /// Answers a message.
    fn answer(
        &self,
        target: u64,
        call: Call,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Receives and installs a snapshot.
    fn install(
        &self,
        target: u64,
        head: Bytes,
        pieces: Pieces,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}
