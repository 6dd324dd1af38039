//! The image that every node has: `skep/hello:latest`, made from a program that the daemon carries.

use std::io;

use skep_proto::image::BUILT_IN;

use super::archive::Loaded;
use super::blob;
use super::config::{Document, ImageConfig};
use super::error::{ImageError, malformed};
use super::manifest::{Manifest, Part};
use super::store::Store;

/// The program, as the build script made it.
static PROGRAM: &[u8] = include_bytes!(env!("SKEP_HELLO"));

/// Directories that a container's mounts and programs expect.
const DIRECTORIES: [(&str, u32); 5] = [
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("proc/", 0o555),
    ("sys/", 0o555),
    ("tmp/", 0o1777),
];

const USERS: &[u8] = b"root:x:0:0:root:/:/hello\nnobody:x:65534:65534:nobody:/:/hello\n";
const GROUPS: &[u8] = b"root:x:0:\nnogroup:x:65534:\n";

impl Store {
    /// Makes the image that the daemon carries, `skep/hello:latest`, unless it is here. Blocks.
    pub fn built_in(&self) -> Result<Loaded, ImageError> {
        let made = self.make_built_in(PROGRAM)?;
        self.set_built_in(made.digest);
        if self.named(BUILT_IN) != Some(made.digest) {
            self.set_name(BUILT_IN, made.digest)?;
        }
        Ok(made)
    }

    /// An image of one program, unless it is here. The digest follows from the program alone: it is the
    /// same on every node of the same build. Blocks.
    pub(crate) fn make_built_in(&self, program: &[u8]) -> Result<Loaded, ImageError> {
        let layer = layer(program).map_err(|error| malformed("the built-in image", error))?;
        let config = ImageConfig {
            entrypoint: vec!["/hello".to_owned()],
            env: vec!["PATH=/".to_owned()],
            exposed_ports: [("80/tcp".to_owned(), serde_json::json!({}))].into(),
            ..ImageConfig::default()
        };
        let diff_id = blob::digest_of(&layer);
        let document = Document::write(&config, &[diff_id])?;
        let part = |bytes: &[u8]| Part {
            digest: blob::digest_of(bytes),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        };
        let manifest = Manifest {
            config: part(&document),
            layers: vec![part(&layer)],
        };
        let digest = blob::digest_of(&manifest.write(|_| "")?);
        match self.image(&digest) {
            Some(held) => Ok(Loaded {
                names: Vec::new(),
                digest,
                size: held.size,
            }),
            None => self.import(&mut layer.as_slice(), &config),
        }
    }
}

/// A tar stream with nothing in it that could differ between two machines.
fn layer(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(match path.ends_with('/') {
            true => tar::EntryType::Directory,
            false => tar::EntryType::Regular,
        });
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, path, content)
    };
    add("./", 0o755, &[])?;
    for (path, mode) in DIRECTORIES {
        add(path, mode, &[])?;
    }
    add("etc/group", 0o644, GROUPS)?;
    add("etc/passwd", 0o644, USERS)?;
    add("hello", 0o755, program)?;
    archive.into_inner()
}
