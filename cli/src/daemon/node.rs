//! The daemon's life: in no cluster, in one, out again.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use skep_manager::Manager;
use skep_proto::channel::{Credentials, Identity};
use skep_proto::cluster::ClusterSpec;
use skep_proto::ids::{ClusterId, NodeId, RequestId};
use skep_proto::image::{BUILT_IN, Image};
use skep_proto::node::Role;
use skep_proto::wire::v1::control_client::ControlClient;
use skep_proto::wire::{WireId, v1};
use skep_worker::db::Db;
use skep_worker::exec::image::{Store, registry::Registries};
use skep_worker::volumes::Volumes;
use skep_worker::{Dial, Worker, dial, identity};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::membership::Membership;
use super::serve::Door;
use super::streams::Streams;
use super::{address, again, founding, joining, serve};

mod gauges;
mod images;
mod local_images;
mod machine;
mod place;
mod registry;
mod revival;
mod stored;
mod volumes;

pub use local_images::Gone;

/// The manager's directory in the data root.
const MANAGER: &str = "manager";
/// The control group below which containers are.
const CGROUP: &str = "skep";

pub use skep_manager::UserDoor;

/// The daemon's life.
pub struct Node {
    config: Config,
    store: Store,
    registries: Registries,
    volumes: Volumes,
    phase: Mutex<Phase>,
    /// The door of this node's manager, also while the phase is being changed.
    door: RwLock<Option<UserDoor>>,
    pub(super) streams: Streams,
    fatal: watch::Sender<Option<String>>,
}

enum Phase {
    /// In no cluster.
    Inactive,
    /// In one.
    Active(Box<Active>),
}

/// What runs while the node is in a cluster.
struct Active {
    membership: Membership,
    identity: Identity,
    manager: Option<Manager>,
    worker: Worker,
    door: Door,
    stop: CancellationToken,
}

/// What `swarm init` made.
pub struct Made {
    /// This node.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// To join as a worker.
    pub worker_token: String,
    /// To join as a manager.
    pub manager_token: String,
    /// Where other nodes reach this one.
    pub advertise: SocketAddr,
}

/// What `swarm join` led to.
pub struct Joined {
    /// This node.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// What it is there.
    pub role: Role,
}

impl Node {
    /// Opens what is stored; a node that is in a cluster takes part again.
    ///
    /// # Errors
    /// Names what cannot be opened; nothing is thrown away.
    pub async fn open(config: Config) -> anyhow::Result<Arc<Self>> {
        let store = Worker::open_store(&config.data_root).context("cannot open the images")?;
        let volumes = Worker::open_volumes(&config.data_root)?;
        let node = Arc::new(Self {
            store,
            registries: Registries::new(config.registries.clone()),
            volumes,
            phase: Mutex::new(Phase::Inactive),
            door: RwLock::new(None),
            streams: Streams::default(),
            fatal: watch::Sender::new(None),
            config,
        });
        if let Some(membership) = Membership::load(&node.config.data_root)? {
            // What a daemon that was killed while it went on alone has left.
            skep_manager::revival::forget(&node.config.data_root.join(MANAGER))?;
            let held = identity::load(&node.config.data_root)?;
            let held = held.context("this node's certificate is gone: restore the data root, or leave the cluster and join it again")?;
            let listener = serve::listen(membership.listen).await?;
            let mut phase = node.phase.lock().await;
            let active = node.clone().take_part(membership, &held, listener).await?;
            *phase = Phase::Active(Box::new(active));
        } else {
            node.sweep()?;
        }
        Ok(node)
    }

    /// Removes what an `init` or `join` that was cut short has left.
    fn sweep(&self) -> anyhow::Result<()> {
        identity::forget(&self.config.data_root)?;
        Db::forget(&self.config.data_root)?;
        let manager = self.config.data_root.join(MANAGER);
        skep_manager::revival::forget(&manager)?;
        stored::remove(&manager)
    }

    /// Starts all that runs in a cluster.
    async fn take_part(
        self: Arc<Self>,
        membership: Membership,
        held: &Credentials,
        listener: TcpListener,
    ) -> anyhow::Result<Active> {
        let identity = Identity::new(held)?;
        let manager = match membership.raft {
            None => None,
            Some(raft) => Some(
                Manager::start(skep_manager::Config {
                    directory: self.config.data_root.join(MANAGER),
                    node: membership.node,
                    raft,
                    identity: identity.clone(),
                    resolver: self.resolver(),
                })
                .await?,
            ),
        };
        self.complete(membership, identity, manager, listener).await
    }

