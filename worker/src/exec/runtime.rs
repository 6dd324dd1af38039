//! The runtime: makes containers from bundles and finds those that a former daemon left.
//!
//! Every container has a supervisor that outlives this daemon; the runtime keeps nothing in memory
//! that could not be found again below its two roots. It fetches no image, attaches no network and
//! knows no task.

mod begin;
mod container;
mod ended;
mod error;
mod launch;
mod place;
mod process;
mod run;
mod terminal;
#[cfg(test)]
mod tests;

pub use container::{Container, State};
pub use ended::Ended;
pub use error::RuntimeError;
pub use launch::PlanError;
pub use process::{
    ExecPlan, Privileges, Process, ProcessControl, ProcessEnd, Reader, Streams, TerminalSize,
    Writer,
};
pub use run::RunEnd;

use super::bundle::Bundle;
use super::cgroup::Cgroups;
use super::seccomp::{self, Filter};
use super::shim::{Connection, Launcher, ShimError};
use container::{lost, read_end};
use oci_spec::runtime::LinuxSeccomp;
use place::{Base, Place, RECORD_VERSION, Record};
use rustix::process::Pid;
use skep_shim::plan::LaunchPlan;
use skep_shim::protocol::{Exit, Reply, Request, Stage};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// How long the making of a container may take; a mount from a dead server hangs for ever.
const CREATION: Duration = Duration::from_secs(30);

/// Where containers live.
#[derive(Clone, Debug)]
pub struct RuntimePaths {
    /// Sockets and mount points; gone after a restart of the machine, such as `/run/skep/exec`.
    pub exec_root: PathBuf,
    /// Records, logs and how containers ended, such as `/var/lib/skep/containers`.
    pub state_root: PathBuf,
    /// The control group below which all are, such as `skep`.
    pub cgroup_parent: PathBuf,
}

/// Makes and finds containers; clones are the same one.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: RuntimePaths,
    cgroups: Cgroups,
    launcher: Launcher,
    /// Nearly all containers have the same policy.
    last_filter: Mutex<Option<(LinuxSeccomp, Filter)>>,
}

impl Runtime {
    /// Opens the runtime and makes its directories and parent groups. Blocks shortly.
    ///
    /// # Errors
    /// [`RuntimeError::Open`], [`RuntimeError::Cgroup`].
    pub fn open(paths: RuntimePaths) -> Result<Self, RuntimeError> {
        for root in [&paths.exec_root, &paths.state_root] {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root);
            let act = || format!("make {}", root.display());
            made.map_err(|source| RuntimeError::Open { act: act(), source })?;
        }
        let cgroups =
            Cgroups::open(&paths.cgroup_parent).map_err(|source| RuntimeError::Cgroup {
                id: "of any name".into(),
                source,
            })?;
        let act = || "put the supervisor into memory".to_owned();
        let launcher =
            Launcher::new().map_err(|source| RuntimeError::Open { act: act(), source })?;
        let last_filter = Mutex::new(None);
        Ok(Self(Arc::new(Inner {
            paths,
            cgroups,
            launcher,
            last_filter,
        })))
    }

    /// Makes a container, up to the point before its program runs.
    ///
    /// It is made or removed to the end even if nobody waits for it any more.
    ///
    /// # Errors
    /// [`RuntimeError`]; nothing of it is left then.
    pub async fn create(&self, bundle: &Bundle) -> Result<Container, RuntimeError> {
        let (inner, bundle) = (Arc::clone(&self.0), bundle.clone());
        let id = bundle.id.clone();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(Ok(unwanted)) = tell.send(inner.create(bundle).await)
                && let Err(error) = unwanted.delete().await
            {
                tracing::warn!(container.id = unwanted.id(), %error, "cannot remove it again");
            }
        });
        told.await.unwrap_or_else(|_| Err(going_down(id)))
    }

    /// Finds what a former daemon left and reconnects to it, ordered by id.
    ///
    /// # Errors
    /// [`RuntimeError::Open`] if the state directory cannot be read. A record that cannot be read
    /// is passed over with a warning.
    pub async fn recover(&self) -> Result<Vec<Container>, RuntimeError> {
        let inner = Arc::clone(&self.0);
        let records = tokio::task::spawn_blocking(move || inner.records()).await;
        let records = records.unwrap_or_else(|error| Err(io::Error::other(error)));
        let act = || format!("read {}", self.0.paths.state_root.display());
        let records = records.map_err(|source| RuntimeError::Open { act: act(), source })?;
        let mut found = Vec::with_capacity(records.len());
        for (record, place) in records {
            found.push(reconnect(record, place).await);
        }
        found.sort_by(|one, other| one.id().cmp(other.id()));
        Ok(found)
    }

    /// The version 2 or version 1 groups that containers get.
    #[must_use]
    pub fn cgroups(&self) -> &Cgroups {
        &self.0.cgroups
    }
}

