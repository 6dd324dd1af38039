//! What is kept and what may go: leases of fetches under way, uses by tasks, and the collection of the rest.
//!
//! An image goes by its record first; blobs and layers that nothing names any more follow, one by one. A crash
//! anywhere between leaves things that nothing names, which the next collection takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use skep_proto::image::Digest;

use super::error::{Doing, ImageError, malformed};
use super::files;
use super::manifest::LayerPart;
use super::store::{Held, Store, entries};

/// What a fetch that was given up had got is kept so long for the next one.
const LEASE: Duration = Duration::from_secs(24 * 3600);
const LEASE_VERSION: u32 = 1;

/// What keeps parts besides the images that are here whole.
#[derive(Debug, Default)]
pub(super) struct Keep {
    /// By image: parts of fetches under way, and of those that were given up lately.
    leases: BTreeMap<Digest, Lease>,
    /// Archives being loaded: what they write has no name yet.
    loading: usize,
    /// Somebody wanted a collection meanwhile.
    wanted: bool,
    /// The image that the daemon carries.
    built_in: Option<Digest>,
    /// Which task uses which image.
    pub(super) uses: BTreeMap<String, Digest>,
}

/// Parts that a fetch needs, as `leases/HEX` holds them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lease {
    version: u32,
    blobs: BTreeSet<String>,
    layers: BTreeSet<String>,
    /// Fetches that hold it now.
    #[serde(skip)]
    held: usize,
}

/// What a collection took away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub layers: usize,
    /// Bytes of the blobs.
    pub bytes: u64,
}

/// While it lives, nothing that an archive brings is collected.
pub(super) struct Loading<'a>(&'a Store);

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let wanted = {
            let mut keep = self.0.keep();
            keep.loading = keep.loading.saturating_sub(1);
            keep.loading == 0 && std::mem::take(&mut keep.wanted)
        };
        if wanted && let Err(error) = self.0.collect() {
            tracing::warn!(%error, "parts of images that nothing names are left");
        }
    }
}

/// A fetch's claim on its parts. Dropped without [`LeaseGuard::settle`], the parts stay for the next time.
pub(super) struct LeaseGuard {
    store: Store,
    image: Digest,
}

impl LeaseGuard {
    /// Claims documents that are about to be used or written.
    pub(super) fn documents(&self, digests: &[Digest]) -> Result<(), ImageError> {
        self.claim(|lease| lease.blobs.extend(digests.iter().map(Digest::hex)))
    }

    /// Claims layers.
    pub(super) fn layers(&self, parts: &[LayerPart]) -> Result<(), ImageError> {
        self.claim(|lease| {
            lease
                .blobs
                .extend(parts.iter().map(|part| part.blob.digest.hex()));
            lease
                .layers
                .extend(parts.iter().map(|part| part.diff_id.hex()));
        })
    }

    fn claim(&self, add: impl FnOnce(&mut Lease)) -> Result<(), ImageError> {
        let mut keep = self.store.keep();
        let lease = keep.leases.entry(self.image).or_default();
        add(lease);
        lease.version = LEASE_VERSION;
        let bytes = serde_json::to_vec(lease).map_err(|error| malformed("a lease", error))?;
        let path = self.store.lease_path(&self.image);
        files::write_whole(&self.store.scratch(), &path, &bytes)
    }

    /// The image is here whole: its record keeps the parts from now on.
    pub(super) fn settle(self) -> Result<(), ImageError> {
        let path = self.store.lease_path(&self.image);
        remove_file(&path)?;
        let mut keep = self.store.keep();
        keep.leases.remove(&self.image);
        Ok(())
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(lease) = self.store.keep().leases.get_mut(&self.image) {
            lease.held = lease.held.saturating_sub(1);
        }
    }
}

impl Store {
    pub(super) fn keep(&self) -> MutexGuard<'_, Keep> {
        self.inner
            .keep
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lease_path(&self, image: &Digest) -> PathBuf {
        self.root().join("leases").join(image.hex())
    }

    /// Claims what a fetch of `image` gets.
    pub(super) fn lease(&self, image: Digest) -> LeaseGuard {
        self.keep().leases.entry(image).or_default().held += 1;
        LeaseGuard {
            store: self.clone(),
            image,
        }
    }

