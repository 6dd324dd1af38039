//! The store: where everything is, and which images are here whole.
//!
//! Below its root: `blobs/sha256/HEX` (verified), `layers/HEX` (unpacked, by diff id), `images/HEX` (a record
//! for each image that is here whole), `names/HEX` (what a name means here), `leases/HEX` (parts of fetches under
//! way), `partial/HEX` (blobs under way, unverified), `rootfs/TASK` (containers' own files), `tmp` (swept at
//! each start) and `lock`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use skep_proto::image::Digest;

use super::config::{Document, ImageConfig};
use super::error::{Doing, ImageError, malformed};
use super::fetch::Locks;
use super::files;
use super::keep::Keep;
use super::manifest::{self, Manifest};

/// Images of this node. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    root: PathBuf,
    /// Images that are here whole.
    images: Mutex<BTreeMap<Digest, Arc<Held>>>,
    /// What their names mean.
    pub(super) names: Mutex<BTreeMap<String, Digest>>,
    /// What must not go. Locked before `images` and `names`, never while one of these is.
    pub(super) keep: Mutex<Keep>,
    /// One fetch at a time for each digest.
    locks: Locks,
    _lock: Flock<File>,
}

/// An image that is here whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Of its manifest.
    pub digest: Digest,
    /// Bytes of manifest, configuration and layers together.
    pub size: u64,
    /// How to run it.
    pub config: ImageConfig,
    /// Directories of its layers, the topmost first, as overlayfs wants them.
    pub layers: Vec<PathBuf>,
    /// Layers by blob and diff id, the lowest first.
    pub(super) parts: Vec<(Digest, Digest)>,
    /// The layer of directories that others do not name, which is on top of them where it is needed.
    pub(super) implied: Option<Digest>,
    /// Index where there is one, manifest and, last, configuration.
    pub(super) documents: Vec<Digest>,
}

/// What `images/HEX` holds.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
}

const RECORD_VERSION: u32 = 1;

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens or makes the store below `root`. What a crash left half done is swept away; an image that lost
    /// a part is no longer held and will be fetched again.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        for part in [
            "blobs/sha256",
            "layers",
            "images",
            "names",
            "leases",
            "partial",
            "rootfs",
            "tmp",
        ] {
            files::make_directory(&root.join(part))?;
        }
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).doing("open", &lock_path)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| ImageError::InUse(root.display().to_string()))?;
        let store = Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                images: Mutex::default(),
                names: Mutex::default(),
                keep: Mutex::default(),
                locks: Locks::default(),
                _lock: lock,
            }),
        };
        store.sweep()?;
        store.find_images()?;
        store.find_names()?;
        store.find_leases()?;
        store.set_uses(store.find_uses()?);
        // What a removal that was cut short has left.
        store.collect()?;
        Ok(store)
    }

    fn sweep(&self) -> Result<(), ImageError> {
        for left_over in entries(&self.scratch())? {
            files::remove_tree(&left_over)?;
        }
        Ok(())
    }

    fn find_images(&self) -> Result<(), ImageError> {
        for path in entries(&self.inner.root.join("images"))? {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else {
                continue;
            };
            let known = fs::read(&path)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
                .is_some_and(|record| record.version == RECORD_VERSION);
            let held = match known {
                true => self.look(digest),
                false => Err(malformed("its record", "of another version")),
            };
            match held {
                Ok(held) => {
                    locked(&self.inner.images).insert(digest, Arc::new(held));
                }
                Err(error) => {
                    tracing::warn!(image.digest = %digest, error = %error, "image lost a part");
                    files::remove_tree(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Puts an image together from its parts, all of which must be here.
    fn look(&self, digest: Digest) -> Result<Held, ImageError> {
        let mut bytes = self.document(&digest)?;
        let mut documents = vec![digest];
        if manifest::is_index(&bytes)? {
            let index = manifest::read_index("the index", &bytes)?;
            let chosen = manifest::digest_of(manifest::choose(&digest.to_string(), &index)?)?;
            bytes = self.document(&chosen)?;
            documents.push(chosen);
        }
        let manifest = Manifest::read(&bytes)?;
        let config = Document::read(&self.document(&manifest.config.digest)?)?;
        let layers = manifest.with_config(&config)?;
        for layer in &layers {
            let (_, size) = self.open_blob(&layer.blob.digest)?;
            if size != layer.blob.size || !self.has_layer(&layer.diff_id) {
                return Err(ImageError::Missing {
                    what: format!("layer {}", layer.blob.digest),
                    place: "the store".to_owned(),
                });
            }
        }
        let own = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        documents.push(manifest.config.digest);
        let topmost = layers.iter().rev();
        let mut paths: Vec<PathBuf> = topmost
            .map(|layer| self.layer_path(&layer.diff_id))
            .collect();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let implied = self.implied_layer(&diff_ids, &paths)?;
        if let Some(implied) = &implied {
            paths.insert(0, self.layer_path(implied));
        }
        Ok(Held {
            digest,
            size: manifest.size().saturating_add(own),
            config: config.config,
            documents,
            layers: paths,
            implied,
            parts: layers
                .iter()
                .map(|layer| (layer.blob.digest, layer.diff_id))
                .collect(),
        })
    }

    /// Takes an image for whole, once all its parts are here.
    pub(super) fn seal(&self, digest: Digest) -> Result<Arc<Held>, ImageError> {
        // A collection meanwhile would take what only this image will name.
        let _still = self.keep();
        let held = Arc::new(self.look(digest)?);
        let record = Record {
            version: RECORD_VERSION,
        };
        let bytes = serde_json::to_vec(&record).map_err(|error| malformed("a record", error))?;
        files::write_whole(&self.scratch(), &self.record_path(&digest), &bytes)?;
        locked(&self.inner.images).insert(digest, Arc::clone(&held));
        Ok(held)
    }

    /// An image that is here whole.
    pub fn image(&self, digest: &Digest) -> Option<Arc<Held>> {
        locked(&self.inner.images).get(digest).cloned()
    }

    /// All images that are here whole, ascending by digest.
    pub fn images(&self) -> Vec<Arc<Held>> {
        locked(&self.inner.images).values().cloned().collect()
    }

    pub(super) fn forget_image(&self, digest: &Digest) {
        locked(&self.inner.images).remove(digest);
    }

    pub(super) fn root(&self) -> &Path {
        &self.inner.root
    }

    pub(super) fn record_path(&self, digest: &Digest) -> PathBuf {
        self.inner.root.join("images").join(digest.hex())
    }

    pub(super) fn locks(&self) -> &Locks {
        &self.inner.locks
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.inner.root.join("tmp")
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.inner.root.join("blobs/sha256").join(digest.hex())
    }

    pub(super) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.inner.root.join("layers").join(diff_id.hex())
    }

    pub(super) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.inner.root.join("partial").join(digest.hex())
    }

    pub(super) fn rootfs_path(&self, task: &str) -> PathBuf {
        self.inner.root.join("rootfs").join(task)
    }

    pub(super) fn rootfs_paths(&self) -> Result<Vec<PathBuf>, ImageError> {
        entries(&self.inner.root.join("rootfs"))
    }
}

pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            found.push(entry?.path());
        }
        found.sort();
        Ok(found)
    };
    list().doing("list", directory)
}
