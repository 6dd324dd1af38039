//! The state Raft replicates, in memory, and how it is published, snapshotted and put back.
//!
//! Reading costs a clone in O(1) and never waits. A snapshot is written from such a clone, off Raft's
//! threads. An entry that cannot be understood stops this manager; it is never skipped.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::snapshot::{SnapshotFile, SnapshotStore};
use super::types::{Answer, LogId, SnapshotMeta, StoredMembership, Types};

/// Answers go out after at most so many entries.
const PUBLISH: usize = 256;

/// Why an entry cannot be applied.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CodecFailure(pub String);

/// What Raft replicates. `apply` must be a pure function of state, index and entry, on every manager alike.
pub trait Replicated: Clone + Default + Send + Sync + 'static {
    /// What is proposed.
    type Entry: Send + Sync + 'static;
    /// What applying it tells its proposer.
    type Outcome: Send + Sync + 'static;

    /// Applies the entry at `index` of the log. Never panics.
    fn apply(&mut self, index: u64, entry: &Self::Entry) -> Self::Outcome;
    /// The entry as versioned bytes.
    fn encode_entry(entry: &Self::Entry) -> Result<Bytes, CodecFailure>;
    /// The entry in `bytes`; fails on anything not known here.
    fn decode_entry(bytes: Bytes) -> Result<Self::Entry, CodecFailure>;
    /// Writes all of the state.
    fn encode_snapshot(&self, out: &mut dyn Write) -> io::Result<()>;
    /// Reads what `encode_snapshot` wrote.
    fn decode_snapshot(input: &mut dyn Read) -> io::Result<Self>;
}

/// A state and how far it has come.
#[derive(Clone, Debug, Default)]
pub struct Published<S> {
    /// The state after the entry at `applied`.
    pub state: S,
    /// Index of the last entry in it; 0 before the first.
    pub applied: u64,
}

/// The state machine.
pub(crate) struct Machine<S> {
    state: S,
    applied: Option<LogId>,
    membership: StoredMembership,
    published: watch::Sender<Published<S>>,
    store: Arc<SnapshotStore>,
}

/// Builds a snapshot from a clone.
pub(crate) struct Builder<S> {
    state: S,
    meta: SnapshotMeta,
    store: Arc<SnapshotStore>,
}

impl<S: Replicated> Machine<S> {
    /// The state of the current snapshot, or the empty one.
    pub(crate) fn open(
        store: Arc<SnapshotStore>,
        published: watch::Sender<Published<S>>,
    ) -> io::Result<Self> {
        let (state, meta) = match store.current()? {
            None => (
                S::default(),
                SnapshotMeta {
                    last_log_id: None,
                    last_membership: StoredMembership::default(),
                },
            ),
            Some((_, file)) => {
                let (meta, mut reader) = file.read()?;
                (S::decode_snapshot(&mut reader)?, meta)
            }
        };
        let SnapshotMeta {
            last_log_id: applied,
            last_membership: membership,
        } = meta;
        let machine = Self {
            state,
            applied,
            membership,
            published,
            store,
        };
        machine.publish();
        Ok(machine)
    }

    fn publish(&self) {
        let applied = self.applied.map_or(0, |id| id.index);
        self.published.send_replace(Published {
            state: self.state.clone(),
            applied,
        });
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    fn apply_one(&mut self, id: LogId, payload: EntryPayloadOf) -> io::Result<Answer> {
        let answer = match payload {
            EntryPayload::Blank => Answer::default(),
            EntryPayload::Normal(command) => {
                let entry = S::decode_entry(command.0).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("cannot apply log entry {}: {error}", id.index),
                    )
                })?;
                Answer(Some(Box::new(self.state.apply(id.index, &entry))))
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                Answer::default()
            }
        };
        self.applied = Some(id);
        Ok(answer)
    }
}

type EntryPayloadOf = openraft::alias::PayloadOf<Types>;

impl<S: Replicated> RaftStateMachine<Types> for Machine<S> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder<S>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut waiting = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.apply_one(entry.log_id, entry.payload)?;
            waiting.extend(responder.map(|responder| (responder, answer)));
            if waiting.len() >= PUBLISH {
                // Who was answered finds it in the published state.
                self.publish();
                waiting
                    .drain(..)
                    .for_each(|(responder, answer)| responder.send(answer));
            }
        }
        self.publish();
        waiting
            .into_iter()
            .for_each(|(responder, answer)| responder.send(answer));
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<S> {
        Builder {
            state: self.state.clone(),
            meta: self.meta(),
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        mut snapshot: SnapshotFile,
    ) -> io::Result<()> {
        let (store, wanted) = (self.store.clone(), meta.clone());
        self.state = blocking(move || {
            let (found, mut reader) = snapshot.read()?;
            if found != wanted {
                let why = format!("the snapshot covers {found:?}, not {wanted:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let state = S::decode_snapshot(&mut reader)?;
            if !snapshot.belongs_to(&store) {
                let mut writer = store.begin(&wanted)?;
                state.encode_snapshot(&mut writer)?;
                snapshot = writer.finish()?;
            }
            store.adopt(&wanted, &mut snapshot)?;
            Ok(state)
        })
        .await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        let store = self.store.clone();
        let current = blocking(move || store.current()).await?;
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

type SnapshotOf = openraft::alias::SnapshotOf<Types, SnapshotFile>;

impl<S: Replicated> RaftSnapshotBuilder<Types> for Builder<S> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let (state, meta, store) = (self.state.clone(), self.meta.clone(), self.store.clone());
        blocking(move || {
            let mut writer = store.begin(&meta)?;
            state.encode_snapshot(&mut writer)?;
            let mut snapshot = writer.finish()?;
            store.adopt(&meta, &mut snapshot)?;
            Ok(Snapshot { meta, snapshot })
        })
        .await
    }
}

/// Runs `work` where waiting for a disk disturbs nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
