//! What an image's name means: asked once, when a service is made or changed, and the same for all its tasks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use skep_proto::ids::RequestId;
use skep_proto::image::{Digest, ImageRef, RegistryAuth, familiar};
use skep_proto::spec::{Platform, PullPolicy, ServiceSpec};
use tonic::Status;

use super::Control;
use crate::state::{Answer, Change, State};

/// For a registry to say what a name means.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a registry says of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedImage {
    /// Of the index, or of the manifest where there is none.
    pub digest: Digest,
    /// Machines it has an image for; empty where that is not said.
    pub platforms: Vec<Platform>,
}

/// Asks registries. A manager has no way to them of its own: who starts it gives it one.
pub trait ImageResolver: Send + Sync + 'static {
    /// What a familiar name with its tag, or `NAME@DIGEST`, means now. The error is a sentence for the user: whose
    /// fault, and the way out.
    fn resolve<'a>(
        &'a self,
        image: &'a str,
        auth: Option<&'a RegistryAuth>,
    ) -> BoxFuture<'a, Result<ResolvedImage, String>>;
}

/// Asks nobody: only images that the cluster was given are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRegistry;

impl ImageResolver for NoRegistry {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a RegistryAuth>,
    ) -> BoxFuture<'a, Result<ResolvedImage, String>> {
        async { Err("this manager asks no registry".to_owned()) }.boxed()
    }
}

/// How the image of a service is found, as the user said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImageWish {
    /// Shown to the registry, and kept with the service.
    pub auth: Option<RegistryAuth>,
    /// Who says what the tag means.
    pub by: ResolvedBy,
}

/// Who says what an image's tag means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ResolvedBy {
    /// A manager, once for all tasks; the default.
    #[default]
    Manager,
    /// Each node for itself.
    Nodes,
}

impl Control {
    /// Fills in what the image of a spec means. A name that the cluster was given counts before what a registry
    /// says: it was brought here for that.
    pub(super) async fn resolve_image(
        &self,
        state: &State,
        spec: &mut ServiceSpec,
        wish: &ImageWish,
    ) -> Result<(), Status> {
        let container = &mut spec.task.container;
        let asked = &container.image;
        let (name, named) = split(asked)?;
        let known = state.image(&name).map(|image| image.digest);
        if let Some(digest) = named.or(known)
            && state.images().any(|image| image.digest == digest)
        {
            container.image = ImageRef {
                name,
                digest: Some(digest),
            };
            return Ok(());
        }
        if wish.by == ResolvedBy::Nodes || container.pull == PullPolicy::Never {
            // A node may hold it by a name of its own.
            container.image = ImageRef {
                name,
                digest: named,
            };
            return Ok(());
        }
        let text = named.map_or_else(|| name.clone(), |digest| format!("{name}@{digest}"));
        let resolving = self.resolver.resolve(&text, wish.auth.as_ref());
        let found = tokio::time::timeout(PATIENCE, resolving).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let found = found.map_err(|reason| {
            Status::failed_precondition(format!(
                "image \"{name}\" is not known in the cluster (see skep image ls), and {reason}; an archive of \
                 it is loaded with: skep image load; to leave the name to each node: --no-resolve-image"
            ))
        })?;
        container.image = ImageRef {
            name,
            digest: Some(found.digest),
        };
        spec.task.platforms = found.platforms;
        Ok(())
    }

    /// Forgets what a name means in the cluster; says whether it was known.
    pub(super) async fn forget_img(&self, request: RequestId, name: &str) -> Result<bool, Status> {
        let state = self.read().await?;
        let name = familiar(name);
        let Some(image) = state.image(&name) else {
            return Ok(state.answered(request).is_some());
        };
        if name == skep_proto::image::BUILT_IN {
            return Err(Status::failed_precondition(format!(
                "{name} is built into every node and stays"
            )));
        }
        let answer = Answer::Image(image.digest);
        self.commit(request, answer, vec![Change::DeleteImage { name }])
            .await?;
        Ok(true)
    }
}

/// The familiar name with its tag, and the digest that was named.
fn split(image: &ImageRef) -> Result<(String, Option<Digest>), Status> {
    let written = match image.name.split_once('@') {
        None => None,
        Some((_, digest)) => Some(digest.parse::<Digest>().map_err(|error| {
            Status::invalid_argument(format!("image \"{}\": {error}", image.name))
        })?),
    };
    Ok((familiar(&image.name), image.digest.or(written)))
}

/// The way to registries that was given, or none.
pub type SharedResolver = Arc<dyn ImageResolver>;
