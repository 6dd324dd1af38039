//! Blobs: files named by the SHA-256 of what is in them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use skep_proto::image::Digest;

use super::error::{Doing, ImageError};
use super::files;
use super::store::Store;

/// The most that a manifest, an index or a configuration may take.
pub(super) const MAX_DOCUMENT: u64 = 8 << 20;

/// A blob that is being written: it has no name yet.
pub(super) struct BlobWriter {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
    named: bool,
}

impl BlobWriter {
    pub(super) fn new(store: &Store) -> Result<Self, ImageError> {
        let (file, path) = files::fresh_file(&store.scratch())?;
        Ok(Self {
            file,
            path,
            hasher: Sha256::new(),
            size: 0,
            named: false,
        })
    }

    /// Gives it its name: what it holds becomes durable first.
    pub(super) fn commit(mut self, store: &Store) -> Result<(Digest, u64), ImageError> {
        let digest = Digest(self.hasher.finalize_reset().into());
        self.file.sync_all().doing("write", &self.path)?;
        name_blob(store, &self.path, &digest)?;
        self.named = true;
        Ok((digest, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size = self
            .size
            .saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.named {
            // What stays is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives a durable, verified file its blob's name.
pub(super) fn name_blob(store: &Store, from: &Path, digest: &Digest) -> Result<(), ImageError> {
    let path = store.blob_path(digest);
    files::change_name(&path, |path| fs::rename(from, path)).doing("name the blob", &path)?;
    path.parent().map_or(Ok(()), files::sync_directory)
}

/// SHA-256 and length of a stream.
pub(super) fn hash(reader: &mut impl Read) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = reader.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            return Ok((Digest(hasher.finalize().into()), size));
        };
        hasher.update(part);
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

/// SHA-256 of some bytes.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Checks a digest.
pub(super) fn expect(what: &str, expected: Digest, found: Digest) -> Result<(), ImageError> {
    if expected == found {
        return Ok(());
    }
    Err(ImageError::WrongDigest {
        what: what.to_owned(),
        expected,
        found,
    })
}

impl Store {
    /// Whether a blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Opens a blob, with its length.
    pub fn open_blob(&self, digest: &Digest) -> Result<(File, u64), ImageError> {
        let path = self.blob_path(digest);
        let file = File::open(&path).doing("open the blob", &path)?;
        let size = file.metadata().doing("look at the blob", &path)?.len();
        Ok((file, size))
    }

    /// Reads a document (manifest, configuration), checking it once more.
    pub(super) fn document(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let (file, _) = self.open_blob(digest)?;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .doing("read the blob", &self.blob_path(digest))?;
        expect("a kept blob", *digest, digest_of(&bytes))?;
        Ok(bytes)
    }

    /// Keeps a document.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = digest_of(bytes);
        if !self.has_blob(&digest) {
            files::write_whole(&self.scratch(), &self.blob_path(&digest), bytes)?;
        }
        Ok(digest)
    }
}
