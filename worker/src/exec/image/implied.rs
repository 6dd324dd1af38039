//! Directories that a layer has something in and does not name: a lower layer says whose they are, how they are entered
//! and when they changed. Overlayfs would show them as unpacking made them, so an image that has such directories gets
//! one more layer on top, of these directories alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use skep_proto::image::Digest;

use super::error::{Doing, ImageError};
use super::files::Scratch;
use super::layer;
use super::store::Store;

/// Marks such a directory, and the root of a layer that has one. Overlayfs shows no container names that begin so.
pub(super) const MARK: &str = "trusted.overlay.skep.implied";
const OPAQUE: &str = "trusted.overlay.opaque";
/// The longest value of an extended attribute of a directory.
const MAX_VALUE: usize = 64 << 10;

/// What a layer says of a directory.
enum Says {
    /// Nothing; below it others may.
    Nothing,
    /// All that lower layers say is hidden.
    Hides,
    /// It is there, and named.
    Named,
    /// It is there without having been named.
    Implied,
}

impl Store {
    /// The layer to be put on top of these, the topmost first, if they need one. It is made where it is missing.
    pub(super) fn implied_layer(
        &self,
        diff_ids: &[Digest],
        layers: &[PathBuf],
    ) -> Result<Option<Digest>, ImageError> {
        let mut marked = layers.iter().map(|layer| has(layer, MARK));
        if !marked.any(|marked| marked) {
            return Ok(None);
        }
        // The same layers in the same order are the same below every image.
        let mut hasher = Sha256::new_with_prefix(b"implied directories of");
        for diff_id in diff_ids {
            hasher.update(diff_id.0);
        }
        let name = Digest(hasher.finalize().into());
        if self.has_layer(&name) {
            return Ok(Some(name));
        }
        let found = find(layers).doing("look for implied directories in", self.root())?;
        if found.is_empty() {
            return Ok(None);
        }
        let scratch = Scratch::new(&self.scratch())?;
        make(scratch.path(), &found).doing("make implied directories in", scratch.path())?;
        layer::name_layer(self, &scratch, name)?;
        Ok(Some(name))
    }
}

fn has(path: &Path, attribute: &str) -> bool {
    rustix::fs::lgetxattr(path, attribute, &mut [0_u8; 16][..]).is_ok()
}

/// Directories that are to be shown as another layer has them, and those above them: where each of them is shown from.
fn find(layers: &[PathBuf]) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let mut implied = BTreeSet::new();
    for layer in layers.iter().filter(|layer| has(layer, MARK)) {
        walk(layer, Path::new(""), &mut implied)?;
    }
    let mut found = BTreeMap::new();
    for path in implied {
        let Some((shown, Says::Implied)) = first(layers, &path)? else {
            continue;
        };
        if shown == source(layers, &path)? {
            continue;
        }
        let above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        for path in above {
            found.insert(path.to_owned(), source(layers, path)?);
        }
    }
    Ok(found)
}

/// Paths of marked directories below one, which is itself none: it is the layer's root.
fn walk(layer: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(layer.join(below))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let path = below.join(entry.file_name());
        if has(&entry.path(), MARK) {
            found.insert(path.clone());
        }
        walk(layer, &path, found)?;
    }
    Ok(())
}

/// The topmost layer's directory at `path`, and whether that layer names it.
fn first(layers: &[PathBuf], path: &Path) -> io::Result<Option<(PathBuf, Says)>> {
    for layer in layers {
        match says(layer, path)?.0 {
            Says::Nothing => {}
            Says::Hides => return Ok(None),
            said => return Ok(Some((layer.join(path), said))),
        }
    }
    Ok(None)
}

/// The directory that says what is true of `path`: of the topmost layer that names it, else the topmost there is.
fn source(layers: &[PathBuf], path: &Path) -> io::Result<PathBuf> {
    let mut topmost = None;
    for layer in layers {
        let (said, hides) = says(layer, path)?;
        match said {
            Says::Nothing => {}
            Says::Hides => break,
            Says::Named => return Ok(layer.join(path)),
            Says::Implied => {
                topmost.get_or_insert_with(|| layer.join(path));
            }
        }
        if hides {
            break;
        }
    }
    topmost.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What a layer says of `path`, and whether it hides what lower layers say.
fn says(layer: &Path, path: &Path) -> io::Result<(Says, bool)> {
    let (mut at, mut hides) = (layer.to_owned(), false);
    for part in path.components() {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let said = if hides { Says::Hides } else { Says::Nothing };
                return Ok((said, hides));
            }
            Ok(about) if !about.is_dir() => return Ok((Says::Hides, true)),
            other => other.map(|_| ())?,
        }
        hides |= has(&at, OPAQUE);
    }
    let said = if has(&at, MARK) {
        Says::Implied
    } else {
        Says::Named
    };
    Ok((said, hides))
}

/// Makes directories below `root` as others are; parents come before what is in them.
fn make(root: &Path, found: &BTreeMap<PathBuf, PathBuf>) -> io::Result<()> {
    for (path, from) in found {
        let at = root.join(path);
        let about = fs::symlink_metadata(from)?;
        DirBuilder::new().mode(0o700).create(&at)?;
        chown(&at, Some(about.uid()), Some(about.gid()))?;
        fs::set_permissions(&at, Permissions::from_mode(about.mode() & 0o7777))?;
        copy_attributes(from, &at)?;
    }
    // Making something in a directory changes its times.
    for (path, from) in found.iter().rev() {
        let about = fs::symlink_metadata(from)?;
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: time(about.atime(), about.atime_nsec()),
            last_modification: time(about.mtime(), about.mtime_nsec()),
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(CWD, root.join(path), &times, flags)?;
    }
    Ok(())
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; MAX_VALUE];
    let length = rustix::fs::llistxattr(from, &mut names[..])?;
    for name in names
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
    {
        if name.is_empty() || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; MAX_VALUE];
        let length = match rustix::fs::lgetxattr(from, name, &mut value[..]) {
            // A security module's own, which only it may say.
            Err(Errno::OPNOTSUPP | Errno::NODATA) => continue,
            other => other?,
        };
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::lsetxattr(to, name, value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}
