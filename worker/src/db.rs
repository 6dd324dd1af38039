//! What this node remembers over a restart: its last assignment, how tasks ended, which managers there are.
//!
//! What a supervisor knows (that a container runs, how it ended) is not written twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use skep_proto::assignment::Assignment;
use skep_proto::file::{FileId, FileKind};
use skep_proto::ids::TaskId;
use skep_proto::time::WallTime;
use skep_proto::wire::v1;

use crate::drill::DrillRecord;
use crate::health::Known;
use crate::step::{Cause, Checked, Ending, Local, Moment, Stage};

const FILE: &str = "worker.redb";
/// Of every record in it; it stands in front of each.
const VERSION: u8 = 1;

const SINGLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("single");
const TASKS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("tasks");

/// For the last writes to end.
const CLOSING: Duration = Duration::from_secs(5);

const ASSIGNMENT: &str = "assignment";
const MANAGERS: &str = "managers";
const DRILL: &str = "drill";

/// Why something is not remembered.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database says no.
    #[error("cannot {act} in the worker's database: {source}")]
    Database {
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: Box<redb::Error>,
    },
    /// A record that a later release wrote, or a damaged one.
    #[error(
        "the worker's database holds {what} that this release cannot read ({reason}): \
         start the release that wrote it"
    )]
    Unreadable {
        /// Which record.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The daemon ends.
    #[error("the daemon is ending")]
    Ending,
}

fn failed<E: Into<redb::Error>>(act: &'static str) -> impl FnOnce(E) -> DbError {
    move |error| DbError::Database {
        act,
        source: Box::new(error.into()),
    }
}

/// The database; clones are the same one.
#[derive(Clone, Debug)]
pub struct Db(Arc<Database>);

/// What is kept of a task: that it was told to end, and how it ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct TaskRecord {
    since_ms: u64,
    stopped: bool,
    killed: bool,
    ending: Option<EndingRecord>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct EndingRecord {
    cause: CauseRecord,
    error: String,
    removed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum CauseRecord {
    Exited(i32),
    CouldNotBegin,
    Cancelled,
    Lost,
}

/// What later releases keep of a task, behind its record: earlier ones pass over it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct HealthRecord {
    well: bool,
    unwell: Option<String>,
}

impl HealthRecord {
    fn of(local: &Local) -> Self {
        Self {
            well: local.health.is_well(),
            unwell: local.unwell.clone(),
        }
    }
}

/// What the release after that keeps behind both: which secrets and configs its container shows, by id and revision,
/// never what is in them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct FilesRecord {
    secrets: Vec<(u128, u64)>,
    configs: Vec<(u128, u64)>,
}

impl FilesRecord {
    fn of(local: &Local) -> Self {
        let mut record = Self::default();
        for (file, revision) in &local.files {
            match file {
                FileId::Secret(id) => record.secrets.push((id.bits(), *revision)),
                FileId::Config(id) => record.configs.push((id.bits(), *revision)),
            }
        }
        record
    }

    fn files(self) -> BTreeMap<FileId, u64> {
        let file = |kind| move |(bits, revision)| (FileId::new(kind, bits), revision);
        let secrets = self.secrets.into_iter().map(file(FileKind::Secret));
        let configs = self.configs.into_iter().map(file(FileKind::Config));
        secrets.chain(configs).collect()
    }
}

impl TaskRecord {
    fn of(local: &Local) -> Self {
        let ending = match &local.stage {
            Stage::Ended(ending) => Some((ending, false)),
            Stage::Removed(ending) => Some((ending, true)),
            _ => None,
        };
        Self {
            since_ms: local.since.unix_millis(),
            stopped: local.stopped.is_some(),
            killed: local.killed,
            ending: ending.map(|(ending, removed)| EndingRecord {
                cause: match ending.cause {
                    Cause::Exited(code) => CauseRecord::Exited(code),
                    Cause::CouldNotBegin => CauseRecord::CouldNotBegin,
                    Cause::Cancelled => CauseRecord::Cancelled,
                    Cause::Lost => CauseRecord::Lost,
                },
                error: ending.error.clone(),
                removed,
            }),
        }
    }

