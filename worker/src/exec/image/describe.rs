//! What there is to say of an image, in Docker's words.

use serde_json::{Value, json};
use skep_proto::image::Digest;

use super::config::Document;
use super::error::{ImageError, malformed};
use super::manifest::{self, Manifest};
use super::store::{Held, Store};

/// A step in which an image was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, as written in the image; empty where it does not say.
    pub created: String,
    /// The command that made it.
    pub created_by: String,
    /// What its maker adds.
    pub comment: String,
    /// Bytes of its layer as it was fetched; 0 for a step without a layer.
    pub size: u64,
}

/// What the store takes on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskUse {
    /// Images that are here whole.
    pub images: usize,
    /// Of these, so many are used by tasks.
    pub active: usize,
    /// Bytes of all blobs.
    pub bytes: u64,
    /// Bytes of the blobs that only images have which no task uses.
    pub reclaimable: u64,
}

impl Store {
    /// An image in the form of Docker's `image inspect`.
    pub fn inspect(&self, held: &Held) -> Result<Value, ImageError> {
        let (config, _) = self.config_of(held)?;
        let mut config: Value = serde_json::from_slice(&config)
            .map_err(|error| malformed("the configuration", error))?;
        let mut take = |name: &str| config.get_mut(name).map_or(Value::Null, Value::take);
        Ok(json!({
            "Id": held.digest.to_string(),
            "RepoTags": self.names_of(&held.digest),
            "RepoDigests": repo_digests(&self.names_of(&held.digest), held.digest),
            "Created": take("created"),
            "Author": take("author"),
            "Architecture": take("architecture"),
            "Variant": take("variant"),
            "Os": take("os"),
            "Size": held.size,
            "Config": take("config"),
            "RootFS": {
                "Type": "layers",
                "Layers": held.parts.iter().map(|(_, id)| id.to_string()).collect::<Vec<_>>(),
            },
        }))
    }

    /// How an image was made, the last step first.
    pub fn history(&self, held: &Held) -> Result<Vec<Step>, ImageError> {
        let (config, layers) = self.config_of(held)?;
        let config: Value = serde_json::from_slice(&config)
            .map_err(|error| malformed("the configuration", error))?;
        let mut sizes = layers.layers.iter().map(|layer| layer.size);
        let empty = Vec::new();
        let written = config
            .get("history")
            .and_then(Value::as_array)
            .unwrap_or(&empty);
        let text = |step: &Value, name: &str| {
            step.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut steps: Vec<Step> = Vec::new();
        for step in written {
            let layerless = step.get("empty_layer").and_then(Value::as_bool) == Some(true);
            steps.push(Step {
                created: text(step, "created"),
                created_by: text(step, "created_by"),
                comment: text(step, "comment"),
                size: if layerless {
                    0
                } else {
                    sizes.next().unwrap_or(0)
                },
            });
        }
        // Layers of which nothing is written.
        steps.extend(sizes.map(|size| Step {
            created: String::new(),
            created_by: String::new(),
            comment: String::new(),
            size,
        }));
        steps.reverse();
        Ok(steps)
    }

    /// When an image was made and for what, as it says itself: `(created, os, architecture)`.
    pub fn origin(&self, held: &Held) -> Result<(String, String, String), ImageError> {
        let (config, _) = self.config_of(held)?;
        let config: Value = serde_json::from_slice(&config)
            .map_err(|error| malformed("the configuration", error))?;
        let text = |name: &str| {
            config
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok((text("created"), text("os"), text("architecture")))
    }

    /// What the store takes on disk.
    pub fn disk_use(&self) -> Result<DiskUse, ImageError> {
        let (mut all, mut used) = (std::collections::BTreeMap::new(), Vec::new());
        let mut about = DiskUse::default();
        for held in self.images() {
            about.images += 1;
            let active = self.in_use(&held.digest);
            about.active += usize::from(active);
            let blobs = held
                .documents
                .iter()
                .chain(held.parts.iter().map(|(blob, _)| blob));
            for blob in blobs {
                let (_, size) = self.open_blob(blob)?;
                all.insert(*blob, size);
                if active {
                    used.push(*blob);
                }
            }
        }
        about.bytes = all.values().sum();
        for blob in used {
            all.remove(&blob);
        }
        about.reclaimable = all.values().sum();
        Ok(about)
    }

    /// An image's configuration, and its manifest.
    fn config_of(&self, held: &Held) -> Result<(Vec<u8>, Manifest), ImageError> {
        let mut bytes = self.document(&held.digest)?;
        if manifest::is_index(&bytes)? {
            let index = manifest::read_index("the index", &bytes)?;
            let chosen = manifest::choose(&held.digest.to_string(), &index)?;
            bytes = self.document(&manifest::digest_of(chosen)?)?;
        }
        let manifest = Manifest::read(&bytes)?;
        let config = self.document(&manifest.config.digest)?;
        // What is shown must at least be a configuration.
        Document::read(&config)?;
        Ok((config, manifest))
    }
}

/// `NAME@DIGEST` for each name without its tag.
fn repo_digests(names: &[String], digest: Digest) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        let path = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => path,
            _ => name,
        };
        let one = format!("{path}@{digest}");
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}
