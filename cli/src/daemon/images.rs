//! What a daemon answers about the images of its node. Converts only.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use skep_proto::image::RegistryAuth;
use skep_proto::wire::v1;
use skep_proto::wire::v1::images_server::Images;
use skep_worker::exec::image::{LayerState, Progress};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::node::{Gone, Node};

/// From one message about a pull to the next.
const TICK: Duration = Duration::from_millis(100);
/// Messages that wait for a slow reader.
const WAITING: usize = 4;
/// Bytes of one chunk of an archive.
const CHUNK: usize = 256 << 10;

type Answered<T> = Result<Response<T>, Status>;
type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The door to the images of one node.
pub struct ImagesDoor {
    node: Arc<Node>,
}

impl ImagesDoor {
    /// Answers for `node`.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

fn refused(error: &anyhow::Error) -> Status {
    Status::failed_precondition(format!("{error:#}"))
}

fn removed(gone: Gone) -> v1::RemoveImageAnswer {
    v1::RemoveImageAnswer {
        untagged: gone.untagged,
        deleted: gone.deleted.map(|digest| digest.0.to_vec()),
        reclaimed: gone.reclaimed,
    }
}

#[tonic::async_trait]
impl Images for ImagesDoor {
    type PullStream = Sent<v1::PullProgress>;
    type SaveStream = Sent<v1::ArchiveChunk>;

