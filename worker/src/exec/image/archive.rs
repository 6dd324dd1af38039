//! `image load`: an archive of images becomes images of the store.
//!
//! The confined child takes the archive apart; here its files are only hashed and given their names.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, linkat, openat2};
use skep_proto::image::Digest;

use super::blob::{self, MAX_DOCUMENT};
use super::config::Document;
use super::error::{Doing, ImageError, malformed};
use super::files::{self, Scratch};
use super::manifest::{LayerPart, Manifest, Part};
use super::store::Store;
use super::unpack::{Kind, Limits, Unpacking};
use super::{docker, layout};

/// Layers unpacked side by side.
const SIDE_BY_SIDE: usize = 2;

/// An image that was loaded or imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// Names that the archive gives it, in their familiar form; may be none.
    pub names: Vec<String>,
    /// Of its manifest.
    pub digest: Digest,
    /// Bytes of manifest, configuration and layers together.
    pub size: u64,
}

/// An image found in an archive: its manifest is in the store, its other parts too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FoundImage {
    pub(super) names: Vec<String>,
    pub(super) manifest: Digest,
}

/// An archive that was taken apart.
#[derive(Debug)]
pub(super) struct Archive {
    root: OwnedFd,
    path: PathBuf,
}

impl Store {
    /// Loads an OCI layout archive or what `docker save` wrote, plain or compressed. Blocks.
    pub fn load(&self, reader: &mut dyn Read) -> Result<Vec<Loaded>, ImageError> {
        let _loading = self.loading();
        let scratch = Scratch::new(&self.scratch())?;
        take_apart(reader, scratch.path())?;
        let archive = Archive::open(scratch.path())?;
        let found = match archive.holds("index.json") {
            true => match layout::load(self, &archive) {
                // docker save may name parts in its index that it did not save.
                Err(ImageError::Missing { .. }) if archive.holds("manifest.json") => {
                    docker::load(self, &archive)?
                }
                other => other?,
            },
            false if archive.holds("manifest.json") => docker::load(self, &archive)?,
            false => return Err(ImageError::NoManifest),
        };
        found
            .into_iter()
            .map(|image| {
                let held = self.complete(image.manifest)?;
                Ok(Loaded {
                    names: image.names,
                    digest: held.digest,
                    size: held.size,
                })
            })
            .collect()
    }

    /// Unpacks what is missing of an image whose blobs are all here.
    pub(super) fn complete(
        &self,
        digest: Digest,
    ) -> Result<std::sync::Arc<super::Held>, ImageError> {
        if let Some(held) = self.image(&digest) {
            return Ok(held);
        }
        let manifest = Manifest::read(&self.document(&digest)?)?;
        let config = Document::read(&self.document(&manifest.config.digest)?)?;
        let layers = manifest.with_config(&config)?;
        for some in layers.chunks(SIDE_BY_SIDE) {
            self.unpack_all(some)?;
        }
        self.seal(digest)
    }

    fn unpack_all(&self, layers: &[LayerPart]) -> Result<(), ImageError> {
        thread::scope(|scope| {
            let threads: Vec<_> = layers
                .iter()
                .map(|layer| scope.spawn(|| self.unpack_layer(&layer.blob.digest, &layer.diff_id)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or(Err(ImageError::Ending { act: "unpack" }))
            })
        })
    }
}

fn take_apart(reader: &mut dyn Read, target: &Path) -> Result<(), ImageError> {
    let unpack_error = |source| ImageError::Unpack {
        what: "the archive".to_owned(),
        source,
    };
    let mut child =
        Unpacking::start(target, Kind::Archive, Limits::default()).map_err(unpack_error)?;
    pour("the archive", reader, &mut child)?;
    child.finish().map(|_| ()).map_err(unpack_error)
}

/// Feeds a child until the stream ends or the child has had enough.
pub(super) fn pour(
    what: &str,
    reader: &mut dyn Read,
    child: &mut Unpacking,
) -> Result<(), ImageError> {
    let read_error = |source| ImageError::Read {
        what: what.to_owned(),
        source,
    };
    let mut buffer = vec![0; 256 << 10];
    while !child.has_refused() {
        let read = match reader.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.map_err(read_error)?,
        };
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        child.write_all(part).map_err(read_error)?;
    }
    Ok(())
}

impl Archive {
    fn open(path: &Path) -> Result<Self, ImageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).doing("open", path)?;
        Ok(Self {
            root,
            path: path.to_owned(),
        })
    }

    /// Opens a regular file of the archive. Links in it are followed, but only inside.
    fn file(&self, name: &str) -> Result<File, ImageError> {
        let missing = || ImageError::Missing {
            what: name.to_owned(),
            place: "the archive".to_owned(),
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = match openat2(&self.root, name, flags, Mode::empty(), inside) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Err(missing()),
            other => other.doing("open", &self.path.join(name))?,
        };
        let stat = fstat(&file).doing("look at", &self.path.join(name))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(missing());
        }
        Ok(File::from(file))
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.file(name).is_ok()
    }

    /// Reads a small file.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        self.file(name)?
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .doing("read", &self.path.join(name))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length == MAX_DOCUMENT) {
            return Err(malformed(name, "it is longer than 8 MiB"));
        }
        Ok(bytes)
    }

    /// Takes a file over into the store, under its digest.
    pub(super) fn adopt(
        &self,
        store: &Store,
        name: &str,
        expected: Option<Digest>,
    ) -> Result<Part, ImageError> {
        let path = self.path.join(name);
        let mut file = self.file(name)?;
        let (digest, size) = blob::hash(&mut file).doing("read", &path)?;
        if let Some(expected) = expected {
            blob::expect(name, expected, digest)?;
        }
        if !store.has_blob(&digest) {
            file.sync_all().doing("make durable", &path)?;
            let fresh = files::fresh_name(&store.scratch());
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(
                rustix::fs::CWD,
                open,
                rustix::fs::CWD,
                &fresh,
                AtFlags::SYMLINK_FOLLOW,
            )
            .doing("link", &fresh)?;
            blob::name_blob(store, &fresh, &digest)?;
        }
        Ok(Part { digest, size })
    }
}
