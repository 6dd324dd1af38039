//! Shows what becomes of a service: the present first, then each change.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use skep_proto::ids::ServiceId;
use skep_proto::wire::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Control, show};

/// Pictures that a slow watcher may be behind; what comes between is left out, never queued.
const BEHIND: usize = 1;
/// Pictures follow each other no faster than this: fast enough for an eye, and a thousand watchers cost little.
const PACE: Duration = Duration::from_millis(20);

/// A stream of pictures.
pub(super) type Pictures = Pin<Box<dyn Stream<Item = Result<v1::ServiceProgress, Status>> + Send>>;

impl Control {
    /// Pictures of the service, each different from the one before. It ends when the watcher goes, when the
    /// service is gone, or when this manager stops leading.
    pub(super) fn pictures(&self, service: ServiceId) -> Pictures {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let control = self.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = control.send_pictures(service, &sender) => ended,
                () = control.live.ended() => Some(super::forward::no_leader()),
                () = sender.closed() => None,
            };
            if let Some(status) = ended {
                // A watcher that is gone needs no reason.
                drop(sender.send(Err(status)).await);
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }

    async fn send_pictures(
        &self,
        service: ServiceId,
        sender: &mpsc::Sender<Result<v1::ServiceProgress, Status>>,
    ) -> Option<Status> {
        let mut changes = self.ring.watch();
        let mut last = None;
        loop {
            let state = changes.borrow_and_update().state.clone();
            let Some(it) = state.service(service).filter(|it| it.removed.is_none()) else {
                return Some(Status::not_found("the service was removed meanwhile"));
            };
            let picture = show::progress(&state, &self.live, it);
            if last.as_ref() != Some(&picture) {
                sender.send(Ok(picture.clone())).await.ok()?;
                last = Some(picture);
            }
            tokio::time::sleep(PACE).await;
            changes.changed().await.ok()?;
        }
    }
}
