//! Content of images between nodes: this node gives what it holds, and takes from those who hold it.

use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use skep_proto::channel;
use skep_proto::image::Digest;
use skep_proto::wire::{self, v1};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::dial::Dial;
use crate::exec::image::{BlobStream, Source, Store, Wanted};
use crate::holders::Holders;

/// Bytes of one chunk.
const CHUNK: usize = 256 << 10;
/// Chunks read ahead of a slow reader.
const AHEAD: usize = 4;
/// The most digests of one question.
const MAX_ASKED: usize = 1000;
/// For a node to answer whether it holds a blob.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two chunks of a blob.
const SILENCE: Duration = Duration::from_secs(20);

/// Gives the store's blobs to other nodes: a certificate of the cluster is enough, since a worker does not
/// know who is still of it.
#[derive(Clone, Debug)]
pub struct BlobServer {
    store: Store,
}

impl BlobServer {
    /// For this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl v1::blobs_server::Blobs for BlobServer {
    type FetchStream = ReceiverStream<Result<v1::BlobChunk, Status>>;

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        channel::caller(&request)?;
        let request = request.into_inner();
        let digest = asked(&request.digest)?;
        if !self.store.has_blob(&digest) {
            return Err(Status::not_found(format!(
                "this node does not hold {digest}"
            )));
        }
        let (store, (sender, receiver)) = (self.store.clone(), mpsc::channel(AHEAD));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = give(&store, &digest, request.offset, &sender) {
                // The reader may be gone; then nobody needs to know.
                let _ = sender.blocking_send(Err(Status::internal(error.to_string())));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn held(
        &self,
        request: Request<v1::HeldRequest>,
    ) -> Result<Response<v1::HeldAnswer>, Status> {
        channel::caller(&request)?;
        let digests = request.into_inner().digests;
        if digests.len() > MAX_ASKED {
            return Err(Status::invalid_argument("more than 1000 digests at once"));
        }
        let digests: Vec<Digest> = digests
            .iter()
            .map(|bytes| asked(bytes))
            .collect::<Result<_, _>>()?;
        let store = self.store.clone();
        let look = move || -> Vec<v1::HeldBlob> {
            let held = digests.iter().filter_map(|digest| {
                let (_, size) = store.open_blob(digest).ok()?;
                let digest = digest.0.to_vec();
                Some(v1::HeldBlob { digest, size })
            });
            held.collect()
        };
        let blobs = tokio::task::spawn_blocking(look).await;
        let blobs = blobs.map_err(|_| Status::unavailable("the daemon is ending"))?;
        Ok(Response::new(v1::HeldAnswer { blobs }))
    }
}

fn asked(bytes: &[u8]) -> Result<Digest, Status> {
    wire::digest(bytes, "digest").map_err(|error| Status::invalid_argument(error.to_string()))
}

fn give(
    store: &Store,
    digest: &Digest,
    offset: u64,
    sender: &mpsc::Sender<Result<v1::BlobChunk, Status>>,
) -> io::Result<()> {
    let (mut file, size) = store.open_blob(digest).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut first = Some(size);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() && first.is_none() {
            return Ok(());
        }
        let chunk = v1::BlobChunk {
            bytes: Bytes::copy_from_slice(part),
            size: first.take().unwrap_or(0),
        };
        if sender.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// Takes blobs from nodes that hold them.
#[derive(Clone)]
pub struct Peers {
    dial: Dial,
    /// The leader, while a session with it stands: it knows who holds what.
    leader: watch::Receiver<Option<SocketAddr>>,
    /// Who is asked while it is not there.
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

type Client = v1::blobs_client::BlobsClient<tonic::transport::Channel>;

impl Peers {
    /// Nobody yet, save those that the leader names.
    pub fn new(dial: Dial, leader: watch::Receiver<Option<SocketAddr>>) -> Self {
        Self {
            dial,
            leader,
            addresses: Arc::default(),
        }
    }

    /// Says who is asked while there is no leader.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        *self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who holds an image, and what to say if none of them gives it. All nodes that miss it would ask the
    /// same one first, so where to begin is drawn.
    async fn holders(&self, image: Digest) -> (Vec<SocketAddr>, io::Error) {
        let leader = *self.leader.borrow();
        let said = match leader {
            Some(leader) => Holders::ask(&self.dial, leader, image).await,
            None => None,
        };
        let Some(said) = said else {
            let reason = "no leader says who holds it, and no other node is known";
            return (self.addresses(), io::Error::other(reason));
        };
        // Nobody, now and before: who can ask elsewhere does.
        let kind = match said.is_nobody() {
            true => io::ErrorKind::NotFound,
            false => io::ErrorKind::HostUnreachable,
        };
        let (mut doors, reason) = (said.doors.clone(), io::Error::new(kind, said.reason()));
        if !doors.is_empty() {
            let first = rand::random_range(0..doors.len());
            doors.rotate_left(first);
        }
        (doors, reason)
    }

    /// The first who has it.
    async fn ask(&self, image: Digest, digest: Digest, offset: u64) -> io::Result<BlobStream> {
        let (addresses, mut last) = self.holders(image).await;
        for address in addresses {
            let asked = tokio::time::timeout(PATIENCE, self.ask_one(address, digest, offset));
            last = match asked.await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => io::Error::new(error.kind(), format!("{address}: {error}")),
                Err(_) => io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{address} does not answer"),
                ),
            };
        }
        Err(last)
    }

    async fn ask_one(
        &self,
        address: SocketAddr,
        digest: Digest,
        offset: u64,
    ) -> io::Result<BlobStream> {
        let mut client = Client::new((self.dial)(address, None).await?);
        let digest = digest.0.to_vec();
        let answer = client.fetch(v1::FetchRequest { digest, offset }).await;
        let chunks = answer.map_err(status_error)?.into_inner();
        let bytes = stream::unfold(Some(chunks), |chunks| async move {
            let mut chunks = chunks?;
            match tokio::time::timeout(SILENCE, chunks.message()).await {
                Ok(Ok(Some(chunk))) => Some((Ok(chunk.bytes), Some(chunks))),
                Ok(Ok(None)) => None,
                Ok(Err(status)) => Some((Err(status_error(status)), None)),
                Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
            }
        });
        Ok(bytes.boxed())
    }
}

fn status_error(status: Status) -> io::Error {
    let kind = match status.code() {
        tonic::Code::NotFound => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, status.message().to_owned())
}

impl Source for Peers {
    fn blob(
        &self,
        image: Digest,
        wanted: Wanted,
        offset: u64,
    ) -> BoxFuture<'_, io::Result<BlobStream>> {
        self.ask(image, wanted.digest(), offset).boxed()
    }
}

#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;