/// A container up to the point where its supervisor has been started.
struct Prepared {
    record: Record,
    place: Place,
    plan: LaunchPlan,
    supervisor: Pid,
    stream: std::os::unix::net::UnixStream,
}

impl Inner {
    async fn create(self: Arc<Self>, bundle: Bundle) -> Result<Container, RuntimeError> {
        let id = bundle.id.clone();
        let prepared = tokio::task::spawn_blocking(move || self.prepare(&bundle)).await;
        let Ok(prepared) = prepared else {
            let source = io::Error::other("the daemon is going down");
            return Err(RuntimeError::Files {
                act: "make",
                id,
                source,
            });
        };
        let Prepared {
            record,
            place,
            plan,
            supervisor,
            stream,
        } = prepared?;
        let made = async {
            let mut connection = Connection::new(stream)?;
            let reply = connection
                .ask(&Request::Create(Box::new(plan)), CREATION)
                .await?;
            Ok((connection, reply))
        };
        let error = match made.await {
            Ok((connection, Reply::Created { pid })) => {
                let processes = (pid, Some(supervisor));
                return Ok(Container::attach(
                    record.into(),
                    place.into(),
                    processes,
                    connection,
                ));
            }
            Ok((_, Reply::Failed(failure))) => RuntimeError::start(&id, failure),
            Ok(_) => shim_error(&id, ShimError::Garbled),
            Err(source) => shim_error(&id, source),
        };
        let _ = rustix::process::kill_process(supervisor, rustix::process::Signal::KILL);
        super::shim::reap(supervisor).await;
        let gone = lost("it could not be made");
        let rest = Container::past(record.into(), place.into(), Ended::new(&gone, None));
        if let Err(error) = rest.delete().await {
            tracing::warn!(container.id = %id, %error, "something of a failed container is left");
        }
        Err(error)
    }

