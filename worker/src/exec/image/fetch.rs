//! Fetches an image from wherever it is: layers side by side, each unpacked as it arrives.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use skep_proto::image::Digest;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::blob::{self, MAX_DOCUMENT};
use super::config::Document;
use super::error::{ImageError, malformed};
use super::files;
use super::manifest::{self, LayerPart, Manifest, Part};
use super::pour::Pour;
use super::progress::{LayerState, Progress};
use super::registry;
use super::store::{Held, Store};

/// Layers fetched side by side.
const SIDE_BY_SIDE: usize = 3;
/// How often a blob is asked for until it is given up.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long a layer may take to be let go of.
const LET_GO: Duration = Duration::from_secs(5);

/// Bytes of a blob, in order.
pub type BlobStream = BoxStream<'static, io::Result<Bytes>>;

/// A part of an image. Registries keep manifests and indexes apart from all else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A manifest or an index.
    Manifest(Digest),
    /// A configuration or a layer.
    Blob(Digest),
}

impl Wanted {
    /// Of its content.
    pub fn digest(self) -> Digest {
        match self {
            Self::Manifest(digest) | Self::Blob(digest) => digest,
        }
    }
}

/// Where content comes from: another node, or a registry.
pub trait Source: Send + Sync {
    /// The bytes of a part of `image` from `offset` on. What comes is checked, so it may be wrong or end too
    /// early. An error of the kind `PermissionDenied` or `InvalidInput` is final: nobody asks again.
    fn blob(
        &self,
        image: Digest,
        wanted: Wanted,
        offset: u64,
    ) -> BoxFuture<'_, io::Result<BlobStream>>;
}

/// One asynchronous lock for each digest that somebody is busy with.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl Locks {
    async fn take(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(&digest).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            locks.insert(digest, Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}

impl Store {
    /// Makes an image be here whole, fetching what is missing. Asked twice at once it is fetched once; given
    /// up half way it goes on from there the next time.
    pub async fn fetch(&self, source: &dyn Source, image: Digest) -> Result<Arc<Held>, ImageError> {
        self.fetch_telling(source, image, &Progress::default())
            .await
    }

    /// Like [`Store::fetch`], and says meanwhile how far each layer is.
    pub async fn fetch_telling(
        &self,
        source: &dyn Source,
        image: Digest,
        progress: &Progress,
    ) -> Result<Arc<Held>, ImageError> {
        if let Some(held) = self.image(&image) {
            return Ok(held);
        }
        let _alone = self.locks().take(image).await;
        if let Some(held) = self.image(&image) {
            return Ok(held);
        }
        let fetched = self.fetch_parts(source, image, progress).await;
        fetched.map_err(|error| match error.is_full() {
            true => ImageError::Full {
                image,
                place: self.root().display().to_string(),
                source: Box::new(error),
            },
            false => error,
        })
    }

    async fn fetch_parts(
        &self,
        source: &dyn Source,
        image: Digest,
        progress: &Progress,
    ) -> Result<Arc<Held>, ImageError> {
        let lease = self.lease(image);
        lease.documents(&[image])?;
        let whole = Wanted::Manifest(image);
        let mut document = self.fetch_document(source, image, whole).await?;
        if manifest::is_index(&document)? {
            let index = manifest::read_index("the index", &document)?;
            let chosen = manifest::part(manifest::choose(&image.to_string(), &index)?)?;
            lease.documents(&[chosen.digest])?;
            let wanted = Wanted::Manifest(chosen.digest);
            document = self.fetch_document(source, image, wanted).await?;
            chosen.expect_size("the manifest", &document)?;
            if manifest::is_index(&document)? {
                let what = format!("the index {image}");
                return Err(malformed(&what, "it names another index for this machine"));
            }
        }
        let manifest = Manifest::read(&document)?;
        lease.documents(&[manifest.config.digest])?;
        let wanted = Wanted::Blob(manifest.config.digest);
        let config = self.fetch_document(source, image, wanted).await?;
        manifest.config.expect_size("the configuration", &config)?;
        let layers = manifest.with_config(&Document::read(&config)?)?;
        // Two layers of one image may be the same.
        let mut once: Vec<LayerPart> = Vec::new();
        for layer in layers {
            if !once.contains(&layer) {
                once.push(layer);
            }
        }
        lease.layers(&once)?;
        for layer in &once {
            progress.known(layer.blob);
        }
        let fetching = once.clone().into_iter();
        let fetching = fetching.map(|layer| self.fetch_layer(source, image, layer, progress));
        let fetched = stream::iter(fetching)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await;
        if fetched.as_ref().is_err_and(ImageError::is_full) {
            self.forget_partial(&once).await;
        }
        fetched?;
        let store = self.clone();
        blocking("seal an image", move || {
            let held = store.seal(image)?;
            lease.settle().map(|()| held)
        })
        .await
    }

    /// Lets go of what half a layer takes: on a full disk it would stand in everybody's way until somebody asks again.
    async fn forget_partial(&self, layers: &[LayerPart]) {
        for layer in layers {
            // What was given up is let go of within moments; who else fetches the same goes on.
            let digest = layer.blob.digest;
            let Ok(_alone) = timeout(LET_GO, self.locks().take(digest)).await else {
                continue;
            };
            let path = self.partial_path(&digest);
            match files::change_name(&path, std::fs::remove_file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(blob = %digest, %error, "half a layer stays on a full disk");
                }
                _ => {}
            }
        }
    }

    async fn fetch_document(
        &self,
        source: &dyn Source,
        image: Digest,
        wanted: Wanted,
    ) -> Result<Vec<u8>, ImageError> {
        let digest = wanted.digest();
        if self.has_blob(&digest) {
            let store = self.clone();
            return blocking("read a blob", move || store.document(&digest)).await;
        }
        let mut bytes = Vec::new();
        let mut attempt = 1;
        while let Err(error) = read_document(source, image, wanted, &mut bytes).await {
            pause(digest, attempt, error).await?;
            bytes.clear();
            attempt += 1;
        }
        blob::expect(
            &format!("the fetched {digest}"),
            digest,
            blob::digest_of(&bytes),
        )?;
        let store = self.clone();
        blocking("keep a blob", move || store.put(&bytes).map(|_| bytes)).await
    }

    async fn fetch_layer(
        &self,
        source: &dyn Source,
        image: Digest,
        layer: LayerPart,
        progress: &Progress,
    ) -> Result<(), ImageError> {
        let alone = self.locks().take(layer.blob.digest).await;
        let (store, blob) = (self.clone(), layer.blob.digest);
        if self.has_blob(&blob) {
            let unpack = move || {
                let _alone = alone;
                store.unpack_layer(&blob, &layer.diff_id)
            };
            blocking("unpack a layer", unpack).await?;
            progress.set(blob, LayerState::Present);
            return Ok(());
        }
        let mut pour = Pour::start(store, layer, alone).await?;
        let mut attempt = 1;
        loop {
            let before = pour.offset();
            match pour_once(source, image, layer.blob, &mut pour, progress).await {
                Ok(()) | Err(Broken::Here) => break,
                // Who gives something, if little, is not given up.
                Err(Broken::There(_)) if pour.offset() > before => attempt = 1,
                Err(Broken::There(error)) => {
                    pause(blob, attempt, error).await?;
                    attempt += 1;
                }
            }
        }
        progress.set(blob, LayerState::Unpacking);
        pour.finish().await?;
        progress.set(blob, LayerState::Done);
        Ok(())
    }
}

