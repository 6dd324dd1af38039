//! `image save`: images of the store as one archive that is an OCI layout and what `docker save` writes in one.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde_json::json;
use skep_proto::image::Digest;

use super::error::{ImageError, malformed};
use super::store::{Held, Store};

impl Store {
    /// Writes images with these of their names as a tar archive. Blocks. The same images give the same bytes.
    pub fn save(
        &self,
        images: &[(Arc<Held>, Vec<String>)],
        to: &mut dyn Write,
    ) -> Result<(), ImageError> {
        let mut archive = tar::Builder::new(to);
        let mut written: BTreeSet<Digest> = BTreeSet::new();
        let (mut entries, mut legacy) = (Vec::new(), Vec::new());
        for (held, names) in images {
            let blobs = held
                .documents
                .iter()
                .chain(held.parts.iter().map(|(blob, _)| blob));
            for blob in blobs {
                if written.insert(*blob) {
                    self.save_blob(&mut archive, blob)?;
                }
            }
            let kind = self.media_type(&held.digest)?;
            let (_, size) = self.open_blob(&held.digest)?;
            let mut entry = json!({
                "mediaType": kind, "digest": held.digest.to_string(), "size": size,
            });
            if names.is_empty() {
                entries.push(entry.clone());
            }
            for name in names {
                entry["annotations"] = json!({
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name,
                });
                entries.push(entry.clone());
            }
            let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
            legacy.push(json!({
                "Config": held.documents.last().map(path),
                "RepoTags": names,
                "Layers": held.parts.iter().map(|(blob, _)| path(blob)).collect::<Vec<_>>(),
            }));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
        });
        for (name, document) in [
            ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
            ("index.json", index),
            ("manifest.json", json!(legacy)),
        ] {
            let bytes = serde_json::to_vec(&document).map_err(|error| malformed(name, error))?;
            add(&mut archive, name, bytes.len(), &mut bytes.as_slice())?;
        }
        archive.finish().map_err(unwritten)
    }

    fn save_blob(
        &self,
        archive: &mut tar::Builder<&mut dyn Write>,
        digest: &Digest,
    ) -> Result<(), ImageError> {
        let (mut file, size) = self.open_blob(digest)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        add(
            archive,
            &format!("blobs/sha256/{}", digest.hex()),
            size,
            &mut file,
        )
    }

    fn media_type(&self, digest: &Digest) -> Result<&'static str, ImageError> {
        let bytes = self.document(digest)?;
        Ok(match super::manifest::is_index(&bytes)? {
            true => "application/vnd.oci.image.index.v1+json",
            false => "application/vnd.oci.image.manifest.v1+json",
        })
    }
}

fn add(
    archive: &mut tar::Builder<&mut dyn Write>,
    path: &str,
    size: usize,
    content: &mut dyn Read,
) -> Result<(), ImageError> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(u64::try_from(size).unwrap_or(u64::MAX));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive
        .append_data(&mut header, path, content)
        .map_err(unwritten)
}

fn unwritten(source: io::Error) -> ImageError {
    ImageError::Read {
        what: "what is to be saved".to_owned(),
        source,
    }
}
