//! What other managers' messages do here. They run on Raft's own threads, wherever they came in.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::{Raft, ReadPolicy, Snapshot};
use prost::Message;
use tokio::runtime::Handle;

use super::log::{LogStore, NoRoom};
use super::machine::{Machine, Replicated, blocking};
use super::message::{ReadAt, SnapshotHead, Wire};
use super::snapshot::{SnapshotStore, meta_of};
use super::transport::{Call, Inbound, Pieces, TransportError};
use super::types::{Types, Vote};

/// A snapshot whose next piece does not come for so long is given up.
const PIECE_BOUND: Duration = Duration::from_secs(10);

/// This manager as the others see it.
pub(crate) struct Local<S: Replicated>(Arc<Parts<S>>);

struct Parts<S: Replicated> {
    id: u64,
    raft: Raft<Types, Machine<S>>,
    log: LogStore,
    snapshots: Arc<SnapshotStore>,
    threads: Handle,
}

impl<S: Replicated> Local<S> {
    pub(crate) fn new(
        id: u64,
        raft: Raft<Types, Machine<S>>,
        log: LogStore,
        snapshots: Arc<SnapshotStore>,
        threads: Handle,
    ) -> Self {
        Self(Arc::new(Parts {
            id,
            raft,
            log,
            snapshots,
            threads,
        }))
    }
}

fn refused(error: impl std::fmt::Display) -> TransportError {
    TransportError::Refused(error.to_string())
}

impl<S: Replicated> Parts<S> {
    fn check_target(&self, target: u64) -> Result<(), TransportError> {
        if target == self.id {
            return Ok(());
        }
        Err(refused(format!(
            "this is manager {:x}, not {target:x}",
            self.id
        )))
    }

    async fn answer(&self, call: Call, body: Bytes) -> Result<Bytes, TransportError> {
        match call {
            Call::Append => {
                let request = AppendEntriesRequest::<Types>::decode(body).map_err(refused)?;
                self.check_room(&request)?;
                Ok(self
                    .raft
                    .append_entries(request)
                    .await
                    .map_err(refused)?
                    .encode())
            }
            Call::Vote => {
                let request = VoteRequest::decode(body).map_err(refused)?;
                Ok(self.raft.vote(request).await.map_err(refused)?.encode())
            }
            Call::PreVote => {
                let request = VoteRequest::decode(body).map_err(refused)?;
                Ok(self.raft.pre_vote(request).await.map_err(refused)?.encode())
            }
            Call::TransferLeader => {
                let request = TransferLeaderRequest::decode(body).map_err(refused)?;
                let answer = self.raft.handle_transfer_leader(request).await;
                Ok(answer.map_err(refused)?.encode())
            }
            Call::ReadIndex => {
                let read = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
                Ok(ReadAt(read.ok().map(|at| at.read_log_id().index())).encode())
            }
        }
    }

    /// A full disk is the leader's to know, not Raft's. One that only lags makes the leader wait by itself.
    fn check_room(&self, request: &AppendEntriesRequest<Types>) -> Result<(), TransportError> {
        match self.log.has_room(0) {
            Err(full @ NoRoom::DiskFull(_)) if !request.entries.is_empty() => Err(refused(full)),
            _ => Ok(()),
        }
    }

    async fn install(&self, head: Bytes, mut pieces: Pieces) -> Result<Bytes, TransportError> {
        let head = SnapshotHead::decode(head).map_err(refused)?;
        let vote = Vote::from(head.vote.ok_or_else(|| refused("no vote in snapshot"))?);
        let meta = meta_of(head.meta.unwrap_or_default()).map_err(refused)?;
        let (store, covers) = (self.snapshots.clone(), meta.clone());
        let mut writer = blocking(move || store.begin(&covers))
            .await
            .map_err(refused)?;
        loop {
            let next = tokio::time::timeout(PIECE_BOUND, pieces.next()).await;
            let Some(piece) = next.map_err(|_| TransportError::Late(PIECE_BOUND))? else {
                break;
            };
            let piece = piece?;
            let written = blocking(move || writer.write_all(&piece).map(|()| writer)).await;
            writer = written.map_err(refused)?;
        }
        let snapshot = blocking(move || writer.finish()).await.map_err(refused)?;
        let snapshot = Snapshot { meta, snapshot };
        let answer = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(refused)?;
        Ok(answer.vote.encode())
    }

    /// Runs `work` on Raft's threads.
    fn run(
        self: &Arc<Self>,
        work: impl Future<Output = Result<Bytes, TransportError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let done = self.threads.spawn(work);
        Box::pin(async { done.await.map_err(refused)? })
    }
}

impl<S: Replicated> Inbound for Local<S> {
    fn answer(
        &self,
        target: u64,
        call: Call,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let parts = self.0.clone();
        self.0.run(async move {
            parts.check_target(target)?;
            parts.answer(call, body).await
        })
    }

    fn install(
        &self,
        target: u64,
        head: Bytes,
        pieces: Pieces,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let parts = self.0.clone();
        self.0.run(async move {
            parts.check_target(target)?;
            parts.install(head, pieces).await
        })
    }
}
