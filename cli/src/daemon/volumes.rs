//! What a daemon answers about the volumes of its node. Converts only.

use std::sync::Arc;

use skep_proto::wire::v1;
use skep_proto::wire::v1::volumes_server::Volumes as Door;
use skep_worker::volumes::{Volume, VolumeError, Volumes};
use tonic::{Request, Response, Status};

use super::node::Node;

/// The door for volumes.
pub struct VolumesDoor {
    node: Arc<Node>,
}

impl VolumesDoor {
    /// Answers for `node`.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Works on the volumes where it may block.
    async fn on_volumes<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Volumes) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, Status> {
        let volumes = self.node.volumes().clone();
        let done = tokio::task::spawn_blocking(move || work(&volumes)).await;
        let done = done.map_err(|_| Status::unavailable("the daemon is ending"))?;
        done.map_err(refused)
    }
}

fn refused(error: VolumeError) -> Status {
    let text = error.to_string();
    match error {
        VolumeError::Unknown(_) => Status::not_found(text),
        VolumeError::Invalid(_) => Status::invalid_argument(text),
        _ => Status::failed_precondition(text),
    }
}

fn shown(volume: Volume) -> v1::Volume {
    v1::Volume {
        name: volume.name,
        path: volume.path.to_string_lossy().into_owned(),
        options: volume.options,
        labels: volume.labels,
        created_ms: volume.created.unix_millis(),
        anonymous: volume.anonymous,
        users: volume.users,
        node: skep_worker::resources::hostname(),
    }
}

#[tonic::async_trait]
impl Door for VolumesDoor {
    async fn create_volume(
        &self,
        request: Request<v1::CreateVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let v1::CreateVolumeRequest {
            name,
            options,
            labels,
        } = request.into_inner();
        let create = move |volumes: &Volumes| volumes.create(name.as_deref(), &options, &labels);
        let made = self.on_volumes(create).await?;
        self.node.volumes_changed().await;
        Ok(Response::new(shown(made)))
    }

    async fn list_volumes(
        &self,
        _: Request<v1::ListVolumesRequest>,
    ) -> Result<Response<v1::ListVolumesAnswer>, Status> {
        let volumes = self.on_volumes(Volumes::list).await?;
        let volumes = volumes.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListVolumesAnswer { volumes }))
    }

    async fn get_volume(
        &self,
        request: Request<v1::GetVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let name = request.into_inner().name;
        let found = self
            .on_volumes(move |volumes| volumes.inspect(&name))
            .await?;
        Ok(Response::new(shown(found)))
    }

    async fn remove_volume(
        &self,
        request: Request<v1::RemoveVolumeRequest>,
    ) -> Result<Response<v1::RemoveVolumeAnswer>, Status> {
        let name = request.into_inner().name;
        self.on_volumes(move |volumes| volumes.remove(&name))
            .await?;
        self.node.volumes_changed().await;
        Ok(Response::new(v1::RemoveVolumeAnswer {}))
    }
}
