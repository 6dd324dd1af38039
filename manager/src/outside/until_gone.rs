//! Ends what is being answered when the token by which it was asked is revoked or over.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use skep_proto::ids::TokenId;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, Response};

use super::known::{Unknown, expired};
use crate::ring::{Ring, wall_time};

/// A wall clock may be set meanwhile: it is looked at again so often.
const LOOK: Duration = Duration::from_secs(60);

type Gone = Pin<Box<dyn Future<Output = Status> + Send>>;

/// The same answer, ended by a refusal when the token goes.
pub fn until_gone(ring: Ring, token: TokenId, answer: Response<Body>) -> Response<Body> {
    let gone: Gone = Box::pin(gone(ring, token));
    answer.map(|body| {
        let begun = Some((BodyStream::new(body), gone));
        let frames = futures_util::stream::unfold(begun, |state| async move {
            let (mut frames, mut gone) = state?;
            tokio::select! {
                biased;
                frame = frames.next() => frame.map(|frame| (frame, Some((frames, gone)))),
                status = &mut gone => {
                    let mut trailers = HeaderMap::new();
                    let frame = status.add_header(&mut trailers);
                    let frame = frame.map(|()| Frame::trailers(trailers));
                    Some((frame, None))
                }
            }
        });
        Body::new(StreamBody::new(frames))
    })
}

type Frame = http_body::Frame<Bytes>;

/// Waits until the token is not there any more, or over.
async fn gone(ring: Ring, id: TokenId) -> Status {
    let mut changes = ring.watch();
    loop {
        let stored = changes.borrow_and_update().state.token(id).cloned();
        let Some(stored) = stored else {
            return refused(&Unknown::Revoked(id.to_string()));
        };
        let now = wall_time();
        if stored.token.expired(now) {
            return refused(&expired(&stored, now));
        }
        let left = stored.token.expires.map_or(LOOK, |at| {
            Duration::from_millis(at.unix_millis().saturating_sub(now.unix_millis())).min(LOOK)
        });
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return Status::unavailable("this manager is ending; ask again");
            },
            () = tokio::time::sleep(left) => {}
        }
    }
}

/// What is said to who shows no token that counts.
pub fn refused(unknown: &Unknown) -> Status {
    Status::unauthenticated(unknown.to_string())
}
