//! Manifests: which configuration and which layers make an image.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::de::IgnoredAny;
use serde_json::json;
use skep_proto::image::Digest;
use skep_proto::spec::Platform;

use super::config::{self, Document};
use super::error::{ImageError, malformed};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// What indexes are called.
const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// What manifests of one image are called.
const IMAGE_TYPES: [&str; 2] = [
    MANIFEST_TYPE,
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The most layers of an image: overlayfs takes 500, Docker 127.
const MAX_LAYERS: usize = 127;

/// A blob with its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Part {
    /// Refuses a document of another length than its descriptor says.
    pub(super) fn expect_size(&self, what: &str, document: &[u8]) -> Result<(), ImageError> {
        let found = u64::try_from(document.len()).unwrap_or(u64::MAX);
        if found == self.size {
            return Ok(());
        }
        Err(ImageError::WrongSize {
            what: format!("{what} {}", self.digest),
            expected: self.size,
            found,
        })
    }
}

/// A manifest that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Manifest {
    pub(super) config: Part,
    /// From the lowest up.
    pub(super) layers: Vec<Part>,
}

/// A layer with the digest of its stream once unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LayerPart {
    pub(super) blob: Part,
    pub(super) diff_id: Digest,
}

/// What a descriptor names.
pub(super) fn part(descriptor: &Descriptor) -> Result<Part, ImageError> {
    let digest = descriptor
        .digest()
        .to_string()
        .parse()
        .map_err(|error| malformed("the manifest", error))?;
    Ok(Part {
        digest,
        size: descriptor.size(),
    })
}

impl Manifest {
    /// Reads an image's manifest, OCI's or Docker's.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        let manifest = ImageManifest::from_reader(bytes)
            .map_err(|error| malformed("the manifest", detailed(&error)))?;
        if manifest.layers().len() > MAX_LAYERS {
            let reason = format!("it has more than {MAX_LAYERS} layers");
            return Err(malformed("the manifest", reason));
        }
        Ok(Self {
            config: part(manifest.config())?,
            layers: manifest
                .layers()
                .iter()
                .map(part)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The manifest's bytes. Equal parts give equal bytes.
    /// `compression` is the ending of a layer's media type.
    pub(super) fn write(
        &self,
        compression: impl Fn(&Part) -> &'static str,
    ) -> Result<Vec<u8>, ImageError> {
        let descriptor = |kind: String, part: &Part| {
            json!({
                "mediaType": kind,
                "digest": part.digest.to_string(),
                "size": part.size,
            })
        };
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| descriptor(format!("{LAYER_TYPE}{}", compression(layer)), layer))
            .collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE.to_owned(), &self.config),
            "layers": layers,
        });
        serde_json::to_vec(&document).map_err(|error| malformed("the manifest", error))
    }

    /// Its layers with their diff ids.
    pub(super) fn with_config(&self, config: &Document) -> Result<Vec<LayerPart>, ImageError> {
        let diff_ids = config.diff_ids()?;
        if diff_ids.len() != self.layers.len() {
            let (names, layers) = (diff_ids.len(), self.layers.len());
            let reason = format!("its configuration names {names} layers, it has {layers}");
            return Err(malformed("the manifest", reason));
        }
        let layers = self.layers.iter().zip(diff_ids);
        Ok(layers
            .map(|(blob, diff_id)| LayerPart {
                blob: *blob,
                diff_id,
            })
            .collect())
    }

    /// Bytes of configuration and layers.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |sum, layer| {
            sum.saturating_add(layer.size)
        })
    }
}

/// An index: manifests or further indexes.
pub(super) fn read_index(what: &str, bytes: &[u8]) -> Result<ImageIndex, ImageError> {
    ImageIndex::from_reader(bytes).map_err(|error| malformed(what, detailed(&error)))
}

/// Whether a document is an index rather than a manifest. Media types are often missing, so what it has decides; one
/// that has the parts of both, or names another type than it has, is refused: who reads it otherwise would run another
/// image under the same digest (CVE-2021-41190).
pub(super) fn is_index(bytes: &[u8]) -> Result<bool, ImageError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        fs_layers: Option<IgnoredAny>,
    }
    let wrong = |reason: &str| malformed("the manifest", reason);
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|error| malformed("the manifest", error))?;
    if shape.fs_layers.is_some() {
        let reason = "it is of Docker's schema 1, which has no digests of what it unpacks to: push the image again";
        return Err(wrong(reason));
    }
    let index = shape.manifests.is_some();
    if index && (shape.config.is_some() || shape.layers.is_some()) {
        return Err(wrong("it is an index and an image's manifest at once"));
    }
    let named = shape.media_type.unwrap_or_default();
    let other = match index {
        true => IMAGE_TYPES,
        false => INDEX_TYPES,
    };
    if other.contains(&named.as_str()) {
        let reason = format!("it says that it is {named}, and is not");
        return Err(wrong(&reason));
    }
    Ok(index)
}

/// The entry of an index that this machine can run.
pub(super) fn choose<'a>(what: &str, index: &'a ImageIndex) -> Result<&'a Descriptor, ImageError> {
    let here = config::architecture();
    let fits = |descriptor: &&Descriptor| {
        descriptor.platform().as_ref().is_some_and(|platform| {
            platform.os().to_string() == "linux" && platform.architecture().to_string() == here
        })
    };
    let unnamed = |descriptor: &&Descriptor| descriptor.platform().is_none();
    let entries = index.manifests();
    let found = entries
        .iter()
        .find(fits)
        .or_else(|| entries.iter().find(unnamed));
    found.ok_or_else(|| {
        let platforms: Vec<String> = entries
            .iter()
            .filter_map(|entry| entry.platform().as_ref())
            .map(|platform| format!("{}/{}", platform.os(), platform.architecture()))
            .collect();
        ImageError::NoPlatform {
            what: what.to_owned(),
            architecture: here,
            found: if platforms.is_empty() {
                "nothing".to_owned()
            } else {
                platforms.join(", ")
            },
        }
    })
}

/// The machines that an index has images for, each once. What is attached to images (attestations) has the
/// platform `unknown`.
pub(super) fn platforms(index: &ImageIndex) -> Vec<Platform> {
    let mut found: Vec<Platform> = Vec::new();
    let named = index.manifests().iter();
    for platform in named.filter_map(|entry| entry.platform().as_ref()) {
        let platform = Platform {
            os: platform.os().to_string(),
            arch: platform.architecture().to_string(),
        };
        if platform.os != "unknown" && !found.contains(&platform) {
            found.push(platform);
        }
    }
    found
}

/// Its digest, as ours.
pub(super) fn digest_of(descriptor: &Descriptor) -> Result<Digest, ImageError> {
    part(descriptor).map(|part| part.digest)
}

fn detailed(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