    /// Starts what goes with a manager that runs, or with none.
    async fn complete(
        self: Arc<Self>,
        membership: Membership,
        identity: Identity,
        manager: Option<Manager>,
        listener: TcpListener,
    ) -> anyhow::Result<Active> {
        let stop = CancellationToken::new();
        let dial = dial::by_identity(identity.clone());
        let managers = known_managers(&membership);
        let config = self.worker_config(&membership, managers, dial.clone());
        let worker = Worker::start(config, self.store.clone()).await?;
        let mut active = Active {
            door: Door::new(listener)?,
            membership,
            identity,
            manager,
            worker,
            stop,
        };
        self.open_doors(&mut active)?;
        let renewed = identity::keep_renewed(
            active.identity.clone(),
            dial,
            active.worker.told(),
            self.config.data_root.clone(),
        );
        let placed = self.keep_place(active.worker.told());
        tokio::spawn(active.stop.clone().run_until_cancelled_owned(renewed));
        tokio::spawn(active.stop.clone().run_until_cancelled_owned(placed));
        Ok(active)
    }

    fn worker_config(
        &self,
        membership: &Membership,
        managers: Vec<SocketAddr>,
        dial: Dial,
    ) -> skep_worker::Config {
        skep_worker::Config {
            node: membership.node,
            data_root: self.config.data_root.clone(),
            exec_root: self.config.exec_root.clone(),
            cgroup_parent: CGROUP.into(),
            labels: self.config.labels.clone(),
            generic: self.config.generic.clone(),
            managers,
            door: membership.advertise.port(),
            dial,
            registries: self.registries.clone(),
            volumes: self.volumes.clone(),
            again: Arc::new(again::again),
        }
    }

    async fn watch_manager(
        self: Arc<Self>,
        mut fatal: watch::Receiver<Option<Arc<str>>>,
        stop: CancellationToken,
    ) {
        let reason = tokio::select! {
            reason = fatal.wait_for(Option::is_some) => reason.ok().and_then(|reason| reason.clone()),
            () = stop.cancelled() => None,
        };
        if let Some(reason) = reason {
            self.fatal.send_replace(Some(reason.to_string()));
        }
    }