    /// Says that an archive is being loaded.
    pub(super) fn loading(&self) -> Loading<'_> {
        self.keep().loading += 1;
        Loading(self)
    }

    /// Takes up what former fetches had got.
    pub(super) fn find_leases(&self) -> Result<(), ImageError> {
        let mut found = BTreeMap::new();
        for path in entries(&self.root().join("leases"))? {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let image = format!("sha256:{name}").parse::<Digest>().ok();
            let lease = fs::read(&path).ok();
            let lease = lease.and_then(|bytes| serde_json::from_slice::<Lease>(&bytes).ok());
            let lease = lease.filter(|it| it.version == LEASE_VERSION && !is_old(&path));
            match (image, lease) {
                (Some(image), Some(lease)) if self.image(&image).is_none() => {
                    found.insert(image, lease);
                }
                _ => remove_file(&path)?,
            }
        }
        self.keep().leases = found;
        Ok(())
    }

    /// Says which image is never removed.
    pub(super) fn set_built_in(&self, digest: Digest) {
        self.keep().built_in = Some(digest);
    }

    pub(super) fn set_uses(&self, uses: BTreeMap<String, Digest>) {
        self.keep().uses = uses;
    }

    /// Lets a task use an image, unless that was removed meanwhile.
    pub(crate) fn claim(&self, task: &str, image: &Digest) -> Result<Arc<Held>, ImageError> {
        let mut keep = self.keep();
        let held = self.image(image).ok_or(ImageError::Absent(*image))?;
        keep.uses.insert(task.to_owned(), *image);
        Ok(held)
    }

    pub(super) fn forget_use(&self, task: &str) {
        self.keep().uses.remove(task);
    }

    /// The image that a task uses.
    pub(crate) fn used_by(&self, task: &str) -> Option<Digest> {
        self.keep().uses.get(task).copied()
    }

    /// Whether a container uses an image: then it must not be removed.
    pub fn in_use(&self, digest: &Digest) -> bool {
        self.keep().uses.values().any(|used| used == digest)
    }

    /// Takes an image away with all its names. What other images share with it stays.
    ///
    /// # Errors
    /// When a task uses it, or it is not here.
    pub fn remove(&self, digest: &Digest) -> Result<Collected, ImageError> {
        {
            let keep = self.keep();
            if self.image(digest).is_none() {
                return Err(ImageError::Absent(*digest));
            }
            if keep.built_in == Some(*digest) {
                return Err(ImageError::BuiltIn(*digest));
            }
            let tasks = keep.uses.iter().filter(|(_, used)| *used == digest);
            let tasks: Vec<&str> = tasks.map(|(task, _)| task.as_str()).collect();
            if !tasks.is_empty() {
                return Err(ImageError::Used {
                    image: *digest,
                    tasks: tasks.join(", "),
                });
            }
            for name in self.names_of(digest) {
                self.forget_name(&name)?;
            }
            // Gone once this is durable; all after it is tidying up.
            let record = self.record_path(digest);
            remove_file(&record)?;
            record.parent().map_or(Ok(()), files::sync_directory)?;
            self.forget_image(digest);
        }
        self.collect()
    }

    /// Takes away blobs and layers that no image names and no fetch claims.
    pub fn collect(&self) -> Result<Collected, ImageError> {
        let mut collected = Collected::default();
        self.forget_old_leases()?;
        for path in entries(&self.root().join("blobs/sha256"))? {
            let size = fs::metadata(&path).map_or(0, |about| about.len());
            if self.take_away(&path, |kept| &kept.0)? {
                collected.blobs += 1;
                collected.bytes = collected.bytes.saturating_add(size);
            }
        }
        for path in entries(&self.root().join("layers"))? {
            if self.take_away(&path, |kept| &kept.1)? {
                collected.layers += 1;
            }
        }
        for path in entries(&self.root().join("partial"))? {
            if self.take_away(&path, |kept| &kept.0)? {
                collected.blobs += 1;
            }
        }
        Ok(collected)
    }

    /// Takes one part away, if nothing needs it at this moment: all that decides is under one lock. A directory
    /// is renamed under it and emptied afterwards.
    fn take_away(
        &self,
        path: &Path,
        of: impl Fn(&(BTreeSet<String>, BTreeSet<String>)) -> &BTreeSet<String>,
    ) -> Result<bool, ImageError> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Ok(false);
        };
        let away = files::fresh_name(&self.scratch());
        {
            let mut keep = self.keep();
            if keep.loading > 0 {
                keep.wanted = true;
                return Ok(false);
            }
            if of(&self.kept(&keep)).contains(name) {
                return Ok(false);
            }
            match files::change_name(path, |path| fs::rename(path, &away)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                other => other.doing("take away", path)?,
            }
        }
        files::remove_tree(&away)?;
        Ok(true)
    }

    /// Names of blobs and layers that something needs.
    fn kept(&self, keep: &Keep) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut blobs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        for held in self.images() {
            blobs.extend(held.documents.iter().map(Digest::hex));
            layers.extend(held.implied.iter().map(Digest::hex));
            for (blob, diff_id) in &held.parts {
                blobs.insert(blob.hex());
                layers.insert(diff_id.hex());
            }
        }
        for lease in keep.leases.values() {
            blobs.extend(lease.blobs.iter().cloned());
            layers.extend(lease.layers.iter().cloned());
        }
        (blobs, layers)
    }

    fn forget_old_leases(&self) -> Result<(), ImageError> {
        let mut keep = self.keep();
        let mut old = Vec::new();
        for (image, lease) in &keep.leases {
            if lease.held == 0 && is_old(&self.lease_path(image)) {
                old.push(*image);
            }
        }
        for image in old {
            remove_file(&self.lease_path(&image))?;
            keep.leases.remove(&image);
        }
        Ok(())
    }

    /// Forgets fetches that were given up, however young: what they had got goes with the next collection.
    pub fn forget_leases(&self) -> Result<(), ImageError> {
        let mut keep = self.keep();
        let idle = keep.leases.iter().filter(|(_, lease)| lease.held == 0);
        let idle: Vec<Digest> = idle.map(|(image, _)| *image).collect();
        for image in idle {
            remove_file(&self.lease_path(&image))?;
            keep.leases.remove(&image);
        }
        Ok(())
    }
}

fn is_old(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|about| about.modified());
    let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    age.map_or(true, |age| age > LEASE)
}

pub(super) fn remove_file(path: &Path) -> Result<(), ImageError> {
    match files::change_name(path, fs::remove_file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.doing("remove", path),
    }
}
