//! The worker as whoever starts it sees it: put together here, taken apart here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_netd::{LinuxKernel, NetError, Netd};
use skep_proto::ids::{NodeId, RequestId};
use skep_proto::image::Image;
use skep_proto::node::Role;
use skep_proto::wire::{WireId, v1};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agent::{Agent, AgentError};
use crate::blobs::{BlobServer, Peers};
use crate::db::{Db, DbError};
use crate::dial::Dial;
use crate::drill::{self, Again, Drills, Means};
use crate::exec::ExecError;
use crate::exec::container::ContainerExec;
use crate::exec::containers;
use crate::exec::image::registry::Registries;
use crate::exec::image::{ImageError, Store};
use crate::exec::runtime::{Runtime, RuntimeError, RuntimePaths};
use crate::report::Outbox;
use crate::session::{Session, Told};
use crate::streams::StreamServer;
use crate::volumes::{VolumeError, Volumes};

/// For the tasks of a node that leaves to end.
const LEAVING: Duration = Duration::from_secs(60);
/// For the session to say that the daemon stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a worker is started with.
#[derive(Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// What outlives the machine's restart, such as `/var/lib/skep`. The worker uses `images`, `containers`
    /// and `worker.redb` below it.
    pub data_root: PathBuf,
    /// What does not, such as `/run/skep`. The worker uses `exec`, `files`, `netns` and `net` below it.
    pub exec_root: PathBuf,
    /// The control group below which containers are, such as `skep`.
    pub cgroup_parent: PathBuf,
    /// Labels of this node's daemon.
    pub labels: BTreeMap<String, String>,
    /// What this node has of other things that tasks can reserve, by kind.
    pub generic: BTreeMap<String, u64>,
    /// Managers to try besides those that are remembered.
    pub managers: Vec<SocketAddr>,
    /// Port at which other nodes find this one's door.
    pub door: u16,
    /// How to reach other nodes.
    pub dial: Dial,
    /// How to reach registries.
    pub registries: Registries,
    /// This node's volumes, open already: they are there without a cluster.
    pub volumes: Volumes,
    /// Starts the daemon again, for a drill.
    pub again: Again,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("node", &self.node)
            .field("data_root", &self.data_root)
            .field("exec_root", &self.exec_root)
            .field("managers", &self.managers)
            .finish_non_exhaustive()
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its images.
    #[error("cannot open the image store")]
    Images(#[from] ImageError),
    /// Its containers.
    #[error("cannot open the container runtime")]
    Runtime(#[from] RuntimeError),
    /// Its networks.
    #[error("cannot open the node's networks")]
    Net(#[from] NetError),
    /// The kernel's networks.
    #[error("cannot reach the kernel's network stack")]
    Kernel(#[from] skep_netd::KernelError),
    /// What it remembers.
    #[error("cannot open what the worker remembers")]
    Db(#[from] DbError),
    /// Its volumes.
    #[error("cannot open the volumes")]
    Volumes(#[from] VolumeError),
    /// The built-in image.
    #[error("cannot make containers ready: {0}")]
    Exec(#[from] ExecError),
    /// What a former daemon left.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// It was stopped meanwhile.
    #[error("the daemon is ending")]
    Ending,
}

type Containers = ContainerExec<Peers>;

/// A worker that runs.
pub struct Worker {
    agent: Arc<Agent<Containers, LinuxKernel>>,
    drills: Arc<Drills<Containers, LinuxKernel>>,
    store: Store,
    outbox: Arc<Outbox>,
    db: Db,
    stopping: watch::Sender<bool>,
    connected: watch::Receiver<Option<SocketAddr>>,
    told: watch::Receiver<Told>,
    session: JoinHandle<()>,
    data_root: PathBuf,
    dial: Dial,
    streams: StreamServer,
}

impl Worker {
    /// Takes up what a former daemon left, then holds sessions with managers. `store` is this node's, open
    /// already: images can be loaded without a cluster.
    ///
    /// # Errors
    /// When something on this machine is not as it must be; then nothing was changed.
    pub async fn start(config: Config, store: Store) -> Result<Self, WorkerError> {
        let (connected, seen) = watch::channel(None);
        let peers = Peers::new(Arc::clone(&config.dial), seen.clone());
        let db = {
            let root = config.data_root.clone();
            off_runtime(move || Ok(Db::open(&root)?)).await?
        };
        let exec = {
            let (config, store, peers) = (config.clone(), store.clone(), peers.clone());
            Arc::new(off_runtime(move || open_exec(&config, store, peers)).await?)
        };
        let kernel = Arc::new(LinuxKernel::open(&config.exec_root.join("netns"))?);
        let records = config.exec_root.join("net");
        let netd = Arc::new(Netd::open(kernel, skep_netd::Config::new(records)).await?);
        let outbox = Arc::new(Outbox::default());
        outbox.volumes(config.volumes.names()?);
        let agent = Agent::open(
            config.node,
            Arc::clone(&exec),
            netd,
            db.clone(),
            Arc::clone(&outbox),
        )
        .await?;
        let means = Means {
            again: config.again,
            cutter: drill::cutter(),
            data_root: config.data_root.clone(),
        };
        let drills = Drills::open(&agent, &db, means).await?;
        let managers = known_managers(&db, &config.managers)?;
        let (stopping, stop) = watch::channel(false);
        let (told, heard) = watch::channel(Told {
            managers: managers.clone(),
            ..Told::default()
        });
        let dial = Arc::clone(&config.dial);
        let streams = StreamServer::new(exec.shared(), heard.clone());
        let session = Session {
            agent: Arc::clone(&agent),
            drills: Arc::clone(&drills),
            exec,
            outbox: Arc::clone(&outbox),
            db: db.clone(),
            dial: config.dial,
            peers,
            labels: config.labels,
            generic: config.generic,
            door: config.door,
            managers,
            stopping: stop,
            connected,
            told,
        };
        Ok(Self {
            agent,
            drills,
            store,
            outbox,
            db,
            stopping,
            connected: seen,
            told: heard,
            session: tokio::spawn(session.run()),
            data_root: config.data_root,
            dial,
            streams,
        })
    }

    /// Where a node's store of images is below its data root.
    ///
    /// # Errors
    /// When it cannot be opened, or another daemon has it.
    pub fn open_store(data_root: &std::path::Path) -> Result<Store, WorkerError> {
        Ok(Store::open(&data_root.join("images"))?)
    }

    /// Where a node's volumes are below its data root.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn open_volumes(data_root: &std::path::Path) -> Result<Volumes, WorkerError> {
        Ok(Volumes::open(&data_root.join("volumes"))?)
    }

    /// Tells managers which volumes are here now.
    pub fn volumes_changed(&self, names: Vec<String>) {
        self.outbox.volumes(names);
    }

    /// This node's images. After a load or an import, `images_changed` tells managers.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Tells managers which images are here now.
    pub fn images_changed(&self) {
        let images = self.store.images();
        self.outbox
            .images(images.iter().map(|image| image.digest).collect());
    }

    /// Makes the name of an image known in the cluster that this node holds.
    ///
    /// # Errors
    /// `Unavailable` while there is no leader: then it may be repeated, with the same request.
    pub async fn name_image(
        &self,
        request: RequestId,
        image: &Image,
    ) -> Result<tonic::Response<()>, tonic::Status> {
        let unreachable = |error| tonic::Status::unavailable(format!("no manager: {error}"));
        let leader = *self.connected.borrow();
        let leader = leader.ok_or_else(|| unreachable("this node has no session".to_owned()))?;
        let channel = (self.dial)(leader, Some(Role::Manager)).await;
        let channel = channel.map_err(|error| unreachable(error.to_string()))?;
        let message = v1::NameImageRequest {
            request: request.to_bytes(),
            image: Some(image.into()),
        };
        let mut client = v1::dispatch_client::DispatchClient::new(channel);
        Ok(client.name_image(message).await?.map(|_| ()))
    }

    /// Gives this node's blobs to others: to be served with the node's other services.
    pub fn blobs(&self) -> BlobServer {
        BlobServer::new(self.store.clone())
    }

    /// Shows this node's containers to users and managers: to be served with the node's other services.
    pub fn streams(&self) -> StreamServer {
        self.streams.clone()
    }

    /// This node's containers, to be looked at.
    pub fn containers(&self) -> containers::Containers {
        self.streams.containers().clone()
    }

    /// The manager of the present session.
    pub fn connected(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.connected.clone()
    }

    /// Where managers are, and what this node is in the cluster, as managers said last.
    pub fn told(&self) -> watch::Receiver<Told> {
        self.told.clone()
    }

    /// Leaves the cluster: every task ends, and what was remembered of the cluster goes.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn leave(self) -> Result<(), WorkerError> {
        self.session.abort();
        self.drills.stop().await;
        match self.agent.give_up(LEAVING).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("some tasks did not end in {LEAVING:?}"),
            Err(error) => tracing::warn!(%error, "tasks could not be told to end"),
        }
        self.agent.stop().await;
        let Self {
            agent,
            drills,
            db,
            data_root,
            ..
        } = self;
        drop((agent, drills));
        db.close().await;
        Ok(Db::forget(&data_root)?)
    }

    /// Says that the daemon stops in order to start again, and ends. Containers go on; another worker may be
    /// started with the same directories afterwards.
    pub async fn shutdown(mut self) {
        self.stopping.send_replace(true);
        if tokio::time::timeout(FAREWELL, &mut self.session)
            .await
            .is_err()
        {
            self.session.abort();
            let _ = (&mut self.session).await;
        }
        self.drills.stop().await;
        self.agent.stop().await;
        let Self {
            agent, drills, db, ..
        } = self;
        drop((agent, drills));
        db.close().await;
    }
}

/// Managers that are remembered, and those to try besides.
fn known_managers(db: &Db, further: &[SocketAddr]) -> Result<Vec<SocketAddr>, DbError> {
    let mut managers = db.managers()?;
    for one in further {
        if !managers.contains(one) {
            managers.push(*one);
        }
    }
    Ok(managers)
}

fn open_exec(config: &Config, store: Store, peers: Peers) -> Result<Containers, WorkerError> {
    let runtime = Runtime::open(RuntimePaths {
        exec_root: config.exec_root.join("exec"),
        state_root: config.data_root.join("containers"),
        cgroup_parent: config.cgroup_parent.clone(),
    })?;
    let files = config.exec_root.join("files");
    let (registries, volumes) = (config.registries.clone(), config.volumes.clone());
    Ok(ContainerExec::open(
        store, peers, registries, runtime, files, volumes,
    )?)
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkerError> + Send + 'static,
) -> Result<T, WorkerError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(WorkerError::Ending))
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
