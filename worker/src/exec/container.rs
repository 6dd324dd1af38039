//! The real [`Exec`]: image, bundle and runtime put together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_proto::assignment::AssignedTask;
use skep_proto::ids::TaskId;
use skep_proto::image::Digest;
use skep_proto::time::WallTime;
use tokio::sync::Semaphore;

use super::bundle::{Attachment, ContainerPlan, Network, Resources, RootSource, User};
use super::image::registry::Registries;
use super::image::{ImageConfig, Rootfs, Source, Store};
use super::obtain::Origins;
use super::runtime::{Container, Ended, ExecPlan, RunEnd, Runtime, State};
use super::{Exec, ExecError, Exit, Found, FoundStage};

/// Files that each container gets of its own, and where.
const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];
/// Where netd answers in every container.
const RESOLVER: &str = "nameserver 127.0.0.11\noptions ndots:0\n";
/// Digits of the task's id that make a host name.
const HOSTNAME: usize = 12;
/// Containers made at once: making one is work for the kernel, more at once only wait for each other.
const MAKING: usize = 4;

/// Containers of this node.
pub struct ContainerExec<S> {
    store: Store,
    origins: Origins<S>,
    runtime: Runtime,
    /// Below the exec root: `TASK/{hostname,hosts,resolv.conf}`.
    files: PathBuf,
    containers: Mutex<BTreeMap<TaskId, Container>>,
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
    ) -> Result<Self, ExecError> {
        let built_in = store
            .built_in()
            .map_err(|error| ExecError::from_chain(&error))?;
        fs::create_dir_all(&files)
            .map_err(|error| ExecError::new(format!("cannot make {}: {error}", files.display())))?;
        Ok(Self {
            origins: Origins::new(store.clone(), source, registries, built_in.digest),
            store,
            runtime,
            files,
            containers: Mutex::default(),
            making: Semaphore::new(MAKING),
        })
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<TaskId, Container>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, task: TaskId) -> Result<Container, ExecError> {
        let found = self.containers().get(&task).cloned();
        found.ok_or_else(|| ExecError::new(format!("task {task} has no container")))
    }

    /// Takes away what belongs to no container.
    async fn sweep(&self) -> Result<(), ExecError> {
        let known: Vec<TaskId> = self.containers().keys().copied().collect();
        let (store, files) = (self.store.clone(), self.files.clone());
        off_runtime(move || {
            let orphans = store
                .rootfs_tasks()
                .map_err(|error| ExecError::from_chain(&error))?;
            for task in orphans.into_iter().filter(|task| !known.contains(task)) {
                release(&store, &files, task)?;
            }
            Ok(())
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
        let (store, files) = (self.store.clone(), self.files.clone());
        let (owned, netns) = (task.clone(), netns.to_owned());
        let _turn = self.making.acquire().await;
        let planned = off_runtime(move || {
            let rootfs = store
                .prepare_rootfs(owned.id, &digest)
                .map_err(|error| ExecError::from_chain(&error))?;
            plan(&owned, &rootfs, &files.join(owned.id.to_string()), netns)
        });
        let made = match planned.await {
            Ok(plan) => self.runtime.create(&plan.bundle()).await.map_err(chain),
            Err(error) => Err(error),
        };
        match made {
            Ok(container) => {
                self.containers().insert(task.id, container);
                Ok(())
            }
            Err(error) => {
                let (store, files, id) = (self.store.clone(), self.files.clone(), task.id);
                if let Err(left) = off_runtime(move || release(&store, &files, id)).await {
                    tracing::warn!(task.id = %id, error = %left, "left over of a failed container");
                }
                Err(error)
            }
        }
    }

    async fn start(&self, task: TaskId) -> Result<i32, ExecError> {
        let container = self.container(task)?;
        container.start().await.map_err(chain)?;
        Ok(container.pid().unwrap_or_default())
    }

    async fn signal(&self, task: TaskId, signal: Option<i32>) -> Result<(), ExecError> {
        let container = self.container(task)?;
        let signal = signal.unwrap_or_else(|| container.stop_signal());
        container.kill(signal).await.map_err(chain)
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
        let (store, files) = (self.store.clone(), self.files.clone());
        off_runtime(move || release(&store, &files, task)).await?;
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
            found.push(Found {
                task,
                since: wall(since),
                stage,
            });
        }
        self.sweep().await?;
        Ok(found)
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

fn release(store: &Store, files: &Path, task: TaskId) -> Result<(), ExecError> {
    store
        .release(task)
        .map_err(|error| ExecError::from_chain(&error))?;
    let directory = files.join(task.to_string());
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ExecError::new(format!(
            "cannot remove {}: {error}",
            directory.display()
        ))),
        _ => Ok(()),
    }
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

/// What the container is to be. Reads and writes small files.
fn plan(
    task: &AssignedTask,
    rootfs: &Rootfs,
    files: &Path,
    netns: PathBuf,
) -> Result<ContainerPlan, ExecError> {
    let (spec, image) = (&task.spec.container, &rootfs.image.config);
    let root = RootSource::Overlay {
        lower: rootfs.lower.clone(),
        upper: rootfs.upper.clone(),
        work: rootfs.work.clone(),
    };
    let id = task.id.to_string();
    let hostname = spec
        .hostname
        .clone()
        .unwrap_or_else(|| id.chars().take(HOSTNAME).collect());
    let (user, home) =
        User::find(&root, &image.user).map_err(|error| ExecError::from_chain(&error))?;
    let stop_signal = match image.stop_signal.as_str() {
        "" => libc::SIGTERM,
        name => signal_number(name)
            .ok_or_else(|| ExecError::new(format!("the image's stop signal {name} is unknown")))?,
    };
    let (limits, reservations) = (task.spec.limits, task.spec.reservations);
    let some = |amount: u64| (amount > 0).then_some(amount);
    Ok(ContainerPlan {
        args: arguments(image, &spec.args)?,
        env: environment(image, &spec.env, &hostname, &home),
        cwd: match image.working_dir.as_str() {
            "" => PathBuf::from("/"),
            directory => PathBuf::from(directory),
        },
        user,
        mounts: write_files(files, task, &hostname)?,
        hostname,
        limits: Resources {
            memory_bytes: limits.memory,
            nano_cpus: limits.nano_cpus,
            pids: limits.pids,
        },
        reservations: Resources {
            memory_bytes: some(reservations.memory),
            nano_cpus: some(reservations.nano_cpus),
            pids: None,
        },
        network: Network::Join(netns),
        labels: labels(task),
        stop_signal,
        root,
        id,
        ..ContainerPlan::default()
    })
}

fn labels(task: &AssignedTask) -> BTreeMap<String, String> {
    let mut labels = task.spec.container.labels.clone();
    labels.extend([
        ("skep.task".to_owned(), task.id.to_string()),
        ("skep.task.name".to_owned(), task.container_name()),
        ("skep.service".to_owned(), task.service.to_string()),
        ("skep.service.name".to_owned(), task.service_name.clone()),
    ]);
    labels
}

/// The image's entrypoint, then the service's arguments or else the image's.
fn arguments(image: &ImageConfig, args: &[String]) -> Result<Vec<String>, ExecError> {
    let rest = if args.is_empty() { &image.cmd } else { args };
    let all: Vec<String> = image.entrypoint.iter().chain(rest).cloned().collect();
    if all.is_empty() {
        return Err(ExecError::new(
            "the image names no command: give one behind the image's name",
        ));
    }
    Ok(all)
}

/// Later ones count; each name once.
fn environment(image: &ImageConfig, own: &[String], hostname: &str, home: &str) -> Vec<String> {
    let mut all: Vec<String> = ContainerPlan::default().env;
    all.extend([format!("HOSTNAME={hostname}"), format!("HOME={home}")]);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in image.env.iter().chain(own) {
        all.retain(|known| name(known) != name(entry));
        // A name without a value takes a variable away.
        if entry.contains('=') {
            all.push(entry.clone());
        }
    }
    all
}

/// Numbers and names, with and without SIG.
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    if let Some(offset) = full.strip_prefix("SIGRTMIN+") {
        return offset
            .parse::<i32>()
            .ok()
            .map(|offset| 34 + offset)
            .filter(|number| *number <= 64);
    }
    full.parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

fn write_files(
    directory: &Path,
    task: &AssignedTask,
    hostname: &str,
) -> Result<Vec<Attachment>, ExecError> {
    let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    for attachment in task.attachments.iter().filter(|one| !one.ingress) {
        hosts.push_str(&format!("{}\t{hostname}\n", attachment.address));
    }
    let contents = [format!("{hostname}\n"), hosts, RESOLVER.to_owned()];
    let failed = |path: &Path, error: std::io::Error| {
        ExecError::new(format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    FILES
        .iter()
        .zip(contents)
        .map(|(name, content)| {
            let source = directory.join(name);
            fs::write(&source, content).map_err(|error| failed(&source, error))?;
            Ok(Attachment::Bind {
                source,
                target: Path::new("/etc").join(name),
                read_only: false,
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
