//! Archives made in the tests.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use skep_proto::image::Digest;
use tar::{Builder, EntryType, Header};

use super::blob::digest_of;
use super::store::Store;

/// A store in a directory of its own.
pub(super) struct Place {
    pub(super) directory: tempfile::TempDir,
    pub(super) store: Store,
}

impl Place {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        Self { directory, store }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Names of what is in a directory of the store.
    pub(super) fn list(&self, below: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(below)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Opens the same directory again, as a daemon after a crash.
    pub(super) fn reopen(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        Self { directory, store }
    }
}

/// A tar stream under construction.
pub(super) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(super) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry with any name at all: nothing is checked here.
    pub(super) fn raw(
        mut self,
        kind: EntryType,
        path: &str,
        link: &str,
        edit: impl FnOnce(&mut Header),
        body: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(body.len().try_into().unwrap());
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        edit(&mut header);
        header.set_cksum();
        self.0.append(&header, body).unwrap();
        self
    }

    pub(super) fn file(self, path: &str, body: &[u8]) -> Self {
        self.raw(EntryType::Regular, path, "", |_| (), body)
    }

    pub(super) fn directory(self, path: &str) -> Self {
        self.raw(
            EntryType::Directory,
            path,
            "",
            |header| header.set_mode(0o755),
            b"",
        )
    }

    pub(super) fn link(self, kind: EntryType, path: &str, target: &str) -> Self {
        self.raw(kind, path, target, |_| (), b"")
    }

    /// A PAX header for the next entry.
    pub(super) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let records = records.iter().copied();
        self.0.append_pax_extensions(records).unwrap();
        self
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// An image in memory: its documents and layers.
pub(super) struct Sample {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    /// As they are stored, the lowest first.
    pub(super) layers: Vec<Vec<u8>>,
}

impl Sample {
    /// Layers are given plain and stored compressed with gzip.
    pub(super) fn new(plain: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<_> = plain
            .iter()
            .map(|layer| digest_of(layer).to_string())
            .collect();
        let config = json!({
            "architecture": super::config::architecture(),
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/app"], "Env": ["A=b"], "Entrypoint": null, "User": "7"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<_> = plain.iter().map(|layer| gzip(layer)).collect();
        let describe = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": kind,
                "digest": digest_of(bytes).to_string(),
                "size": bytes.len(),
            })
        };
        let described: Vec<_> = layers
            .iter()
            .map(|layer| describe("application/vnd.oci.image.layer.v1.tar+gzip", layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": described,
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        digest_of(&self.manifest)
    }

    pub(super) fn blobs(&self) -> Vec<&[u8]> {
        let mut blobs = vec![self.manifest.as_slice(), self.config.as_slice()];
        blobs.extend(self.layers.iter().map(Vec::as_slice));
        blobs
    }

    /// An OCI layout archive. `spoil` may change each blob without changing its name.
    pub(super) fn oci_archive(&self, spoil: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": self.digest().to_string(),
                "size": self.manifest.len(),
                "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/app:1"},
            }],
        });
        let mut tar = Tar::new()
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", index.to_string().as_bytes());
        for blob in self.blobs() {
            if let Some(body) = spoil(blob) {
                let name = format!("blobs/sha256/{}", digest_of(blob).hex());
                tar = tar.file(&name, &body);
            }
        }
        tar.done()
    }
}
