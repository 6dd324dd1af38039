//! The real [`Exec`]: image, bundle and runtime put together.

mod devices;
mod files;
mod mounts;
mod options;
mod plan;
mod queue;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use skep_proto::assignment::AssignedTask;
use skep_proto::ids::TaskId;
use skep_proto::image::Digest;
use skep_proto::spec::HealthCheck;
use skep_proto::time::WallTime;
use tokio::sync::Semaphore;

use super::containers::Containers;
use super::image::registry::Registries;
use super::image::{Source, Store};
use super::obtain::Origins;
use super::runtime::{Container, Ended, ExecPlan, RunEnd, Runtime, State};
use super::{Exec, ExecError, Exit, Found, FoundStage, GivenFile, shown};
use crate::health::Check;
use crate::measures::measures;
use crate::volumes::Volumes;
use volumes::Acquired;

/// Containers made at once: making one is work for the kernel, more at once only wait for each other.
const MAKING: usize = 4;
/// For a volume to be mounted and filled: as long as an image of some GiB takes to copy.
const MOUNTING: Duration = Duration::from_secs(300);

/// Containers of this node.
pub struct ContainerExec<S> {
    store: Store,
    origins: Origins<S>,
    runtime: Runtime,
    /// Below the exec root: `TASK/{hostname,hosts,resolv.conf}`.
    files: PathBuf,
    volumes: Volumes,
    containers: Containers,
    /// What users are to know of running tasks.
    notes: Mutex<BTreeMap<TaskId, String>>,
    making: Semaphore,
}

