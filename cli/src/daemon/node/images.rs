//! Images through this node: what a user brings is stored here and made known to the cluster.

use std::sync::Arc;

use skep_proto::ids::RequestId;
use skep_proto::image::{Digest, Image};
use skep_proto::wire::WireId;
use skep_proto::wire::v1;
use skep_proto::wire::v1::control_client::ControlClient;
use skep_worker::Worker;
use skep_worker::exec::image::{ImageConfig, Loaded, Store};

use super::{Node, Phase};

impl Node {
    /// Stores the images of an archive and makes their names known in the cluster.
    ///
    /// # Errors
    /// What is wrong with the archive; nothing of it is kept then.
    pub async fn load_image(
        &self,
        mut reader: impl std::io::Read + Send + 'static,
    ) -> anyhow::Result<Vec<Image>> {
        let loaded = self.on_store(move |store| store.load(&mut reader)).await?;
        let all: Vec<Image> = loaded.iter().flat_map(images).collect();
        let named: Vec<Image> = all
            .iter()
            .filter(|image| !image.name.is_empty())
            .cloned()
            .collect();
        self.publish(&named).await?;
        self.name_images(&named).await?;
        Ok(all)
    }

    /// Makes an image of a root file system and makes its name known in the cluster.
    ///
    /// # Errors
    /// What is wrong with the archive; nothing of it is kept then.
    pub async fn import_image(
        &self,
        mut reader: impl std::io::Read + Send + 'static,
        name: String,
    ) -> anyhow::Result<Vec<Image>> {
        let name = skep_worker::exec::image::familiar(&name);
        let config = ImageConfig::default();
        let loaded = self
            .on_store(move |store| store.import(&mut reader, &config))
            .await?;
        let image = Image {
            name,
            digest: loaded.digest,
            size: loaded.size,
        };
        self.publish(std::slice::from_ref(&image)).await?;
        self.name_images(std::slice::from_ref(&image)).await?;
        Ok(vec![image])
    }

    /// Runs what blocks on a thread for it.
    pub(super) async fn on_store<
        T: Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    >(
        &self,
        act: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> anyhow::Result<T> {
        let store = self.store.clone();
        Ok(tokio::task::spawn_blocking(move || act(&store)).await??)
    }

    /// Gives images their names on this node.
    pub(super) async fn name_images(&self, images: &[Image]) -> anyhow::Result<()> {
        let images = images.to_vec();
        let name = move |store: &Store| {
            let mut images = images.iter().filter(|image| !image.name.is_empty());
            images.try_for_each(|image| store.set_name(&image.name, image.digest))
        };
        self.on_store(name).await
    }

    /// Makes names known in the cluster, if this node is in one.
    pub(super) async fn publish_if_clustered(&self, images: &[Image]) -> anyhow::Result<()> {
        if matches!(&*self.phase.lock().await, Phase::Inactive) {
            return Ok(());
        }
        self.publish(images).await
    }

    /// Lets the cluster forget a name, if it means this image there. Only a manager's node can.
    pub(super) async fn forget_in_cluster(&self, name: &str, digest: Digest) -> anyhow::Result<()> {
        let is_manager = match &*self.phase.lock().await {
            Phase::Active(active) => active.manager.is_some(),
            Phase::Inactive => false,
        };
        if !is_manager {
            return Ok(());
        }
        let door = self.user_door().await.map_err(anyhow::Error::msg)?;
        let control = ControlClient::new(door);
        let known = crate::commands::client::persist(|| {
            let mut control = control.clone();
            async move { control.list_images(v1::ListImagesRequest::default()).await }
        })
        .await?;
        let means = |entry: &v1::ImageEntry| {
            let image = entry.image.as_ref();
            image.is_some_and(|image| image.name == name && image.digest == digest.0)
        };
        if !known.images.iter().any(means) {
            return Ok(());
        }
        let message = v1::ForgetImageRequest {
            request: RequestId::new(rand::random()).to_bytes(),
            name: name.to_owned(),
        };
        crate::commands::client::persist(|| {
            let (mut control, message) = (control.clone(), message.clone());
            async move { control.forget_image(message).await }
        })
        .await?;
        Ok(())
    }

    async fn publish(&self, images: &[Image]) -> anyhow::Result<()> {
        if let Phase::Active(active) = &*self.phase.lock().await {
            active.worker.images_changed();
            if active.manager.is_none() {
                return publish_from_worker(&active.worker, images).await;
            }
        }
        let door = self.user_door().await.map_err(anyhow::Error::msg)?;
        let control = ControlClient::new(door);
        for image in images {
            let message = v1::PutImageRequest {
                request: RequestId::new(rand::random()).to_bytes(),
                image: Some(v1::Image::from(image)),
            };
            crate::commands::client::persist(|| {
                let (mut control, message) = (control.clone(), message.clone());
                async move { control.put_image(message).await }
            })
            .await?;
        }
        Ok(())
    }

    /// Images that this node holds whole.
    pub fn local_images(&self) -> Vec<Image> {
        let held = self.store.images();
        let image = |held: Arc<skep_worker::exec::image::Held>| Image {
            name: String::new(),
            digest: held.digest,
            size: held.size,
        };
        held.into_iter().map(image).collect()
    }
}

async fn publish_from_worker(worker: &Worker, images: &[Image]) -> anyhow::Result<()> {
    for image in images {
        let request = RequestId::new(rand::random());
        crate::commands::client::persist(|| worker.name_image(request, image)).await?;
    }
    Ok(())
}

/// An image for each of its names; one without a name where it has none.
fn images(loaded: &Loaded) -> Vec<Image> {
    let image = |name: &str| Image {
        name: name.to_owned(),
        digest: loaded.digest,
        size: loaded.size,
    };
    if loaded.names.is_empty() {
        return vec![image("")];
    }
    loaded.names.iter().map(|name| image(name)).collect()
}
