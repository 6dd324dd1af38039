//! Archives that hold an OCI image layout: `index.json` and `blobs/sha256`.

use oci_spec::image::Descriptor;
use skep_proto::image::Digest;

use super::archive::{Archive, FoundImage};
use super::blob;
use super::docker;
use super::error::{ImageError, malformed};
use super::manifest::{self, Manifest, choose, is_index, read_index};
use super::store::Store;
use skep_proto::image::familiar;

/// The most images of one archive.
const MAX_IMAGES: usize = 1000;
/// How deep indexes may name indexes.
const MAX_DEPTH: usize = 4;

const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// Takes over all images that this machine can run.
pub(super) fn load(store: &Store, archive: &Archive) -> Result<Vec<FoundImage>, ImageError> {
    let index = read_index("index.json", &archive.document("index.json")?)?;
    let entries = index.manifests();
    if entries.len() > MAX_IMAGES {
        return Err(malformed("index.json", "it names more than 1000 images"));
    }
    let first = choose("the archive", &index)?;
    let mut found: Vec<FoundImage> = Vec::new();
    for entry in entries {
        if entry.platform().is_some() && entry.platform() != first.platform() {
            continue;
        }
        let mut image = take_over(store, archive, entry)?;
        match found
            .iter_mut()
            .find(|other| other.manifest == image.manifest)
        {
            Some(other) => other.names.append(&mut image.names),
            None => found.push(image),
        }
    }
    Ok(found)
}

fn take_over(
    store: &Store,
    archive: &Archive,
    entry: &Descriptor,
) -> Result<FoundImage, ImageError> {
    let (digest, bytes) = descend(archive, manifest::digest_of(entry)?)?;
    let manifest = Manifest::read(&bytes)?;
    for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
        let adopted = archive.adopt(store, &blob_name(&part.digest), Some(part.digest))?;
        if adopted.size != part.size {
            return Err(ImageError::WrongSize {
                what: format!("blob {}", part.digest),
                expected: part.size,
                found: adopted.size,
            });
        }
    }
    store.put(&bytes)?;
    let mut names = names_of(entry);
    if names.is_empty() && archive.holds("manifest.json") {
        names = docker::names_of(archive, &manifest.config.digest)?;
    }
    Ok(FoundImage {
        names,
        manifest: digest,
    })
}

/// From an index down to the manifest for this machine.
fn descend(archive: &Archive, mut digest: Digest) -> Result<(Digest, Vec<u8>), ImageError> {
    for _ in 0..MAX_DEPTH {
        let name = blob_name(&digest);
        let bytes = archive.document(&name)?;
        blob::expect(&name, digest, blob::digest_of(&bytes))?;
        if !is_index(&bytes)? {
            return Ok((digest, bytes));
        }
        digest = manifest::digest_of(choose("the image", &read_index(&name, &bytes)?)?)?;
    }
    Err(malformed("index.json", "its indexes are nested too deep"))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn names_of(entry: &Descriptor) -> Vec<String> {
    let annotation = |key: &str| entry.annotations().as_ref()?.get(key);
    annotation(CONTAINERD_NAME)
        // Many tools write a tag alone there: that names nothing.
        .or_else(|| annotation(OCI_NAME).filter(|name| name.contains([':', '/'])))
        .map(|name| familiar(name))
        .into_iter()
        .collect()
}