    /// Waits for a reason that the daemon cannot go on.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        let reason = fatal.wait_for(Option::is_some).await;
        reason
            .ok()
            .and_then(|reason| reason.clone())
            .unwrap_or_default()
    }

    /// The cluster's door on this node.
    ///
    /// # Errors
    /// A sentence for the user where there is none.
    pub async fn user_door(&self) -> Result<UserDoor, String> {
        let door = || {
            self.door
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        if let Some(door) = door() {
            return Ok(door);
        }
        match &*self.phase.lock().await {
            Phase::Inactive => Err(
                "this node is in no cluster; make one with: skep swarm init, or join one with: \
                 skep swarm join"
                    .into(),
            ),
            Phase::Active(active) => match door() {
                Some(door) => Ok(door),
                None => Err(format!(
                    "this node is a worker; ask a manager instead, such as the one at {}",
                    known_managers(&active.membership).first().map_or_else(
                        || "the address you joined at".to_owned(),
                        |manager| manager.ip().to_string(),
                    )
                )),
            },
        }
    }

    /// Makes a cluster with this node as its first manager.
    ///
    /// # Errors
    /// What is in the way; nothing is left of it then.
    pub async fn init(
        self: &Arc<Self>,
        advertise: Option<SocketAddr>,
        listen: SocketAddr,
        spec: ClusterSpec,
    ) -> anyhow::Result<Made> {
        let mut phase = self.phase.lock().await;
        self.must_be_inactive(&phase)?;
        self.sweep()?;
        let advertise = address::choose(advertise, listen.port())?;
        let listener = serve::listen(listen).await?;
        let built_in = self.on_store(|store| store.built_in()).await?;
        let built_in = Image {
            name: BUILT_IN.into(),
            digest: built_in.digest,
            size: built_in.size,
        };
        let plan = founding::prepare(advertise, spec, vec![built_in])?;
        let membership = Membership {
            cluster: plan.founding.cluster.id,
            node: plan.founding.node.id,
            raft: Some(plan.raft),
            advertise,
            listen,
            managers: vec![advertise],
        };
        let identity = Identity::new(&plan.credentials)?;
        let manager = Manager::start(skep_manager::Config {
            directory: self.config.data_root.join(MANAGER),
            node: membership.node,
            raft: plan.raft,
            identity: identity.clone(),
            resolver: self.resolver(),
        })
        .await?;
        let (worker_token, manager_token) = plan.tokens();
        let plan_credentials = plan.credentials;
        manager.found(plan.founding).await?;
        identity::store(&self.config.data_root, &plan_credentials)?;
        membership.save(&self.config.data_root)?;
        let (node, cluster) = (membership.node, membership.cluster);
        let active = self
            .clone()
            .complete(membership, identity, Some(manager), listener)
            .await?;
        *phase = Phase::Active(Box::new(active));
        Ok(Made {
            node,
            cluster,
            worker_token,
            manager_token,
            advertise,
        })
    }

    /// Joins the cluster of a token.
    ///
    /// # Errors
    /// What is in the way; nothing is left of it here then.
    pub async fn join(
        self: &Arc<Self>,
        token: &str,
        managers: Vec<SocketAddr>,
        (advertise, listen): (Option<SocketAddr>, SocketAddr),
        labels: std::collections::BTreeMap<String, String>,
    ) -> anyhow::Result<Joined> {
        let mut phase = self.phase.lock().await;
        self.must_be_inactive(&phase)?;
        self.sweep()?;
        if let Some(asked) = advertise {
            address::choose(Some(asked), listen.port())?;
        }
        let listener = serve::listen(listen).await?;
        let granted = joining::ask(token, &managers, advertise, listen.port(), labels).await?;
        let membership = joining::membership(&granted, advertise, listen)?;
        identity::store(&self.config.data_root, &granted.credentials)?;
        let active = self
            .clone()
            .take_part(membership.clone(), &granted.credentials, listener)
            .await?;
        if let Some(manager) = &active.manager {
            joining::until_member(manager).await?;
        }
        membership.save(&self.config.data_root)?;
        *phase = Phase::Active(Box::new(active));
        Ok(Joined {
            node: membership.node,
            cluster: membership.cluster,
            role: granted.role,
        })
    }

    fn must_be_inactive(&self, phase: &Phase) -> anyhow::Result<()> {
        match phase {
            Phase::Inactive => Ok(()),
            Phase::Active(active) => bail!(
                "this node is in cluster {} already; to leave it: skep swarm leave{}",
                active.membership.cluster,
                if active.manager.is_some() {
                    " --force"
                } else {
                    ""
                }
            ),
        }
    }

    /// Leaves the cluster. A manager goes out of the Raft group first; with `force` also where that cannot be.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn leave(self: &Arc<Self>, force: bool) -> anyhow::Result<()> {
        let mut phase = self.phase.lock().await;
        let Phase::Active(active) = &*phase else {
            bail!("this node is in no cluster");
        };
        if active.manager.is_some() {
            let removed = self.leave_group(active.membership.node, force).await;
            match removed {
                Err(error) if force => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "left without the others' consent"
                    );
                }
                other => other?,
            }
        }
        // From here on a crash leads to a node that is in no cluster.
        Membership::forget(&self.config.data_root)?;
        *self.door.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.streams.close();
        if let Phase::Active(active) = std::mem::replace(&mut *phase, Phase::Inactive) {
            active.stop.cancel();
            active.worker.leave().await?;
            if let Some(manager) = active.manager {
                manager.stop().await;
            }
        }
        self.sweep()
    }

    async fn leave_group(&self, node: NodeId, force: bool) -> anyhow::Result<()> {
        let door = self
            .door
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let control = ControlClient::new(door.context("this node's manager is not there")?);
        let message = v1::RemoveManagerRequest {
            request: RequestId::new(rand::random()).to_bytes(),
            reference: node.to_string(),
            force,
        };
        crate::commands::client::persist(|| {
            let (mut control, message) = (control.clone(), message.clone());
            async move { control.remove_manager(message).await }
        })
        .await?;
        Ok(())
    }

    /// Stops taking part, as a daemon does that is to start again: containers stay, leadership is handed over.
    pub async fn stop(&self) {
        let phase = std::mem::replace(&mut *self.phase.lock().await, Phase::Inactive);
        if let Phase::Active(active) = phase {
            active.worker.shutdown().await;
            active.stop.cancel();
            if let Some(manager) = active.manager {
                manager.stop().await;
            }
        }
    }
}

/// Managers to ask first: a manager's own worker asks its own manager, which knows who leads.
fn known_managers(membership: &Membership) -> Vec<SocketAddr> {
    let own = membership.raft.map(|_| membership.advertise);
    own.into_iter()
        .chain(membership.managers.iter().copied())
        .collect()
}
