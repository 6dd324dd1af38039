//! The images of this node, as its user sees and removes them.

use std::sync::Arc;

use anyhow::{Context, bail};
use skep_proto::image::{Digest, Image, familiar};
use skep_worker::exec::image::registry::Reference;
use skep_worker::exec::image::{DiskUse, Held, ImageError, Step, Store};

use super::Node;

/// An image of this node.
pub struct NodeImage {
    /// Of its index or manifest.
    pub digest: Digest,
    /// In their familiar form.
    pub names: Vec<String>,
    /// Bytes as they are fetched.
    pub size: u64,
    /// As it says itself.
    pub created: String,
    /// A task uses it.
    pub used: bool,
}

/// What a removal took away.
#[derive(Debug, Default)]
pub struct Gone {
    /// Names.
    pub untagged: Vec<String>,
    /// The image, when its last name was taken.
    pub deleted: Option<Digest>,
    /// Bytes of blobs.
    pub reclaimed: u64,
}

impl Node {
    /// This node's store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All images of this node.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all_images(&self) -> anyhow::Result<Vec<NodeImage>> {
        self.on_store(|store| {
            let held = store.images().into_iter();
            held.map(|held| {
                Ok::<_, ImageError>(NodeImage {
                    names: store.names_of(&held.digest),
                    created: store.origin(&held)?.0,
                    used: store.in_use(&held.digest),
                    digest: held.digest,
                    size: held.size,
                })
            })
            .collect()
        })
        .await
    }

    /// An image in Docker's form.
    ///
    /// # Errors
    /// When it is not here.
    pub async fn inspect_image(&self, reference: &str) -> anyhow::Result<String> {
        let held = find(&self.store, reference)?;
        let about = self.on_store(move |store| store.inspect(&held)).await?;
        Ok(about.to_string())
    }

    /// How an image was made.
    ///
    /// # Errors
    /// When it is not here.
    pub async fn image_history(&self, reference: &str) -> anyhow::Result<Vec<Step>> {
        let held = find(&self.store, reference)?;
        self.on_store(move |store| store.history(&held)).await
    }

    /// Gives an image one more name, here and in the cluster.
    ///
    /// # Errors
    /// When it is not here, or the name is none.
    pub async fn tag_image(&self, reference: &str, name: &str) -> anyhow::Result<()> {
        let parsed = Reference::parse(name)?;
        if parsed.digest.is_some() {
            bail!("\"{name}\": a name cannot be given with a digest");
        }
        let held = find(&self.store, reference)?;
        let image = Image {
            name: familiar(name),
            digest: held.digest,
            size: held.size,
        };
        self.name_images(std::slice::from_ref(&image)).await?;
        self.publish_if_clustered(std::slice::from_ref(&image))
            .await
    }

    /// Takes a name away, and with the last one the image; with `force` all names at once. A name that the cluster
    /// was given goes there too.
    ///
    /// # Errors
    /// When a task uses the image, or it is not here.
    pub async fn remove_image(&self, reference: &str, force: bool) -> anyhow::Result<Gone> {
        let name = familiar(reference);
        let held = find(&self.store, reference)?;
        let names = self.store.names_of(&held.digest);
        let named = names.contains(&name);
        let mut gone = Gone::default();
        if named && names.len() > 1 && !force {
            let away = name.clone();
            self.on_store(move |store| store.forget_name(&away)).await?;
            gone.untagged.push(name);
        } else {
            if !named && names.len() > 1 && !force {
                bail!(
                    "image {reference} has the names {}: remove them one by one, or all with --force",
                    names.join(", ")
                );
            }
            let digest = held.digest;
            let collected = self.on_store(move |store| store.remove(&digest)).await?;
            gone.deleted = Some(digest);
            gone.reclaimed = collected.bytes;
            gone.untagged = names;
        }
        for name in &gone.untagged {
            self.forget_in_cluster(name, held.digest).await?;
        }
        self.images_changed().await;
        Ok(gone)
    }

    /// Removes images that no task uses: those without a name, or all. Then what no image names.
    ///
    /// # Errors
    /// When the store cannot be changed.
    pub async fn prune_images(&self, all: bool) -> anyhow::Result<(Vec<Gone>, u64)> {
        let pruned = self.on_store(move |store| {
            let mut gone = Vec::new();
            for held in store.images() {
                let names = store.names_of(&held.digest);
                if store.in_use(&held.digest) || !(all || names.is_empty()) {
                    continue;
                }
                match store.remove(&held.digest) {
                    // Used since it was looked at.
                    Err(ImageError::Used { .. } | ImageError::BuiltIn(_)) => {}
                    other => gone.push(Gone {
                        reclaimed: other?.bytes,
                        untagged: names,
                        deleted: Some(held.digest),
                    }),
                }
            }
            store.forget_leases()?;
            let rest = store.collect()?.bytes;
            Ok::<_, ImageError>((gone, rest))
        });
        let (gone, rest) = pruned.await?;
        let sum = gone
            .iter()
            .fold(rest, |sum, one| sum.saturating_add(one.reclaimed));
        self.images_changed().await;
        Ok((gone, sum))
    }

    /// What the images take on disk.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn disk_use(&self) -> anyhow::Result<DiskUse> {
        self.on_store(Store::disk_use).await
    }

    /// Images to be saved, each with the name it was asked for by.
    ///
    /// # Errors
    /// Names what is not here.
    pub fn to_save(&self, references: &[String]) -> anyhow::Result<Vec<(Arc<Held>, Vec<String>)>> {
        let mut found: Vec<(Arc<Held>, Vec<String>)> = Vec::new();
        for reference in references {
            let held = find(&self.store, reference)?;
            let name = Some(familiar(reference)).filter(|name| self.store.named(name).is_some());
            match found
                .iter_mut()
                .find(|(known, _)| known.digest == held.digest)
            {
                Some((_, names)) => names.extend(name),
                None => found.push((held, name.into_iter().collect())),
            }
        }
        Ok(found)
    }
}

/// The image that a name, a digest or the beginning of a digest means.
fn find(store: &Store, reference: &str) -> anyhow::Result<Arc<Held>> {
    let absent =
        || format!("image \"{reference}\" is not on this node; see what is with: skep image ls");
    if let Some(digest) = store.named(&familiar(reference)) {
        return store.image(&digest).with_context(absent);
    }
    let bare = reference
        .rsplit_once('@')
        .map_or(reference, |(_, digest)| digest);
    let hex = bare.strip_prefix("sha256:").unwrap_or(bare);
    let mut begins = store
        .images()
        .into_iter()
        .filter(|held| hex.len() >= 4 && held.digest.hex().starts_with(hex));
    match (begins.next(), begins.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => bail!(
            "more than one image has a digest that begins with \"{reference}\"; give more of it"
        ),
        (None, _) => bail!(absent()),
    }
}
