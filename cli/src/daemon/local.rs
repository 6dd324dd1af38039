//! What a daemon answers about itself, and how it gets into a cluster and out. Converts only.

use std::net::SocketAddr;
use std::sync::Arc;

use skep_proto::image::Image;
use skep_proto::wire::v1::local_server::Local;
use skep_proto::wire::{self, WireError, WireId, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tonic::{Request, Response, Status, Streaming};

use super::copies;
use super::node::{Made, Node};

/// The daemon's own door.
pub struct LocalDoor {
    node: Arc<Node>,
}

impl LocalDoor {
    /// Answers for `node`.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

/// Chunks of an image that wait to be stored.
const WAITING: usize = 4;

fn refused(error: &anyhow::Error) -> Status {
    Status::failed_precondition(format!("{error:#}"))
}

fn malformed(error: WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn address(message: Option<v1::Address>, field: &str) -> Result<Option<SocketAddr>, Status> {
    wire::optional(message, field).map_err(malformed)
}

#[tonic::async_trait]
impl Local for LocalDoor {
    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusAnswer>, Status> {
        Ok(Response::new(self.node.status().await))
    }

    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeAnswer>, Status> {
        let described = self.node.describe().await;
        Ok(Response::new(described.map_err(|error| refused(&error))?))
    }

    async fn stored(
        &self,
        _: Request<v1::StoredRequest>,
    ) -> Result<Response<v1::StoredAnswer>, Status> {
        let stored = self.node.stored().await;
        Ok(Response::new(stored.map_err(|error| refused(&error))?))
    }

    async fn init(
        &self,
        request: Request<v1::InitRequest>,
    ) -> Result<Response<v1::InitAnswer>, Status> {
        let message = request.into_inner();
        let advertise = address(message.advertise, "advertise")?;
        if message.force_new_cluster {
            let made = self.node.force_new_cluster(advertise).await;
            return Ok(Response::new(initialized(
                made.map_err(|error| refused(&error))?,
            )));
        }
        let spec = wire::message(message.spec, "spec").map_err(malformed)?;
        let listen = address(message.listen, "listen")?
            .ok_or_else(|| Status::invalid_argument("listen: is missing"))?;
        let made = self
            .node
            .init(advertise, listen, spec)
            .await
            .map_err(|error| refused(&error))?;
        Ok(Response::new(initialized(made)))
    }

    type BackupStream = ReceiverStream<Result<v1::BackupChunk, Status>>;

    async fn backup(
        &self,
        _: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let backup = self.node.backup().await.map_err(|error| refused(&error))?;
        Ok(Response::new(copies::chunks(backup)))
    }

    async fn restore(
        &self,
        request: Request<Streaming<v1::RestoreChunk>>,
    ) -> Result<Response<v1::InitAnswer>, Status> {
        let mut chunks = request.into_inner();
        let first = chunks.message().await?;
        let mut first = first.ok_or_else(|| Status::invalid_argument("nothing was sent"))?;
        let advertise = address(first.advertise.take(), "advertise")?;
        let listen = address(first.listen.take(), "listen")?
            .ok_or_else(|| Status::invalid_argument("listen: is missing"))?;
        let backup = copies::read(first.bytes.into(), chunks).await?;
        let made = self.node.restore(backup, advertise, listen).await;
        Ok(Response::new(initialized(
            made.map_err(|error| refused(&error))?,
        )))
    }

    async fn join(
        &self,
        request: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterAnswer>, Status> {
        let message = request.into_inner();
        let managers = wire::list(message.managers, "managers").map_err(malformed)?;
        let advertise = address(message.advertise, "advertise")?;
        let listen = address(message.listen, "listen")?
            .ok_or_else(|| Status::invalid_argument("listen: is missing"))?;
        let joined = self
            .node
            .join(
                &message.token,
                managers,
                (advertise, listen),
                message.labels.into_iter().collect(),
            )
            .await;
        let joined = joined.map_err(|error| refused(&error))?;
        Ok(Response::new(v1::JoinClusterAnswer {
            node: joined.node.to_bytes(),
            cluster: joined.cluster.to_bytes(),
            role: v1::Role::from(joined.role).into(),
        }))
    }

    async fn leave(
        &self,
        request: Request<v1::LeaveRequest>,
    ) -> Result<Response<v1::LeaveAnswer>, Status> {
        let force = request.into_inner().force;
        self.node
            .leave(force)
            .await
            .map_err(|error| refused(&error))?;
        Ok(Response::new(v1::LeaveAnswer {}))
    }

    async fn load_image(
        &self,
        request: Request<Streaming<v1::ImageChunk>>,
    ) -> Result<Response<v1::LoadImageAnswer>, Status> {
        let (reader, _) = reader(request.into_inner()).await?;
        let images = self
            .node
            .load_image(reader)
            .await
            .map_err(|error| refused(&error))?;
        Ok(Response::new(answer(&images)))
    }

    async fn import_image(
        &self,
        request: Request<Streaming<v1::ImageChunk>>,
    ) -> Result<Response<v1::LoadImageAnswer>, Status> {
        let (reader, name) = reader(request.into_inner()).await?;
        let images = self
            .node
            .import_image(reader, name)
            .await
            .map_err(|error| refused(&error))?;
        Ok(Response::new(answer(&images)))
    }

    async fn list_local_images(
        &self,
        _: Request<v1::ListLocalImagesRequest>,
    ) -> Result<Response<v1::ListLocalImagesAnswer>, Status> {
        let images = self
            .node
            .local_images()
            .iter()
            .map(v1::Image::from)
            .collect();
        Ok(Response::new(v1::ListLocalImagesAnswer { images }))
    }
}

fn initialized(made: Made) -> v1::InitAnswer {
    v1::InitAnswer {
        node: made.node.to_bytes(),
        cluster: made.cluster.to_bytes(),
        worker_token: made.worker_token,
        manager_token: made.manager_token,
        advertise: Some(v1::Address::from(made.advertise)),
    }
}

fn answer(images: &[Image]) -> v1::LoadImageAnswer {
    v1::LoadImageAnswer {
        images: images.iter().map(v1::Image::from).collect(),
    }
}

/// The chunks as one reader for a blocking thread, and the name in the first of them.
async fn reader(
    mut chunks: Streaming<v1::ImageChunk>,
) -> Result<(impl std::io::Read + Send + 'static, String), Status> {
    let first = chunks.message().await?;
    let first = first.ok_or_else(|| Status::invalid_argument("nothing was sent"))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let name = first.name;
    tokio::spawn(async move {
        let mut next = Ok(Some(first.bytes));
        while let Ok(Some(bytes)) = next {
            if sender.send(Ok(bytes)).await.is_err() {
                return;
            }
            next = chunks
                .message()
                .await
                .map(|chunk| chunk.map(|chunk| chunk.bytes));
        }
        if let Err(status) = next {
            let broken = std::io::Error::other(status.message().to_owned());
            // The reader has gone where it has what it needs.
            drop(sender.send(Err(broken)).await);
        }
    });
    let stream = ReceiverStream::new(receiver);
    Ok((SyncIoBridge::new(StreamReader::new(stream)), name))
}