/// Where a transfer broke.
enum Broken {
    /// The source: asking again may help.
    There(io::Error),
    /// The store: `finish` says why.
    Here,
}

async fn pour_once(
    source: &dyn Source,
    image: Digest,
    blob: Part,
    pour: &mut Pour,
    progress: &Progress,
) -> Result<(), Broken> {
    if pour.offset() == blob.size {
        return Ok(());
    }
    let wanted = Wanted::Blob(blob.digest);
    let asked = source.blob(image, wanted, pour.offset()).await;
    let mut stream = asked.map_err(Broken::There)?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(Broken::There)?;
        pour.add(chunk).await.map_err(|()| Broken::Here)?;
        progress.set(blob.digest, LayerState::Fetching(pour.offset()));
    }
    if pour.offset() < blob.size {
        return Err(Broken::There(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

async fn read_document(
    source: &dyn Source,
    image: Digest,
    wanted: Wanted,
    bytes: &mut Vec<u8>,
) -> Result<(), io::Error> {
    let mut stream = source.blob(image, wanted, 0).await?;
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_DOCUMENT) {
            return Err(io::Error::other("it is longer than 8 MiB"));
        }
    }
    Ok(())
}

/// Waits before the next attempt, or gives up.
async fn pause(digest: Digest, attempt: u32, source: io::Error) -> Result<(), ImageError> {
    if attempt >= ATTEMPTS || registry::is_final(&source) {
        let what = digest.to_string();
        return Err(ImageError::Fetch { what, source });
    }
    tracing::debug!(blob = %digest, error = %source, attempt, "asking for a blob again");
    let doubled = FIRST_PAUSE.saturating_mul(1 << (attempt - 1));
    tokio::time::sleep(doubled.mul_f64(rand::random_range(0.5..1.0))).await;
    Ok(())
}

/// Runs blocking work of the store beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    act: &'static str,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(ImageError::Ending { act }))
}
