//! Volumes of this node: directories with names that outlive containers.
//!
//! ```text
//! ROOT/NAME/volume.json   what it was made with
//! ROOT/NAME/_data         its content, or where what it stands for is mounted while it is used
//! ROOT/NAME/users/TASK    a file for each task that uses it
//! ```
//!
//! Everything is on disk and nothing in memory, so a daemon that ends at any point leaves what the next one
//! understands: a volume appears and goes by one rename, and one that was being filled is filled again. This room
//! never removes content that was not asked to be removed, save that of a nameless volume, which goes with its task.

mod driver;
mod error;
mod fill;
mod record;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use skep_proto::ids::TaskId;
use skep_proto::spec::VolumeUse;
use skep_proto::time::WallTime;
use skep_proto::validate;

use driver::Wanted;
use error::Doing;
pub use error::VolumeError;
use record::{Place, Record, sync_directory};

/// Names that begin like this are volumes that are being made, or are going.
const MAKING: &str = ".new-";
const GOING: &str = ".gone-";
const VIEW: &str = ".view-";

/// The label of a volume without a name of the user's; Docker's.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The volumes below one directory; clones are the same ones.
#[derive(Clone, Debug)]
pub struct Volumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// One lock for each volume that is being worked on: mounting one may hang as long as its server is away.
    locks: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

/// A volume as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where its content is on this node.
    pub path: PathBuf,
    /// Options of the local driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: WallTime,
    /// It has no name of the user's.
    pub anonymous: bool,
    /// Names of the tasks that use it.
    pub users: Vec<String>,
}

/// What a task asks for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Who asks.
    pub task: TaskId,
    /// Its name, for people.
    pub task_name: &'a str,
    /// What it asks for.
    pub wanted: &'a VolumeUse,
    /// Where it will be in the container.
    pub target: &'a str,
    /// The layers of its image, the topmost first.
    pub layers: &'a [PathBuf],
}

/// What a task got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// The volume.
    pub name: String,
    /// Its content.
    pub path: PathBuf,
    /// Whether it is a new one.
    pub made: Made,
}

/// Whether a volume was there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// It was.
    Before,
    /// It is new and has nothing.
    Empty,
    /// It is new and has what the image has there.
    Filled,
}

