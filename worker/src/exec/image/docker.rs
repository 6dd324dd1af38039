//! Archives that `docker save` wrote: `manifest.json`, a configuration and tar files of layers.

use serde::Deserialize;
use skep_proto::image::Digest;

use super::archive::{Archive, FoundImage};
use super::error::{ImageError, malformed};
use super::manifest::Manifest;
use super::store::Store;
use skep_proto::image::familiar;

const MANIFEST: &str = "manifest.json";

/// The most images and layers of one archive.
const MAX_PARTS: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

fn read(archive: &Archive) -> Result<Vec<Item>, ImageError> {
    let items: Vec<Item> = serde_json::from_slice(&archive.document(MANIFEST)?)
        .map_err(|error| malformed(MANIFEST, error))?;
    if items.is_empty() {
        return Err(ImageError::NoManifest);
    }
    if items.len() > MAX_PARTS || items.iter().any(|item| item.layers.len() > MAX_PARTS) {
        return Err(malformed(
            MANIFEST,
            "it names more than 1000 images or layers",
        ));
    }
    Ok(items)
}

/// Takes over all images. Their manifests are made here, the same each time.
pub(super) fn load(store: &Store, archive: &Archive) -> Result<Vec<FoundImage>, ImageError> {
    read(archive)?
        .into_iter()
        .map(|item| {
            let config = archive.adopt(store, &item.config, digest_in(&item.config))?;
            let layers = item
                .layers
                .iter()
                .map(|layer| archive.adopt(store, layer, None))
                .collect::<Result<_, _>>()?;
            let manifest = Manifest { config, layers };
            Ok(FoundImage {
                names: names(&item),
                manifest: store.put(&manifest.write(|part| store.compression(&part.digest))?)?,
            })
        })
        .collect()
}

/// Names that the archive gives to the image with this configuration.
pub(super) fn names_of(archive: &Archive, config: &Digest) -> Result<Vec<String>, ImageError> {
    let items = read(archive)?;
    let item = items
        .iter()
        .find(|item| item.config.contains(&config.hex()));
    Ok(item.map(names).unwrap_or_default())
}

fn names(item: &Item) -> Vec<String> {
    item.repo_tags
        .iter()
        .flatten()
        .map(|name| familiar(name))
        .collect()
}

/// The digest that a configuration's file name promises: `HEX.json` or `blobs/sha256/HEX`.
fn digest_in(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    let hex = name.strip_suffix(".json").unwrap_or(name);
    format!("sha256:{hex}").parse().ok()
}
