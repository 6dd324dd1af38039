//! Raft's way to the other managers, over a `Transport`. Every call has a deadline, so that a lost answer never
//! holds up replication; heartbeats and snapshots have lanes of their own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use prost::Message;

use super::machine::blocking;
use super::message::{SnapshotHead, Wire};
use super::snapshot::{MetaBytes, SnapshotFile, SnapshotReader};
use super::transport::{Call, Lane, Pieces, Target, Transport, TransportError};
use super::types::{Peer, Types, Vote};

/// Entries get this besides the heartbeat's time, for the other's disk.
const DISK_GRACE: Duration = Duration::from_millis(200);
/// The slowest way on which entries of the largest size still arrive in time, bytes a second.
const SLOWEST: u32 = 2 << 20;

/// Makes the clients Raft asks for.
pub(crate) struct Factory {
    pub id: u64,
    pub transport: Arc<dyn Transport>,
}

impl Factory {
    fn client(&self, target: u64, node: &Peer, lane: Lane) -> Client {
        let target = Target {
            id: target,
            address: node.address.clone(),
        };
        Client {
            id: self.id,
            target,
            lane,
            transport: self.transport.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Lane::Snapshot)
    }
}

/// The way to one manager.
pub(crate) struct Client {
    id: u64,
    target: Target,
    lane: Lane,
    transport: Arc<dyn Transport>,
}

impl Client {
    async fn ask<A: Wire>(
        &self,
        call: Call,
        body: Bytes,
        within: Duration,
    ) -> Result<A, RPCError<Types>> {
        let asked = self
            .transport
            .call(&self.target, self.lane, call, body, within);
        let answer = match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer.map_err(|error| self.failed(call, error))?,
            Err(_) => return Err(self.failed(call, TransportError::Late(within))),
        };
        A::decode(answer).map_err(|error| NetworkError::new(&error).into())
    }

    fn failed(&self, call: Call, error: TransportError) -> RPCError<Types> {
        let action = match call {
            Call::Vote | Call::PreVote => RPCTypes::Vote,
            Call::TransferLeader => RPCTypes::TransferLeader,
            Call::Append | Call::ReadIndex => RPCTypes::AppendEntries,
        };
        match error {
            TransportError::Unreachable(_) => Unreachable::new(&error).into(),
            TransportError::Refused(_) => NetworkError::new(&error).into(),
            TransportError::Late(timeout) => Timeout {
                action,
                id: self.id,
                target: self.target.id,
                timeout,
            }
            .into(),
        }
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let body = request.encode();
        let mut within = option.soft_ttl();
        if !request.entries.is_empty() {
            let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
            within += DISK_GRACE + Duration::from_secs(1) * len / SLOWEST;
        }
        self.ask(Call::Append, body, within).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Call::Vote, request.encode(), option.soft_ttl())
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Call::PreVote, request.encode(), option.soft_ttl())
            .await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.ask(Call::TransferLeader, request.encode(), option.soft_ttl())
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<Types, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let head = SnapshotHead {
            vote: Some((&vote).into()),
            meta: Some(MetaBytes::from(&snapshot.meta)),
        };
        let head = head.encode_to_vec().into();
        let file = snapshot.snapshot;
        let opened = blocking(move || file.read()).await;
        let (_, reader) = opened.map_err(|error| NetworkError::new(&error))?;
        let within = option.soft_ttl();
        let sent = self
            .transport
            .send_snapshot(&self.target, head, pieces(reader), within);
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = tokio::time::timeout(within, sent) => match answer {
                Ok(answer) => answer,
                Err(_) => Err(TransportError::Late(within)),
            },
        };
        let answer = answer.map_err(|error| match error {
            TransportError::Unreachable(_) => StreamingError::from(Unreachable::new(&error)),
            _ => StreamingError::from(NetworkError::new(&error)),
        })?;
        let vote = Vote::decode(answer).map_err(|error| NetworkError::new(&error))?;
        Ok(SnapshotResponse::new(vote))
    }
}

/// The state in a snapshot, read piece by piece as it is sent.
fn pieces(reader: SnapshotReader) -> Pieces {
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let read = blocking(move || Ok((reader.chunk()?, reader))).await;
        match read {
            Ok((Some(piece), reader)) => Some((Ok(Bytes::from(piece)), Some(reader))),
            Ok((None, _)) => None,
            Err(error) => Some((Err(TransportError::Refused(error.to_string())), None)),
        }
    })
    .boxed()
}