    fn local(self, health: HealthRecord, files: FilesRecord, now: Moment) -> Local {
        let stage = self.ending.map_or(Stage::Absent, |record| {
            let ending = Ending {
                cause: match record.cause {
                    CauseRecord::Exited(code) => Cause::Exited(code),
                    CauseRecord::CouldNotBegin => Cause::CouldNotBegin,
                    CauseRecord::Cancelled => Cause::Cancelled,
                    CauseRecord::Lost => Cause::Lost,
                },
                error: record.error,
            };
            match record.removed {
                true => Stage::Removed(ending),
                false => Stage::Ended(ending),
            }
        });
        Local {
            stage,
            since: WallTime::from_unix_millis(self.since_ms),
            settled: false,
            // The grace begins anew: nobody knows how long the daemon was away.
            stopped: self.stopped.then_some(now),
            killed: self.killed,
            lacking: None,
            note: String::new(),
            health: Checked::Unknown(match health.well {
                true => Known::Well,
                false => Known::Nothing,
            }),
            unwell: health.unwell,
            files: files.files(),
            contents: BTreeSet::new(),
        }
    }
}

impl Db {
    /// Removes what a worker remembered below `root`; nothing happens where there is nothing.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(root: &Path) -> Result<(), DbError> {
        match std::fs::remove_file(root.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("forget the cluster")(redb::Error::Io(error)))
            }
            _ => Ok(()),
        }
    }

    /// Opens or makes the database below `root`.
    pub fn open(root: &Path) -> Result<Self, DbError> {
        let database = Database::create(root.join(FILE)).map_err(failed("open"))?;
        let writing = database.begin_write().map_err(failed("make tables"))?;
        writing.open_table(SINGLE).map_err(failed("make tables"))?;
        writing.open_table(TASKS).map_err(failed("make tables"))?;
        writing.commit().map_err(failed("make tables"))?;
        Ok(Self(Arc::new(database)))
    }

    /// Waits until nobody uses the database any more, so that it can be opened again. To be called on the last
    /// one in use; what was being written may take a moment still.
    pub async fn close(self) {
        let database = Arc::downgrade(&self.0);
        drop(self);
        let closed = async {
            while database.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(CLOSING, closed).await.is_err() {
            tracing::warn!("the worker's database is still in use");
        }
    }

    /// Keeps the assignment: it is durable when this returns.
    pub async fn keep_assignment(&self, assignment: &Assignment) -> Result<(), DbError> {
        let mut message = v1::Assignment::from(assignment);
        // Passwords are not written down here: after a restart managers say them again.
        for task in &mut message.tasks {
            task.registry_auth = None;
        }
        self.put(ASSIGNMENT, message.encode_to_vec()).await
    }

    /// The last assignment.
    pub fn assignment(&self) -> Result<Option<Assignment>, DbError> {
        let unreadable = |reason: String| DbError::Unreadable {
            what: "an assignment",
            reason,
        };
        self.get(ASSIGNMENT)?
            .map(|bytes| {
                let message = v1::Assignment::decode(bytes.as_slice())
                    .map_err(|error| unreadable(error.to_string()))?;
                Assignment::try_from(message).map_err(|error| unreadable(error.to_string()))
            })
            .transpose()
    }

    /// Keeps where managers are.
    pub async fn keep_managers(&self, managers: &[SocketAddr]) -> Result<(), DbError> {
        let bytes = postcard::to_stdvec(managers).map_err(|error| DbError::Unreadable {
            what: "managers",
            reason: error.to_string(),
        })?;
        self.put(MANAGERS, bytes).await
    }

    /// Where managers were.
    pub fn managers(&self) -> Result<Vec<SocketAddr>, DbError> {
        let bytes = self.get(MANAGERS)?;
        bytes.map_or(Ok(Vec::new()), |bytes| {
            postcard::from_bytes(&bytes).map_err(|error| DbError::Unreadable {
                what: "managers",
                reason: error.to_string(),
            })
        })
    }

    /// Keeps the last drill: it is durable when this returns.
    pub(crate) async fn keep_drill(&self, record: &DrillRecord) -> Result<(), DbError> {
        let bytes = postcard::to_stdvec(record).map_err(|error| DbError::Unreadable {
            what: "a drill",
            reason: error.to_string(),
        })?;
        self.put(DRILL, bytes).await
    }

    /// The last drill; none where another release wrote it down in another form: no drill outlives its daemon.
    pub(crate) fn drill(&self) -> Result<Option<DrillRecord>, DbError> {
        let read = |bytes: Vec<u8>| match postcard::from_bytes(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(%error, "what is written down of the last drill cannot be read");
                None
            }
        };
        Ok(self.get(DRILL)?.and_then(read))
    }

    /// Keeps what no supervisor knows of a task.
    pub async fn keep_task(&self, task: TaskId, local: &Local) -> Result<(), DbError> {
        let record = postcard::to_stdvec(&(
            TaskRecord::of(local),
            HealthRecord::of(local),
            FilesRecord::of(local),
        ));
        let mut bytes = record.map_err(|error| DbError::Unreadable {
            what: "a task",
            reason: error.to_string(),
        })?;
        bytes.insert(0, VERSION);
        self.write("keep a task", move |writing| {
            let mut table = writing.open_table(TASKS)?;
            table.insert(task.bits(), bytes.as_slice())?;
            Ok(())
        })
        .await
    }

    /// Forgets a task.
    pub async fn forget_task(&self, task: TaskId) -> Result<(), DbError> {
        self.write("forget a task", move |writing| {
            let mut table = writing.open_table(TASKS)?;
            table.remove(task.bits())?;
            Ok(())
        })
        .await
    }

    /// What is kept of all tasks.
    pub fn tasks(&self, now: Moment) -> Result<Vec<(TaskId, Local)>, DbError> {
        let read = || -> Result<Vec<(u128, Vec<u8>)>, redb::Error> {
            let table = self.0.begin_read()?.open_table(TASKS)?;
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (task, record) = entry?;
                found.push((task.value(), record.value().to_vec()));
            }
            Ok(found)
        };
        let unreadable = |reason: String| DbError::Unreadable {
            what: "a task",
            reason,
        };
        read()
            .map_err(failed("read tasks"))?
            .into_iter()
            .map(|(task, bytes)| {
                let bytes = versioned(&bytes, "a task")?;
                let record = postcard::take_from_bytes::<TaskRecord>(bytes);
                let (record, rest) = record.map_err(|error| unreadable(error.to_string()))?;
                // A record of before has nothing behind it.
                let (health, rest) = behind::<HealthRecord>(rest).map_err(unreadable)?;
                let (files, _) = behind::<FilesRecord>(rest).map_err(unreadable)?;
                Ok((TaskId::new(task), record.local(health, files, now)))
            })
            .collect()
    }

    async fn put(&self, key: &'static str, mut bytes: Vec<u8>) -> Result<(), DbError> {
        bytes.insert(0, VERSION);
        self.write("keep a record", move |writing| {
            let mut table = writing.open_table(SINGLE)?;
            table.insert(key, bytes.as_slice())?;
            Ok(())
        })
        .await
    }

    fn get(&self, key: &'static str) -> Result<Option<Vec<u8>>, DbError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.0.begin_read()?.open_table(SINGLE)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        let found = read().map_err(failed("read a record"))?;
        found
            .map(|bytes| versioned(&bytes, "a record").map(<[u8]>::to_vec))
            .transpose()
    }

    async fn write(
        &self,
        act: &'static str,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error> + Send + 'static,
    ) -> Result<(), DbError> {
        let database = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || {
            let writing = database.begin_write()?;
            work(&writing)?;
            writing.commit().map_err(redb::Error::from)
        });
        written
            .await
            .map_err(|_| DbError::Ending)?
            .map_err(failed(act))
    }
}

/// What later releases wrote behind a record, and what is behind that; earlier ones wrote nothing.
fn behind<'a, T: Default + Deserialize<'a>>(rest: &'a [u8]) -> Result<(T, &'a [u8]), String> {
    if rest.is_empty() {
        return Ok((T::default(), rest));
    }
    postcard::take_from_bytes(rest).map_err(|error| error.to_string())
}

fn versioned<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], DbError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        other => Err(DbError::Unreadable {
            what,
            reason: match other {
                Some((version, _)) => format!("version {version}"),
                None => "empty".to_owned(),
            },
        }),
    }
}

#[cfg(test)]
#[path = "db_tests.rs"]
mod tests;