    fn prepare(&self, bundle: &Bundle) -> Result<Prepared, RuntimeError> {
        let id = &bundle.id;
        check_id(id)?;
        let place = Place::new(&self.paths.exec_root, &self.paths.state_root, id);
        place.make().map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RuntimeError::Exists(id.clone()),
            _ => RuntimeError::Files {
                act: "make the directories of",
                id: id.clone(),
                source,
            },
        })?;
        self.fill(bundle, place.clone()).inspect_err(|_| {
            let _ = place.clear();
        })
    }

    fn fill(&self, bundle: &Bundle, place: Place) -> Result<Prepared, RuntimeError> {
        let id = &bundle.id;
        let limits = launch::limits(&bundle.spec);
        let group = self
            .cgroups
            .make(id, &limits)
            .map_err(|source| RuntimeError::Cgroup {
                id: id.clone(),
                source,
            })?;
        let record = Record {
            version: RECORD_VERSION,
            id: id.clone(),
            labels: bundle.labels.clone(),
            stop_signal: bundle.stop_signal,
            memory_limit: limits.memory_bytes,
            group: group.clone(),
            created_ms: now_ms(),
            program: bundle.spec.process().as_ref().map(Base::of),
            logless: bundle.log.is_none(),
        };
        let started = place
            .write(&record)
            .map_err(|source| RuntimeError::Files {
                act: "write the record of",
                id: id.clone(),
                source,
            })
            .and_then(|()| self.plan(bundle, &place, &record))
            .and_then(|plan| {
                let spawned = self
                    .launcher
                    .spawn()
                    .map_err(|source| shim_error(id, source));
                spawned.map(|(supervisor, stream)| (plan, supervisor, stream))
            });
        match started {
            Ok((plan, supervisor, stream)) => Ok(Prepared {
                record,
                place,
                plan,
                supervisor,
                stream,
            }),
            Err(error) => {
                group.discard();
                Err(error)
            }
        }
    }

    fn plan(
        &self,
        bundle: &Bundle,
        place: &Place,
        record: &Record,
    ) -> Result<LaunchPlan, RuntimeError> {
        let filter = self.filter(bundle).map_err(|source| RuntimeError::Plan {
            id: bundle.id.clone(),
            source: source.into(),
        })?;
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let around = launch::Surroundings {
            place,
            group: &record.group,
            supervisor_files: self.cgroups.supervisor_files(&own),
            visible_hierarchies: &self.cgroups.visible(),
            filter,
        };
        launch::plan(bundle, around)
    }

    fn filter(&self, bundle: &Bundle) -> Result<Filter, seccomp::SeccompError> {
        let linux = bundle.spec.linux().as_ref();
        let Some(policy) = linux.and_then(|linux| linux.seccomp().as_ref()) else {
            return Ok(Filter::default());
        };
        let mut last = self
            .last_filter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((known, filter)) = last.as_ref()
            && known == policy
        {
            return Ok(filter.clone());
        }
        let filter = seccomp::compile(policy)?;
        *last = Some((policy.clone(), filter.clone()));
        Ok(filter)
    }

    fn records(&self) -> io::Result<Vec<(Record, Place)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.paths.state_root)? {
            let name = entry?.file_name();
            let Some(id) = name.to_str() else { continue };
            let place = Place::new(&self.paths.exec_root, &self.paths.state_root, id);
            match place.read() {
                Ok(record) => found.push((record, place)),
                // The daemon ended before it had started a supervisor: there is no process.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.cgroups.discard(id);
                    place.clear()?;
                }
                // It may be of a newer release, and running.
                Err(error) => {
                    tracing::warn!(container.id = id, %error, "leaving a container alone");
                }
            }
        }
        Ok(found)
    }
}

/// Finds the supervisor of a container, or what it left.
async fn reconnect(record: Record, place: Place) -> Container {
    let (record, place) = (Arc::new(record), Arc::new(place));
    let past = |exit: &Exit| {
        let ended = Ended::new(exit, record.memory_limit);
        Container::past(Arc::clone(&record), Arc::clone(&place), ended)
    };
    if let Some(exit) = read_end(&place.ended()) {
        return past(&exit);
    }
    let asked = async {
        let mut connection = Connection::open(&place.socket()).await?;
        let reply = connection.ask(&Request::State, CREATION).await?;
        Ok::<_, ShimError>((connection, reply))
    };
    if let Ok((connection, Reply::State(Stage::Created { pid } | Stage::Running { pid }))) =
        asked.await
    {
        return Container::attach(record, place, (pid, None), connection);
    }
    if let Some(exit) = read_end(&place.ended()) {
        return past(&exit);
    }
    let exit = lost("the container's supervisor is gone; it was killed or the machine restarted");
    if let Err(error) = record.group.kill(CREATION).await {
        tracing::warn!(container.id = %record.id, %error, "cannot end an orphaned container");
    }
    container::leave_end(&place.ended(), &exit);
    past(&exit)
}

fn going_down(id: String) -> RuntimeError {
    let source = io::Error::other("the daemon is going down");
    RuntimeError::Files {
        act: "make",
        id,
        source,
    }
}

fn shim_error(id: &str, source: ShimError) -> RuntimeError {
    RuntimeError::Shim {
        act: "make it",
        id: id.to_owned(),
        source,
    }
}

fn check_id(id: &str) -> Result<(), RuntimeError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // A leading dot or underscore is ours, or the directory itself.
    let first = id
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && id.len() <= 128 && id.bytes().all(fine) {
        return Ok(());
    }
    Err(RuntimeError::Id(id.to_owned()))
}

fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The directories that a runtime uses, for whoever measures or cleans.
impl RuntimePaths {
    /// Paths below one directory, and a parent group of the given name.
    #[must_use]
    pub fn below(root: &Path, cgroup_parent: &Path) -> Self {
        Self {
            exec_root: root.join("exec"),
            state_root: root.join("containers"),
            cgroup_parent: cgroup_parent.to_owned(),
        }
    }
}
