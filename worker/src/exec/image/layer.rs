//! Layers: directories named by the digest of the tar stream that made them.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, XattrFlags, fsetxattr, openat2};
use skep_proto::image::Digest;

use super::blob::expect;
use super::error::{Doing, ImageError};
use super::files::{self, Scratch};
use super::implied;
use super::store::Store;
use super::unpack::{Kind, Limits, Unpacked, Unpacking};

/// A layer that is being unpacked: it has no name yet.
#[derive(Debug)]
pub(super) struct LayerWriter {
    scratch: Scratch,
    unpacking: Unpacking,
}

impl LayerWriter {
    /// For a stream that is written into it.
    pub(super) fn new(store: &Store) -> Result<Self, ImageError> {
        let scratch = Scratch::new(&store.scratch())?;
        let unpacking = Unpacking::start(scratch.path(), Kind::Layer, Limits::default())
            .map_err(|source| unpack_error("a layer", source))?;
        Ok(Self { scratch, unpacking })
    }

    /// The stream's writer.
    pub(super) fn input(&mut self) -> &mut Unpacking {
        &mut self.unpacking
    }

    /// Waits for the child and gives the layer its name, if it is the one that was expected.
    pub(super) fn commit(
        self,
        store: &Store,
        what: &str,
        expected: Option<Digest>,
    ) -> Result<(Digest, Unpacked), ImageError> {
        let unpacked = self
            .unpacking
            .finish()
            .map_err(|source| unpack_error(what, source))?;
        let diff_id = Digest(unpacked.diff_id);
        if let Some(expected) = expected {
            expect(&format!("the unpacked {what}"), expected, diff_id)?;
        }
        let root = self.scratch.path();
        let doing = |result: rustix::io::Result<()>| result.doing("mark directories of", root);
        doing(mark(root, &unpacked.opaque, "trusted.overlay.opaque"))?;
        if !unpacked.implied.is_empty() {
            doing(mark(root, &unpacked.implied, implied::MARK))?;
            doing(mark(root, &[Vec::new()], implied::MARK))?;
        }
        name_layer(store, &self.scratch, diff_id)?;
        Ok((diff_id, unpacked))
    }
}

fn unpack_error(what: &str, source: super::unpack::UnpackError) -> ImageError {
    ImageError::Unpack {
        what: what.to_owned(),
        source,
    }
}

/// Makes a directory durable and gives it its name. One sync of the file system for a whole layer costs
/// less than one for each file.
pub(super) fn name_layer(
    store: &Store,
    scratch: &Scratch,
    diff_id: Digest,
) -> Result<(), ImageError> {
    let root = File::open(scratch.path()).doing("open", scratch.path())?;
    rustix::fs::syncfs(&root).doing("make durable", scratch.path())?;
    let path = store.layer_path(&diff_id);
    match files::change_name(&path, |path| fs::rename(scratch.path(), path)) {
        // Somebody else was faster; the same digest is the same layer.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.doing("name the layer", &path),
    }?;
    path.parent().map_or(Ok(()), files::sync_directory)
}

/// Marks directories for overlayfs or for us: that takes a right which the unpacking child has not.
fn mark(root: &Path, directories: &[Vec<u8>], name: &str) -> rustix::io::Result<()> {
    let root: OwnedFd = rustix::fs::open(
        root,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for path in directories {
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let directory = match openat2(&root, path, flags, Mode::empty(), inside) {
            // It gave way to another entry.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            other => other?,
        };
        fsetxattr(&directory, name, b"y", XattrFlags::empty())?;
    }
    Ok(())
}

impl Store {
    /// Whether a layer is here, unpacked.
    pub(super) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_path(diff_id).is_dir()
    }

    /// Unpacks a blob that is here.
    pub(super) fn unpack_layer(&self, blob: &Digest, diff_id: &Digest) -> Result<(), ImageError> {
        if self.has_layer(diff_id) {
            return Ok(());
        }
        let (file, _) = self.open_blob(blob)?;
        let what = format!("layer {blob}");
        let scratch = Scratch::new(&self.scratch())?;
        let unpacking = Unpacking::start_file(scratch.path(), Kind::Layer, Limits::default(), file)
            .map_err(|source| unpack_error(&what, source))?;
        let writer = LayerWriter { scratch, unpacking };
        writer.commit(self, &what, Some(*diff_id)).map(|_| ())
    }
}