    async fn pull(&self, request: Request<v1::PullRequest>) -> Answered<Self::PullStream> {
        let message = request.into_inner();
        let (sender, receiver) = mpsc::channel(WAITING);
        let node = self.node.clone();
        tokio::spawn(async move { pull(&node, message, sender).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list(
        &self,
        _: Request<v1::ListNodeImagesRequest>,
    ) -> Answered<v1::ListNodeImagesAnswer> {
        let images = self
            .node
            .all_images()
            .await
            .map_err(|error| refused(&error))?;
        let images = images.into_iter().map(|image| v1::NodeImage {
            digest: image.digest.0.to_vec(),
            names: image.names,
            size: image.size,
            created: image.created,
            used: image.used,
        });
        Ok(Response::new(v1::ListNodeImagesAnswer {
            images: images.collect(),
        }))
    }

    async fn inspect(
        &self,
        request: Request<v1::ImageRequest>,
    ) -> Answered<v1::InspectImageAnswer> {
        let reference = request.into_inner().reference;
        let json = self.node.inspect_image(&reference).await;
        let json = json.map_err(|error| refused(&error))?;
        Ok(Response::new(v1::InspectImageAnswer { json }))
    }

    async fn history(&self, request: Request<v1::ImageRequest>) -> Answered<v1::HistoryAnswer> {
        let reference = request.into_inner().reference;
        let steps = self.node.image_history(&reference).await;
        let steps = steps.map_err(|error| refused(&error))?.into_iter();
        let steps = steps.map(|step| v1::HistoryStep {
            created: step.created,
            created_by: step.created_by,
            comment: step.comment,
            size: step.size,
        });
        Ok(Response::new(v1::HistoryAnswer {
            steps: steps.collect(),
        }))
    }

    async fn tag(&self, request: Request<v1::TagImageRequest>) -> Answered<v1::TagImageAnswer> {
        let message = request.into_inner();
        let tagged = self.node.tag_image(&message.reference, &message.name).await;
        tagged.map_err(|error| refused(&error))?;
        Ok(Response::new(v1::TagImageAnswer {}))
    }

    async fn remove(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Answered<v1::RemoveImageAnswer> {
        let message = request.into_inner();
        let gone = self
            .node
            .remove_image(&message.reference, message.force)
            .await;
        gone.map(|gone| Response::new(removed(gone)))
            .map_err(|error| refused(&error))
    }

    async fn prune(
        &self,
        request: Request<v1::PruneImagesRequest>,
    ) -> Answered<v1::PruneImagesAnswer> {
        let pruned = self.node.prune_images(request.into_inner().all).await;
        let (gone, reclaimed) = pruned.map_err(|error| refused(&error))?;
        Ok(Response::new(v1::PruneImagesAnswer {
            removed: gone.into_iter().map(removed).collect(),
            reclaimed,
        }))
    }

    async fn disk_use(&self, _: Request<v1::DiskUseRequest>) -> Answered<v1::DiskUseAnswer> {
        let used = self
            .node
            .disk_use()
            .await
            .map_err(|error| refused(&error))?;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ok(Response::new(v1::DiskUseAnswer {
            images: count(used.images),
            active: count(used.active),
            bytes: used.bytes,
            reclaimable: used.reclaimable,
        }))
    }

    async fn save(&self, request: Request<v1::SaveImagesRequest>) -> Answered<Self::SaveStream> {
        let references = request.into_inner().references;
        let images = self
            .node
            .to_save(&references)
            .map_err(|error| refused(&error))?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let store = self.node.store().clone();
        tokio::task::spawn_blocking(move || {
            let mut writer = io::BufWriter::with_capacity(CHUNK, Chunks(sender.clone()));
            let saved = store.save(&images, &mut writer);
            if let Err(error) = saved {
                // The reader may be gone; then nobody needs to know.
                drop(sender.blocking_send(Err(Status::internal(error.to_string()))));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn login(&self, request: Request<v1::LoginRequest>) -> Answered<v1::LoginAnswer> {
        let message = request.into_inner();
        let auth = message.auth.map(RegistryAuth::from).unwrap_or_default();
        let logged = self.node.log_in(&message.registry, &auth).await;
        let logged = logged.map_err(|error| refused(&error))?;
        Ok(Response::new(v1::LoginAnswer {
            identity_token: logged.identity_token.unwrap_or_default(),
        }))
    }
}

/// Pulls, and says every [`TICK`] which layers have news. Goes on when the reader leaves: what came is kept anyway.
async fn pull(
    node: &Node,
    message: v1::PullRequest,
    sender: mpsc::Sender<Result<v1::PullProgress, Status>>,
) {
    let (progress, mut shown) = (Progress::default(), Vec::new());
    let auth = message.auth.map(RegistryAuth::from);
    let mut pulling = std::pin::pin!(node.pull_image(&message.name, auth, &progress));
    let mut tick = tokio::time::interval(TICK);
    let ended = loop {
        let ended = tokio::select! {
            ended = &mut pulling => Some(ended),
            _ = tick.tick() => None,
        };
        let now = progress.layers();
        let news: Vec<_> = now.iter().filter(|layer| !shown.contains(*layer)).collect();
        let layers: Vec<v1::LayerProgress> = news.into_iter().map(layer).collect();
        shown = now;
        match ended {
            Some(ended) => break ended.map(|pulled| (pulled, layers)),
            None if layers.is_empty() => {}
            None => {
                let news = v1::PullProgress {
                    layers,
                    ..Default::default()
                };
                // Who left is told nothing more.
                drop(sender.send(Ok(news)).await);
            }
        }
    };
    let last = ended.map(|(pulled, layers)| v1::PullProgress {
        layers,
        image: Some(v1::Image::from(&pulled.image)),
        present: pulled.present,
    });
    drop(sender.send(last.map_err(|error| refused(&error))).await);
}

fn layer(
    (digest, size, state): &(skep_proto::image::Digest, u64, LayerState),
) -> v1::LayerProgress {
    let (phase, fetched) = match state {
        LayerState::Waiting => (v1::LayerPhase::Waiting, 0),
        LayerState::Fetching(fetched) => (v1::LayerPhase::Fetching, *fetched),
        LayerState::Unpacking => (v1::LayerPhase::Unpacking, *size),
        LayerState::Done => (v1::LayerPhase::Done, *size),
        LayerState::Present => (v1::LayerPhase::Present, *size),
    };
    v1::LayerProgress {
        digest: digest.0.to_vec(),
        size: *size,
        fetched,
        phase: phase.into(),
    }
}

/// Writes into a stream of messages, from a thread that may block.
struct Chunks(mpsc::Sender<Result<v1::ArchiveChunk, Status>>);

impl io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..bytes.len().min(CHUNK)).unwrap_or_default();
        let chunk = v1::ArchiveChunk {
            bytes: part.to_vec().into(),
        };
        let sent = self.0.blocking_send(Ok(chunk));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