impl Volumes {
    /// Opens the volumes below `root`, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Files`].
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o711).create(root);
        made.doing("make the directory", root)?;
        for entry in fs::read_dir(root).doing("list", root)? {
            let path = entry.doing("list", root)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(MAKING) || name.starts_with(GOING) {
                fs::remove_dir_all(&path).doing("remove", &path)?;
            } else if name.starts_with(VIEW) {
                driver::unmount(&path);
                fs::remove_dir(&path).doing("remove", &path)?;
            }
        }
        Ok(Self(Arc::new(Inner {
            root: root.to_owned(),
            locks: Mutex::default(),
        })))
    }

    /// Makes a volume, or finds the one there is. Without a name it gets one. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Other`] if there is one with other options.
    pub fn create(
        &self,
        name: Option<&str>,
        options: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Volume, VolumeError> {
        let (name, mut labels) = (name.map(str::to_owned), labels.clone());
        let name = name.unwrap_or_else(|| {
            labels.insert(ANONYMOUS.to_owned(), String::new());
            format!(
                "{:032x}{:032x}",
                rand::random::<u128>(),
                rand::random::<u128>()
            )
        });
        validate::volume_name("VOLUME", &name)?;
        validate::volume_driver("--opt", None, options)?;
        let lock = self.lock_of(&name);
        let _turn = turn(&lock);
        let place = self.place(&name);
        match place.read() {
            Ok(held) if held.options == *options => {}
            Ok(held) => return Err(other(&name, &held)),
            Err(VolumeError::Unknown(_)) => {
                self.make(&place, options.clone(), labels, None)?;
            }
            Err(error) => return Err(error),
        }
        self.show(&place)
    }

    /// All volumes, by name. One that cannot be read is passed over with a warning. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Files`].
    pub fn list(&self) -> Result<Vec<Volume>, VolumeError> {
        let mut found = Vec::new();
        for place in self.places()? {
            match self.show(&place) {
                Ok(volume) => found.push(volume),
                Err(VolumeError::Unknown(_)) => {}
                Err(error) => tracing::warn!(volume = place.name, %error, "left alone"),
            }
        }
        Ok(found)
    }

    /// Names of the volumes that have one of the user's, ascending. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Files`].
    pub fn names(&self) -> Result<Vec<String>, VolumeError> {
        let all = self.list()?.into_iter();
        Ok(all
            .filter(|volume| !volume.anonymous)
            .map(|volume| volume.name)
            .collect())
    }

    /// One volume. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Unknown`].
    pub fn inspect(&self, name: &str) -> Result<Volume, VolumeError> {
        validate::volume_name("VOLUME", name)?;
        self.show(&self.place(name))
    }

    /// Removes a volume with its content. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::InUse`], [`VolumeError::Unknown`].
    pub fn remove(&self, name: &str) -> Result<(), VolumeError> {
        validate::volume_name("VOLUME", name)?;
        let lock = self.lock_of(name);
        let _turn = turn(&lock);
        let place = self.place(name);
        place.read()?;
        let users = place.used_by()?;
        if !users.is_empty() {
            let users: Vec<String> = users.into_values().collect();
            return Err(VolumeError::InUse {
                name: name.to_owned(),
                users: users.join(", "),
            });
        }
        self.take_away(&place)
    }

    /// Gives a task a volume, which is made, mounted and filled where it has to be. Asked again it gives the same one.
    /// Blocks, and does so for as long as a server of files does not answer.
    ///
    /// # Errors
    /// [`VolumeError`]; the task counts as a user until it is released.
    pub fn acquire(&self, asked: &Asked<'_>) -> Result<Given, VolumeError> {
        let (task, wanted) = (asked.task.to_string(), asked.wanted);
        let name = match &wanted.name {
            Some(name) => name.clone(),
            None => nameless(&task, asked.target),
        };
        validate::volume_name("--mount", &name)?;
        let lock = self.lock_of(&name);
        let _turn = turn(&lock);
        let place = self.place(&name);
        let (mut record, new) = match place.read() {
            Ok(record) => (record, false),
            Err(VolumeError::Unknown(_)) => (self.make_for(&place, asked, &task)?, true),
            Err(error) => return Err(error),
        };
        if !wanted.options.is_empty() && record.options != wanted.options {
            return Err(other(&name, &record));
        }
        place.use_by(&task, asked.task_name)?;
        if let Some(mounted) = Wanted::of(&record.options) {
            mounted.mount(&name, &place.content())?;
        }
        let filled = self.fill(&place, &mut record, asked)?;
        if let Some(subpath) = &wanted.subpath {
            has(&place, subpath)?;
        }
        Ok(Given {
            made: match (new, filled) {
                (false, _) => Made::Before,
                (true, true) => Made::Filled,
                (true, false) => Made::Empty,
            },
            path: place.content(),
            name,
        })
    }

    /// A task needs its volumes no more: those without a name go, what nobody uses is unmounted. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Files`]; it may be repeated.
    pub fn release(&self, task: TaskId) -> Result<(), VolumeError> {
        let task = task.to_string();
        for place in self.places()? {
            if !place.is_used_by(&task) {
                continue;
            }
            let lock = self.lock_of(&place.name);
            let _turn = turn(&lock);
            place.forget_user(&task)?;
            let goes = place
                .read()
                .is_ok_and(|record| record.task.as_ref() == Some(&task));
            if goes {
                self.take_away(&place)?;
            } else if place.used_by()?.is_empty() {
                driver::unmount(&place.content());
            }
        }
        Ok(())
    }

    /// Tasks that use a volume: those that nobody knows any more are to be released. Blocks.
    ///
    /// # Errors
    /// [`VolumeError::Files`].
    pub fn users(&self) -> Result<BTreeSet<TaskId>, VolumeError> {
        let mut found = BTreeSet::new();
        for place in self.places()? {
            let users = place.used_by().unwrap_or_default();
            found.extend(users.keys().filter_map(|task| task.parse::<TaskId>().ok()));
        }
        Ok(found)
    }

    fn place(&self, name: &str) -> Place {
        Place {
            name: name.to_owned(),
            root: self.0.root.join(name),
        }
    }

    fn places(&self) -> Result<Vec<Place>, VolumeError> {
        let root = &self.0.root;
        let mut found = Vec::new();
        for entry in fs::read_dir(root).doing("list", root)? {
            let name = entry.doing("list", root)?.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') {
                found.push(self.place(&name));
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    fn show(&self, place: &Place) -> Result<Volume, VolumeError> {
        let record = place.read()?;
        Ok(Volume {
            name: place.name.clone(),
            path: place.content(),
            options: record.options,
            anonymous: record.task.is_some() || record.labels.contains_key(ANONYMOUS),
            labels: record.labels,
            created: WallTime::from_unix_millis(record.created_ms),
            users: place.used_by()?.into_values().collect(),
        })
    }

    fn make_for(
        &self,
        place: &Place,
        asked: &Asked<'_>,
        task: &str,
    ) -> Result<Record, VolumeError> {
        let mut labels = asked.wanted.labels.clone();
        let goes_with = asked.wanted.name.is_none().then(|| {
            labels.insert(ANONYMOUS.to_owned(), String::new());
            task.to_owned()
        });
        self.make(place, asked.wanted.options.clone(), labels, goes_with)
    }

    /// It is there whole after this, or not at all.
    fn make(
        &self,
        place: &Place,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        task: Option<String>,
    ) -> Result<Record, VolumeError> {
        let now = crate::task::wall_now().unix_millis();
        let record = Record::new(options, labels, now, task);
        let fresh = Place {
            name: place.name.clone(),
            root: self.0.root.join(format!("{MAKING}{}", place.name)),
        };
        if fresh.root.exists() {
            // Of an attempt that failed.
            fs::remove_dir_all(&fresh.root).doing("remove", &fresh.root)?;
        }
        fresh.make(&record)?;
        fs::rename(&fresh.root, &place.root).doing("make the volume", &place.root)?;
        sync_directory(&self.0.root)?;
        Ok(record)
    }

    fn take_away(&self, place: &Place) -> Result<(), VolumeError> {
        driver::unmount(&place.content());
        let gone = self.0.root.join(format!("{GOING}{}", place.name));
        if gone.exists() {
            fs::remove_dir_all(&gone).doing("remove", &gone)?;
        }
        fs::rename(&place.root, &gone).doing("remove the volume", &place.root)?;
        sync_directory(&self.0.root)?;
        fs::remove_dir_all(&gone).doing("remove", &gone)
    }

    /// An empty volume takes what the image has at the target, unless it is told not to.
    fn fill(
        &self,
        place: &Place,
        record: &mut Record,
        asked: &Asked<'_>,
    ) -> Result<bool, VolumeError> {
        let (wanted, content) = (asked.wanted, place.content());
        if wanted.no_copy || wanted.subpath.is_some() {
            return Ok(false);
        }
        if !record.filling && !fill::is_empty(&content).doing("list", &content)? {
            return Ok(false);
        }
        let image = view::open(asked.layers, &self.0.root).doing("show the image in", &content)?;
        record.filling = true;
        place.write(record)?;
        let filled = fill::fill(image.as_fd(), asked.target, &content).doing("fill", &content)?;
        record.filling = false;
        place.write(record)?;
        Ok(filled && !fill::is_empty(&content).doing("list", &content)?)
    }

    fn lock_of(&self, name: &str) -> Arc<Mutex<()>> {
        let mut locks = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(name.to_owned()).or_default())
    }
}

fn turn(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a volume without one: the same for the same task and target.
fn nameless(task: &str, target: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{task}:{target}"));
    data_encoding::HEXLOWER.encode(&digest)
}

fn other(name: &str, held: &Record) -> VolumeError {
    let shown = held
        .options
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let shown: Vec<String> = shown.collect();
    VolumeError::Other {
        name: name.to_owned(),
        held: match shown.is_empty() {
            true => "none".to_owned(),
            false => shown.join(", "),
        },
    }
}

/// That a part of a volume is there; no link leads out of the volume.
fn has(place: &Place, subpath: &str) -> Result<(), VolumeError> {
    let missing = |_| VolumeError::Subpath {
        name: place.name.clone(),
        subpath: subpath.to_owned(),
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let content = place.content();
    let root = rustix::fs::open(&content, flags | OFlags::DIRECTORY, Mode::empty());
    let root = root.doing("open", &content)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(root, subpath, flags, Mode::empty(), resolve);
    found.map(|_| ()).map_err(missing)
}
