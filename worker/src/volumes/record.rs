//! What is kept of a volume beside its content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Doing, VolumeError};

/// The shape of a record; a daemon leaves a newer one alone.
const VERSION: u32 = 1;
/// The content.
const CONTENT: &str = "_data";
/// The record.
const RECORD: &str = "volume.json";
/// A file for each task that uses it, which holds the task's name.
const USERS: &str = "users";

/// A volume's record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) options: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    /// When it was made, in milliseconds of the wall clock.
    pub(super) created_ms: u64,
    /// The task with which it goes, for one without a name of the user's.
    pub(super) task: Option<String>,
    /// It was being filled when the daemon ended: the content is not whole.
    pub(super) filling: bool,
}

impl Record {
    pub(super) fn new(
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        created_ms: u64,
        task: Option<String>,
    ) -> Self {
        Self {
            version: VERSION,
            options,
            labels,
            created_ms,
            task,
            filling: false,
        }
    }
}

/// The directory of one volume.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) root: PathBuf,
}

impl Place {
    pub(super) fn content(&self) -> PathBuf {
        self.root.join(CONTENT)
    }

    fn users(&self) -> PathBuf {
        self.root.join(USERS)
    }

    /// Makes all directories below `root`, which has a name that no volume can have.
    pub(super) fn make(&self, record: &Record) -> Result<(), VolumeError> {
        for directory in [&self.root, &self.content(), &self.users()] {
            fs::create_dir(directory).doing("make the directory", directory)?;
        }
        // As Docker has it: users other than root may enter, whatever the daemon's mask.
        let content = self.content();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&content, open).doing("open up", &content)?;
        self.write(record)
    }

    pub(super) fn write(&self, record: &Record) -> Result<(), VolumeError> {
        let (path, fresh) = (self.root.join(RECORD), self.root.join("volume.new"));
        let bytes = serde_json::to_vec_pretty(record).map_err(std::io::Error::from);
        let bytes = bytes.doing("write", &path)?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().doing("write", &path)?;
        sync_directory(&self.root)
    }

    pub(super) fn read(&self) -> Result<Record, VolumeError> {
        let path = self.root.join(RECORD);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.root.exists() => {
                return Err(VolumeError::Unknown(self.name.clone()));
            }
            read => read.doing("read", &path)?,
        };
        let unreadable = |reason: String| VolumeError::Unreadable {
            name: self.name.clone(),
            reason,
            path: self.content(),
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.version > VERSION {
            return Err(unreadable(format!("version {}", record.version)));
        }
        Ok(record)
    }

    /// Tasks that use it, with their names.
    pub(super) fn used_by(&self) -> Result<BTreeMap<String, String>, VolumeError> {
        let directory = self.users();
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&directory).doing("list", &directory)? {
            let path = entry.doing("list", &directory)?.path();
            let task = path.file_name().unwrap_or_default().to_string_lossy();
            let name = fs::read_to_string(&path).unwrap_or_default();
            found.insert(task.into_owned(), name);
        }
        Ok(found)
    }

    pub(super) fn use_by(&self, task: &str, name: &str) -> Result<(), VolumeError> {
        let path = self.users().join(task);
        fs::write(&path, name).doing("write", &path)
    }

    pub(super) fn is_used_by(&self, task: &str) -> bool {
        self.users().join(task).exists()
    }

    pub(super) fn forget_user(&self, task: &str) -> Result<(), VolumeError> {
        let path = self.users().join(task);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).doing("remove", &path)
            }
            _ => Ok(()),
        }
    }
}

/// Makes directory entries durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), VolumeError> {
    File::open(directory)
        .and_then(|open| open.sync_all())
        .doing("make durable", directory)
}
