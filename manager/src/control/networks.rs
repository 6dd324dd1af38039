//! Commands about networks and images.

use std::sync::Arc;

use skep_proto::ids::{NetworkId, RequestId};
use skep_proto::image::Image;
use skep_proto::network::NetworkSpec;
use skep_proto::validate;
use tonic::Status;

use super::{Control, refuse, resolve};
use crate::plan;
use crate::ring::wall_time;
use crate::state::{Answer, Change, State};

impl Control {
    /// Makes a network. A repeat of the request gets the same id.
    pub(super) async fn create_net(
        &self,
        request: RequestId,
        spec: NetworkSpec,
    ) -> Result<NetworkId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        validate::network(&spec).map_err(|error| refuse::invalid(&error))?;
        if spec.ingress {
            return Err(Status::failed_precondition(
                "a cluster has one ingress network already",
            ));
        }
        if state.network_named(&spec.name).is_some() {
            return Err(Status::already_exists(format!(
                "a network called \"{}\" exists already; choose another name",
                spec.name
            )));
        }
        let id = NetworkId::new(rand::random());
        let network = plan::new_network(&state, id, spec, wall_time())
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        self.commit(
            request,
            Answer::Network(id),
            vec![Change::PutNetwork(Arc::new(network))],
        )
        .await?;
        answered(&self.ring.stale(), request)?
            .ok_or_else(|| Status::unavailable("the answer is not known here yet; repeat"))
    }

    /// Removes a network that nothing uses.
    pub(super) async fn remove_net(
        &self,
        request: RequestId,
        reference: &str,
    ) -> Result<NetworkId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let network = resolve::network(&state, reference)?;
        if network.spec.ingress {
            return Err(Status::failed_precondition(
                "the ingress network belongs to the cluster and cannot be removed",
            ));
        }
        let change = Change::DeleteNetwork {
            network: network.id,
            version: network.version,
        };
        self.commit(request, Answer::Network(network.id), vec![change])
            .await?;
        Ok(network.id)
    }

    /// Makes an image known by name in the whole cluster.
    pub(super) async fn put_img(&self, request: RequestId, image: Image) -> Result<(), Status> {
        let state = self.read().await?;
        let known = state
            .image(&image.name)
            .is_some_and(|known| **known == image);
        if known || state.answered(request).is_some() {
            return Ok(());
        }
        let answer = Answer::Image(image.digest);
        self.commit(request, answer, vec![Change::PutImage(Arc::new(image))])
            .await?;
        Ok(())
    }
}

fn answered(state: &State, request: RequestId) -> Result<Option<NetworkId>, Status> {
    match state.answered(request).map(|answered| &answered.answer) {
        None => Ok(None),
        Some(Answer::Network(id)) => Ok(Some(*id)),
        Some(_) => Err(Status::invalid_argument(
            "the request id was used for another command",
        )),
    }
}
