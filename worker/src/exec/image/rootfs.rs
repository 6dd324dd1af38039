//! A container's root file system: its image's layers below, its own files on top.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use skep_proto::ids::TaskId;
use skep_proto::image::Digest;

use super::error::{Doing, ImageError};
use super::files;
use super::store::{Held, Store};

/// Directories of an overlay, not mounted yet: the container's supervisor does that in its own namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rootfs {
    /// The image below.
    pub image: Arc<Held>,
    /// Layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlayfs' own, on the same file system as `upper`.
    pub work: PathBuf,
    /// Where to mount it.
    pub at: PathBuf,
}

const USED: &str = "image";

impl Store {
    /// Makes the directories for a task's root file system, or finds them as they were left. The image
    /// counts as used until `release`, also after a restart.
    pub fn prepare_rootfs(&self, task: TaskId, image: &Digest) -> Result<Rootfs, ImageError> {
        let task = task.to_string();
        let held = self.claim(&task, image)?;
        let place = self.rootfs_path(&task);
        files::make_directory(&place)?;
        let used = place.join(USED);
        fs::write(&used, image.to_string()).doing("write", &used)?;
        let directory = |name: &str| -> Result<PathBuf, ImageError> {
            let path = place.join(name);
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                other => other.doing("make the directory", &path),
            }?;
            Ok(path)
        };
        Ok(Rootfs {
            lower: held.layers.clone(),
            upper: directory("upper")?,
            work: directory("work")?,
            at: directory("root")?,
            image: held,
        })
    }

    /// Takes away what a task wrote; its image is no longer used by it. May be repeated.
    pub fn release(&self, task: TaskId) -> Result<(), ImageError> {
        let task = task.to_string();
        files::remove_tree(&self.rootfs_path(&task))?;
        self.forget_use(&task);
        Ok(())
    }

    /// Tasks whose files are here: those that nobody knows any more are to be released.
    pub fn rootfs_tasks(&self) -> Result<Vec<TaskId>, ImageError> {
        Ok(self
            .rootfs_paths()?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .collect())
    }

    /// Which task uses which image, by what lies on disk.
    pub(super) fn find_uses(&self) -> Result<BTreeMap<String, Digest>, ImageError> {
        let paths = self.rootfs_paths()?;
        Ok(paths
            .iter()
            .filter_map(|path| {
                let task = path.file_name()?.to_str()?.to_owned();
                let digest = fs::read_to_string(path.join(USED)).ok()?.parse().ok()?;
                Some((task, digest))
            })
            .collect())
    }
}
