//! Registries through this node: what names mean there, pulls and logins.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use skep_manager::control::{ImageResolver, ResolvedImage};
use skep_proto::image::{Image, RegistryAuth, familiar};
use skep_worker::exec::image::Progress;
use skep_worker::exec::image::registry::{LoggedIn, Reference, Registries};

use super::{Node, Phase};

/// Lets a manager ask registries by the worker's client.
struct Resolver(Registries);

impl ImageResolver for Resolver {
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        auth: Option<&'a RegistryAuth>,
    ) -> BoxFuture<'a, Result<ResolvedImage, String>> {
        async move {
            let reference = Reference::parse(image).map_err(|error| error.to_string())?;
            let found = self.0.resolve(&reference, auth).await;
            let found = found.map_err(|error| error.to_string())?;
            Ok(ResolvedImage {
                digest: found.digest,
                platforms: found.platforms,
            })
        }
        .boxed()
    }
}

/// What a pull brought.
pub struct Pulled {
    /// With the name it was asked for by.
    pub image: Image,
    /// Nothing had to be fetched.
    pub present: bool,
}

impl Node {
    /// The way of this node's manager to registries.
    pub(super) fn resolver(&self) -> Arc<dyn ImageResolver> {
        Arc::new(Resolver(self.registries.clone()))
    }

    /// Brings an image from its registry to this node and names it here.
    ///
    /// # Errors
    /// Whose fault it is, and the way out. What came is used the next time.
    pub async fn pull_image(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
        progress: &Progress,
    ) -> anyhow::Result<Pulled> {
        let reference = Reference::parse(name)?;
        let resolved = self.registries.resolve(&reference, auth.as_ref()).await?;
        let present = self.store.image(&resolved.digest).is_some();
        let source = self.registries.source(reference.at(resolved.digest), auth);
        let held = self
            .store
            .fetch_telling(&source, resolved.digest, progress)
            .await
            .map_err(|error| anyhow::anyhow!("{}", skep_worker::report::with_causes(&error)))?;
        let name = familiar(name);
        let named = name.clone();
        let digest = held.digest;
        self.on_store(move |store| store.set_name(&named, digest))
            .await?;
        self.images_changed().await;
        Ok(Pulled {
            image: Image {
                name,
                digest: held.digest,
                size: held.size,
            },
            present,
        })
    }

    /// Tells managers what this node holds now.
    pub(super) async fn images_changed(&self) {
        if let Phase::Active(active) = &*self.phase.lock().await {
            active.worker.images_changed();
        }
    }

    /// Shows a registry who asks.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
    pub async fn log_in(&self, registry: &str, auth: &RegistryAuth) -> anyhow::Result<LoggedIn> {
        Ok(self.registries.login(registry, auth).await?)
    }
}