impl<S: Source + 'static> ContainerExec<S> {
    /// With images from `store`, fetched as `origins` says where they are missing. Blocks: the built-in image
    /// is made here.
    ///
    /// # Errors
    /// When directories or the built-in image cannot be made.
    pub fn open(
        store: Store,
        source: S,
        registries: Registries,
        runtime: Runtime,
        files: PathBuf,
        volumes: Volumes,
    ) -> Result<Self, ExecError> {
        let built_in = store
            .built_in()
            .map_err(|error| ExecError::from_chain(&error))?;
        files::open(&files)?;
        Ok(Self {
            origins: Origins::new(store.clone(), source, registries, built_in.digest),
            store,
            runtime,
            files,
            volumes,
            containers: Containers::default(),
            notes: Mutex::default(),
            making: Semaphore::new(MAKING),
        })
    }

    /// The containers, for whoever looks at them.
    pub fn shared(&self) -> Containers {
        self.containers.clone()
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<TaskId, Container>> {
        self.containers.lock()
    }

    fn container(&self, task: TaskId) -> Result<Container, ExecError> {
        let found = self.containers().get(&task).cloned();
        found.ok_or_else(|| ExecError::new(format!("task {task} has no container")))
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<TaskId, String>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a task its volumes; a server of files that does not answer is not waited for for ever.
    async fn acquire(&self, task: &AssignedTask, image: Digest) -> Result<Acquired, ExecError> {
        let held = self.store.image(&image);
        let held = held.ok_or_else(|| ExecError::new("the image is not on this node"))?;
        let (owned, known) = (task.clone(), self.volumes.clone());
        let acquired = off_runtime(move || volumes::acquire(&known, &owned, &held));
        let late = tokio::time::timeout(MOUNTING, acquired).await;
        let late = late.unwrap_or_else(|_| {
            let seconds = MOUNTING.as_secs();
            let reason =
                format!("a volume was not ready within {seconds} s: does its server answer?");
            Err(ExecError::new(reason))
        });
        late.inspect(|acquired| {
            if !acquired.note.is_empty() {
                // It stays shown after a restart of the daemon too.
                files::keep_note(&self.files, task.id, &acquired.note);
                self.notes().insert(task.id, acquired.note.clone());
            }
        })
    }

    /// Takes away what belongs to no container.
    async fn sweep(&self) -> Result<(), ExecError> {
        let known: Vec<TaskId> = self.containers().keys().copied().collect();
        let (store, volumes) = (self.store.clone(), self.volumes.clone());
        let orphans = off_runtime(move || {
            let tasks = store.rootfs_tasks();
            let mut tasks = tasks.map_err(|error| ExecError::from_chain(&error))?;
            let users = volumes.users();
            tasks.extend(users.map_err(|error| ExecError::from_chain(&error))?);
            Ok(tasks)
        });
        for task in orphans.await? {
            if !known.contains(&task) {
                self.release(task).await?;
            }
        }
        Ok(())
    }

    /// A container, up to the point before its program runs.
    async fn make(
        &self,
        task: &AssignedTask,
        image: Digest,
        netns: &Path,
    ) -> Result<Container, ExecError> {
        // Before its turn: others need not wait for a server of files.
        let acquired = self.acquire(task, image).await?;
        let (store, files) = (self.store.clone(), self.files.clone());
        let (owned, netns) = (task.clone(), netns.to_owned());
        let _turn = self.making.acquire().await;
        let plan = off_runtime(move || {
            let rootfs = store
                .prepare_rootfs(owned.id, &image)
                .map_err(|error| ExecError::from_chain(&error))?;
            plan::plan(&owned, &rootfs, &files, netns, acquired.given)
        });
        let plan = plan.await?;
        let begin = Instant::now();
        let container = self.runtime.create(&plan.bundle()).await.map_err(chain)?;
        measures().creations.observe(begin.elapsed().as_secs_f64());
        Ok(container)
    }

    /// Takes away all that a task without a container has here.
    async fn release(&self, task: TaskId) -> Result<(), ExecError> {
        let (store, files) = (self.store.clone(), self.files.clone());
        let volumes = self.volumes.clone();
        self.notes().remove(&task);
        off_runtime(move || {
            let released = store.release(task);
            released.map_err(|error| ExecError::from_chain(&error))?;
            let released = volumes.release(task);
            released.map_err(|error| ExecError::from_chain(&error))?;
            files::remove(&files, task)
        })
        .await
    }
}

impl<S: Source + 'static> Exec for ContainerExec<S> {
    async fn fetch(&self, task: &AssignedTask) -> Result<(), ExecError> {
        self.origins.obtain(task).await
    }

    async fn create(&self, task: &AssignedTask, netns: &Path) -> Result<(), ExecError> {
        let digest = self.origins.obtained(task).await?;
        match self.make(task, digest, netns).await {
            Ok(container) => {
                self.containers().insert(task.id, container);
                Ok(())
            }
            Err(error) => {
                if let Err(left) = self.release(task.id).await {
                    tracing::warn!(task.id = %task.id, error = %left, "left over of a failed container");
                }
                Err(error)
            }
        }
    }

    async fn give(&self, task: TaskId, given: Vec<GivenFile>) -> Result<(), ExecError> {
        let container = self.container(task)?;
        let gone = || ExecError::new(format!("task {task} has no process"));
        let inside = shown::open(container.pid().ok_or_else(gone)?)?;
        // It is there now, so it was when its number was looked up.
        match container.state().await.map_err(chain)? {
            State::Created | State::Running => {}
            State::Ended(_) => return Err(gone()),
        }
        off_runtime(move || shown::show(&inside, &given)).await
    }

    async fn start(&self, task: TaskId) -> Result<i32, ExecError> {
        let container = self.container(task)?;
        let begin = Instant::now();
        container.start().await.map_err(chain)?;
        measures().starts.observe(begin.elapsed().as_secs_f64());
        Ok(container.pid().unwrap_or_default())
    }

    async fn signal(&self, task: TaskId, signal: Option<i32>) -> Result<(), ExecError> {
        let container = self.container(task)?;
        let signal = signal.unwrap_or_else(|| container.stop_signal());
        container.kill(signal).await.map_err(chain)
    }

    async fn waiting(&self, task: TaskId) -> usize {
        let Some(pid) = self.container(task).ok().and_then(|it| it.pid()) else {
            return 0;
        };
        let counted = tokio::task::spawn_blocking(move || queue::of_process(pid)).await;
        counted.unwrap_or_default()
    }

    async fn kill(&self, task: TaskId) -> Result<(), ExecError> {
        self.container(task)?
            .kill(libc::SIGKILL)
            .await
            .map_err(chain)
    }

    async fn wait(&self, task: TaskId) -> Exit {
        match self.container(task) {
            Ok(container) => exit(&container.wait().await),
            Err(error) => Exit {
                code: None,
                at: wall(SystemTime::now()),
                error: error.to_string(),
            },
        }
    }

    async fn run(
        &self,
        task: TaskId,
        plan: &ExecPlan,
        within: Duration,
        keep: usize,
    ) -> Result<RunEnd, ExecError> {
        let container = self.container(task)?;
        container.run(plan, within, keep).await.map_err(chain)
    }

    async fn remove(&self, task: TaskId) -> Result<(), ExecError> {
        if let Ok(container) = self.container(task) {
            container.delete().await.map_err(chain)?;
        }
        self.release(task).await?;
        self.containers().remove(&task);
        Ok(())
    }

    async fn recover(&self) -> Result<Vec<Found>, ExecError> {
        let mut found = Vec::new();
        for container in self.runtime.recover().await.map_err(chain)? {
            let Ok(task) = container.id().parse::<TaskId>() else {
                tracing::warn!(
                    container.id = container.id(),
                    "a container of nobody is left alone"
                );
                continue;
            };
            let (stage, since) = match container.state().await.map_err(chain)? {
                State::Created => (FoundStage::Created, SystemTime::now()),
                State::Running => {
                    let pid = container.pid().unwrap_or_default();
                    (FoundStage::Running { pid }, SystemTime::now())
                }
                State::Ended(ended) => (FoundStage::Ended(exit(&ended)), ended.at),
            };
            self.containers().insert(task, container);
            if let Some(note) = files::note(&self.files, task) {
                self.notes().insert(task, note);
            }
            found.push(Found {
                task,
                since: wall(since),
                stage,
            });
        }
        self.sweep().await?;
        Ok(found)
    }

    fn note(&self, task: TaskId) -> String {
        self.notes().get(&task).cloned().unwrap_or_default()
    }

    async fn check(&self, task: &AssignedTask) -> Option<Check> {
        let digest = self.origins.obtained(task).await.ok();
        let held = digest.and_then(|digest| self.store.image(&digest));
        let image = held.and_then(|held| held.config.healthcheck.as_ref().map(HealthCheck::from));
        Check::of(task.spec.container.health.as_ref(), image.as_ref())
    }

    fn volumes(&self) -> Vec<String> {
        self.volumes.names().unwrap_or_else(|error| {
            tracing::warn!(%error, "the volumes of this node cannot be listed");
            Vec::new()
        })
    }

    fn images(&self) -> Vec<Digest> {
        self.store
            .images()
            .iter()
            .map(|image| image.digest)
            .collect()
    }
}

fn chain(error: super::runtime::RuntimeError) -> ExecError {
    ExecError::from_chain(&error)
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExecError> + Send + 'static,
) -> Result<T, ExecError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(ExecError::new("the daemon is ending")))
}

fn exit(ended: &Ended) -> Exit {
    Exit {
        code: Some(ended.code),
        at: wall(ended.at),
        error: ended.reason.clone().unwrap_or_default(),
    }
}

fn wall(time: SystemTime) -> WallTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
