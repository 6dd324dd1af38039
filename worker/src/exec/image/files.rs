//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Doing, ImageError};

/// Changes a name. All that gives or takes one goes through here, so that tests see the disk before each step.
pub(super) fn change_name<'a, T>(
    path: &'a Path,
    change: impl FnOnce(&'a Path) -> io::Result<T>,
) -> io::Result<T> {
    #[cfg(test)]
    let _still = super::crash_tests::before(path);
    change(path)
}

/// Makes directory entries durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), ImageError> {
    File::open(directory)
        .and_then(|open| open.sync_all())
        .doing("make durable", directory)
}

/// Makes a directory and its parents, readable by root alone.
pub(super) fn make_directory(directory: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .doing("make the directory", directory)
}

/// A name in `directory` that nothing has.
pub(super) fn fresh_name(directory: &Path) -> PathBuf {
    directory.join(format!("{:032x}", rand::random::<u128>()))
}

/// A new file under a fresh name.
pub(super) fn fresh_file(directory: &Path) -> Result<(File, PathBuf), ImageError> {
    let path = fresh_name(directory);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .doing("make the file", &path)?;
    Ok((file, path))
}

/// Writes a small file so that it is there with all of `bytes`, or as before.
pub(super) fn write_whole(scratch: &Path, path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let (mut file, fresh) = fresh_file(scratch)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .doing("write", &fresh)?;
    change_name(path, |path| fs::rename(&fresh, path)).doing("name the file", path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Takes a tree away; it need not be there.
pub(super) fn remove_tree(path: &Path) -> Result<(), ImageError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => change_name(path, fs::remove_dir_all),
        Ok(_) => change_name(path, fs::remove_file),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing("remove", path),
    }
}

/// A directory that is taken away when it is dropped, unless it was renamed.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A fresh directory below `parent`.
    pub(super) fn new(parent: &Path) -> Result<Self, ImageError> {
        use std::os::unix::fs::DirBuilderExt;
        let path = fresh_name(parent);
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .doing("make the directory", &path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.0) {
            tracing::warn!(error = %error, "left over until the next start");
        }
    }
}
