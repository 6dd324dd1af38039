//! How a task's image gets to this node: what is here, then other nodes, then its registry.
//!
//! Other nodes come first: they are near, ask for no login and count nobody's pulls, and what they give is checked
//! like everything else. A registry is asked where none of them has it, or breaks off.

use std::io;

use futures_util::future::{BoxFuture, FutureExt};
use skep_proto::assignment::AssignedTask;
use skep_proto::image::{BUILT_IN, Digest, RegistryAuth, familiar};
use skep_proto::spec::PullPolicy;

use super::ExecError;
use super::image::registry::{Reference, Registries, RegistryError, RegistrySource};
use super::image::{BlobStream, ImageError, Source, Store, Wanted};

/// How often an image that was removed meanwhile is fetched anew.
const REMOVED_MEANWHILE: usize = 3;

/// Where images of tasks come from.
pub(super) struct Origins<S> {
    store: Store,
    nodes: S,
    registries: Registries,
    pub(super) built_in: Digest,
}

/// One image from other nodes, else from its registry.
struct Both<'a> {
    nodes: &'a dyn Source,
    registry: RegistrySource,
}

impl Source for Both<'_> {
    fn blob(
        &self,
        image: Digest,
        wanted: Wanted,
        offset: u64,
    ) -> BoxFuture<'_, io::Result<BlobStream>> {
        async move {
            let nodes = match self.nodes.blob(image, wanted, offset).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let registry = match self.registry.blob(image, wanted, offset).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            // Where no node ever had it, only the registry's words help.
            Err(match nodes.kind() {
                io::ErrorKind::NotFound => registry,
                _ => io::Error::new(nodes.kind(), format!("{nodes}; {registry}")),
            })
        }
        .boxed()
    }
}

impl<S: Source> Origins<S> {
    pub(super) fn new(store: Store, nodes: S, registries: Registries, built_in: Digest) -> Self {
        Self {
            store,
            nodes,
            registries,
            built_in,
        }
    }

    /// Makes the image of a task be here and stay until the task is removed.
    pub(super) async fn obtain(&self, task: &AssignedTask) -> Result<(), ExecError> {
        for _ in 0..REMOVED_MEANWHILE {
            let digest = self.bring(task).await?;
            // Removed between the two: fetched again.
            if self.store.claim(&task.id.to_string(), &digest).is_ok() {
                return Ok(());
            }
        }
        Err(ExecError::passing(format!(
            "image {} is removed again and again",
            task.spec.container.image
        )))
    }

    /// The image that was obtained for a task.
    pub(super) async fn obtained(&self, task: &AssignedTask) -> Result<Digest, ExecError> {
        let id = task.id.to_string();
        if self.store.used_by(&id).is_none() {
            self.obtain(task).await?;
        }
        let gone = || ExecError::new(format!("image {} is gone", task.spec.container.image));
        self.store.used_by(&id).ok_or_else(gone)
    }

    async fn bring(&self, task: &AssignedTask) -> Result<Digest, ExecError> {
        let container = &task.spec.container;
        let (image, auth) = (&container.image, task.auth.as_deref());
        let digest = match image.digest {
            Some(digest) => digest,
            None if image.name == BUILT_IN => self.built_in,
            None => self.mean(&image.name, container.pull, auth).await?,
        };
        let asked = container.pull == PullPolicy::Always && digest != self.built_in;
        if !asked && self.store.image(&digest).is_some() {
            return Ok(digest);
        }
        let failed = |error: &ImageError| failed(&image.name, error);
        if container.pull == PullPolicy::Never {
            let fetched = self.store.fetch(&self.nodes, digest).await;
            return fetched.map(|_| digest).map_err(|error| failed(&error));
        }
        let reference = reference(&image.name)?.at(digest);
        if asked {
            let checked = self.registries.check(&reference, auth).await;
            checked.map_err(|error| refused(&image.name, &error))?;
        }
        let both = Both {
            nodes: &self.nodes,
            registry: self.registries.source(reference, auth.cloned()),
        };
        let fetched = self.store.fetch(&both, digest).await;
        fetched.map_err(|error| failed(&error))?;
        self.name(&image.name, digest).await;
        Ok(digest)
    }

    /// What a name means that no manager resolved.
    async fn mean(
        &self,
        name: &str,
        pull: PullPolicy,
        auth: Option<&RegistryAuth>,
    ) -> Result<Digest, ExecError> {
        let here = self.store.named(&familiar(name));
        match (pull, here) {
            (PullPolicy::Missing | PullPolicy::Never, Some(digest)) => Ok(digest),
            (PullPolicy::Never, None) => Err(ExecError::new(format!(
                "image {name} is not on this node, and is never to be pulled"
            ))),
            _ => {
                let resolved = self.registries.resolve(&reference(name)?, auth).await;
                Ok(resolved.map_err(|error| refused(name, &error))?.digest)
            }
        }
    }

    /// Names what was fetched, unless the name means something else here: that is not ours to change.
    async fn name(&self, name: &str, digest: Digest) {
        let (store, name) = (self.store.clone(), familiar(name));
        if store.named(&name).is_some() {
            return;
        }
        let named = tokio::task::spawn_blocking(move || store.set_name(&name, digest)).await;
        if let Ok(Err(error)) = named {
            tracing::debug!(%error, "an image has no name here");
        }
    }
}

fn reference(name: &str) -> Result<Reference, ExecError> {
    Reference::parse(name).map_err(|error| ExecError::new(error.to_string()))
}

fn refused(name: &str, error: &RegistryError) -> ExecError {
    let words = format!("cannot get image {name}: {error}");
    match error.passes() {
        true => ExecError::passing(words),
        false => ExecError::new(words),
    }
}

fn failed(name: &str, error: &ImageError) -> ExecError {
    match error {
        ImageError::Fetch { source, .. } if error.passes() => {
            ExecError::passing(format!("cannot get image {name}: {source}"))
        }
        ImageError::Fetch { source, .. } => {
            ExecError::new(format!("cannot get image {name}: {source}"))
        }
        _ => ExecError::new(format!(
            "cannot get image {name}: {}",
            crate::report::with_causes(error)
        )),
    }
}
