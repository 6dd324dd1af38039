//! Images made by tests: their documents, as an archive or as a registry keeps them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of plain or compressed layers.
pub struct OciImage {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// From the lowest up, as they are fetched.
    pub layers: Vec<Vec<u8>>,
}

/// Architecture of this machine, as images name it.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// SHA-256 in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl OciImage {
    /// Of plain layers; `config` is the object of that name in an image's configuration.
    pub fn new(layers: Vec<Vec<u8>>, config: Value) -> Self {
        let ids = layers.iter().map(|layer| hex(layer)).collect();
        Self::compressed(layers, ids, "", config)
    }

    /// Of layers that are compressed, with the SHA-256 of each stream and the ending of their media type.
    pub fn compressed(layers: Vec<Vec<u8>>, ids: Vec<String>, ending: &str, config: Value) -> Self {
        let ids: Vec<String> = ids.iter().map(|id| format!("sha256:{id}")).collect();
        let document = json!({
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = document.to_string().into_bytes();
        let kind = format!("{LAYER}{ending}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": named(CONFIG, &config),
            "layers": layers.iter().map(|layer| named(&kind, layer)).collect::<Vec<_>>(),
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers,
        }
    }

    /// Of its manifest, as `sha256:…`.
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.manifest))
    }

    fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        [&self.config].into_iter().chain(&self.layers)
    }

    /// An OCI layout in a tar archive, with this name.
    pub fn archive(&self, name: &str) -> Vec<u8> {
        let mut entry = named(MANIFEST, &self.manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let mut files = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), index.into_bytes()),
        ];
        for blob in self.blobs().chain([&self.manifest]) {
            files.push((format!("blobs/sha256/{}", hex(blob)), blob.clone()));
        }
        tar(&files)
    }

    /// Puts it where docker-registry looks, below its root directory, as `REPOSITORY:TAG`.
    ///
    /// # Panics
    /// When files cannot be written.
    pub fn put(&self, root: &Path, repository: &str, tag: &str) {
        let root = root.join("docker/registry/v2");
        let place = root.join("repositories").join(repository);
        let write = |path: &Path, content: &[u8]| {
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, content).expect("a file of the registry");
        };
        for blob in self.blobs().chain([&self.manifest]) {
            let hex = hex(blob);
            let path = root.join("blobs/sha256").join(&hex[..2]).join(&hex);
            write(&path.join("data"), blob);
        }
        for blob in self.blobs() {
            let hex = hex(blob);
            let link = format!("sha256:{hex}");
            write(
                &place.join("_layers/sha256").join(&hex).join("link"),
                link.as_bytes(),
            );
        }
        let (digest, hex) = (self.digest(), hex(&self.manifest));
        for path in [
            format!("_manifests/revisions/sha256/{hex}/link"),
            format!("_manifests/tags/{tag}/current/link"),
            format!("_manifests/tags/{tag}/index/sha256/{hex}/link"),
        ] {
            write(&place.join(path), digest.as_bytes());
        }
    }
}

fn named(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()})
}

/// A tar stream of regular files that anybody may run.
///
/// # Panics
/// When a path cannot stand in a tar.
pub fn tar(files: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut stream = tar::Builder::new(Vec::new());
    for (path, body) in files {
        let body = body.as_ref();
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(u64::try_from(body.len()).expect("a length"));
        let added = stream.append_data(&mut header, path.as_ref(), body);
        added.expect("a path that can stand in a tar");
    }
    stream.into_inner().expect("memory takes all")
}
