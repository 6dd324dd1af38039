//! `image import`: the tar of a root file system becomes an image of one layer.

use std::io::{self, Read, Write};

use skep_proto::image::Digest;

use super::archive::Loaded;
use super::blob::BlobWriter;
use super::config::{Document, ImageConfig};
use super::error::ImageError;
use super::layer::LayerWriter;
use super::manifest::{Manifest, Part};
use super::store::Store;

/// Bytes by which a compressed stream is told.
const HEAD: u64 = 4;

impl Store {
    /// Imports a tar stream, plain or compressed; `config` says how to run it. The digest follows from the
    /// stream and the configuration alone. Blocks.
    pub fn import(
        &self,
        reader: &mut dyn Read,
        config: &ImageConfig,
    ) -> Result<Loaded, ImageError> {
        let what = "the root file system";
        let read_error = |source| ImageError::Read {
            what: what.to_owned(),
            source,
        };
        let _loading = self.loading();
        let mut blob = BlobWriter::new(self)?;
        let mut layer = LayerWriter::new(self)?;
        let mut buffer = vec![0; 256 << 10];
        while !layer.input().has_refused() {
            let read = match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(read_error)?,
            };
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
                break;
            };
            blob.write_all(part).map_err(read_error)?;
            layer.input().write_all(part).map_err(read_error)?;
        }
        let (diff_id, _) = layer.commit(self, what, None)?;
        let (digest, size) = blob.commit(self)?;
        self.of_one_layer(Part { digest, size }, diff_id, config)
    }

    /// An image of a layer whose blob and directory are here.
    pub(super) fn of_one_layer(
        &self,
        layer: Part,
        diff_id: Digest,
        config: &ImageConfig,
    ) -> Result<Loaded, ImageError> {
        let config = Document::write(config, &[diff_id])?;
        let manifest = Manifest {
            config: Part {
                digest: self.put(&config)?,
                size: u64::try_from(config.len()).unwrap_or(u64::MAX),
            },
            layers: vec![layer],
        };
        let bytes = manifest.write(|part| self.compression(&part.digest))?;
        let held = self.seal(self.put(&bytes)?)?;
        Ok(Loaded {
            names: Vec::new(),
            digest: held.digest,
            size: held.size,
        })
    }

    /// How a blob is compressed, as the ending of a layer's media type.
    pub(super) fn compression(&self, digest: &Digest) -> &'static str {
        let mut head = Vec::new();
        let read = self
            .open_blob(digest)
            .map(|(file, _)| file.take(HEAD).read_to_end(&mut head));
        match (read, head.as_slice()) {
            (Ok(Ok(_)), [0x1f, 0x8b, ..]) => "+gzip",
            (Ok(Ok(_)), [0x28, 0xb5, 0x2f, 0xfd]) => "+zstd",
            _ => "",
        }
    }
}
