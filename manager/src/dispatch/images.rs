//! Makes names known of images that a worker was given. It never changes what a name means.

use std::sync::Arc;

use skep_proto::ids::RequestId;
use skep_proto::image::Image;
use tonic::Status;

use super::Dispatch;
use crate::state::{Answer, Change};

/// Commits the name of an image that a node holds.
pub async fn name_image(
    dispatch: &Dispatch,
    request: RequestId,
    image: Image,
) -> Result<(), Status> {
    let read = dispatch.ring.read().await;
    let state = read.map_err(|error| Status::unavailable(error.to_string()))?;
    if state.answered(request).is_some() {
        return Ok(());
    }
    match state.image(&image.name) {
        Some(known) if known.digest == image.digest => return Ok(()),
        Some(_) => {
            return Err(Status::already_exists(format!(
                "{} is the name of another image already, and a worker does not change what a name means: use \
                 another name, or load it on a manager",
                image.name
            )));
        }
        None => {}
    }
    let answer = Answer::Image(image.digest);
    let outcome = dispatch
        .ring
        .command(request, answer, vec![Change::PutImage(Arc::new(image))])
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    if outcome.fits() {
        Ok(())
    } else {
        Err(Status::unavailable("the cluster changed meanwhile; repeat"))
    }
}
