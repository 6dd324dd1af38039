//! How a node goes on as the only manager: from a backup, or with what it has.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, bail};
use skep_manager::revival::{self, Backup, Survivor};
use skep_manager::{Manager, ca};
use skep_proto::channel::{Credentials, JoinToken, Peer, Stamp, csr};
use skep_proto::cluster::Cluster;
use skep_proto::ids::{NodeId, RaftId};
use skep_proto::image::{BUILT_IN, Image};
use skep_proto::node::Role;
use skep_worker::identity;

use super::{Active, MANAGER, Made, Node, Phase};
use crate::daemon::membership::Membership;
use crate::daemon::{address, founding, serve};

impl Node {
    /// All that the cluster has acknowledged.
    ///
    /// # Errors
    /// When this node is no manager, or no majority answers.
    pub async fn backup(&self) -> anyhow::Result<Backup> {
        let phase = self.phase.lock().await;
        let Phase::Active(active) = &*phase else {
            bail!("this node is in no cluster: there is nothing to keep");
        };
        let manager = active.manager.as_ref();
        let manager = manager
            .context("this node is a worker; make the backup on a manager of the cluster")?;
        Ok(manager.backup().await?)
    }

    /// Goes on with the cluster of `backup`, with this node, new in it, as its only manager.
    ///
    /// # Errors
    /// What is in the way; nothing is left of it then.
    pub async fn restore(
        self: &Arc<Self>,
        backup: Backup,
        advertise: Option<SocketAddr>,
        listen: SocketAddr,
    ) -> anyhow::Result<Made> {
        let cluster = backup.cluster().cloned();
        let cluster = cluster.context("there is no cluster in the backup")?;
        let mut phase = self.phase.lock().await;
        if let Phase::Active(active) = &*phase {
            bail!(
                "this node is in cluster {} and the backup is of cluster {}: restore it on a node that is in no \
                 cluster, or leave first with: skep swarm leave --force",
                active.membership.cluster,
                cluster.id
            );
        }
        self.sweep()?;
        let advertise = address::choose(advertise, listen.port())?;
        let listener = serve::listen(listen).await?;
        let raft = RaftId(rand::random());
        let (node, credentials) = new_node(&cluster, raft)?;
        let built_in = self.on_store(|store| store.built_in()).await?;
        let built_in = Image {
            name: BUILT_IN.into(),
            digest: built_in.digest,
            size: built_in.size,
        };
        let membership = Membership {
            cluster: cluster.id,
            node,
            raft: Some(raft),
            advertise,
            listen,
            managers: vec![advertise],
        };
        let survivor = Survivor {
            node: Arc::new(founding::first_node(
                node,
                skep_manager::wall_time(),
                advertise,
            )),
            raft,
            address: advertise,
            images: vec![built_in],
            asked: "swarm restore",
        };
        let directory = self.config.data_root.join(MANAGER);
        revival::restore(&directory, backup, survivor).await?;
        identity::store(&self.config.data_root, &credentials)?;
        let active = self
            .clone()
            .take_part(membership.clone(), &credentials, listener);
        let active = alone(active.await?).await?;
        membership.save(&self.config.data_root)?;
        *phase = Phase::Active(Box::new(active));
        Ok(made(&cluster, &membership))
    }

    /// Goes on alone with what this manager has; its containers stay.
    ///
    /// # Errors
    /// What is in the way. Where it fails after the manager was stopped, the daemon cannot go on: it says so, ends,
    /// and finds at its next start either what was before or what was to be.
    pub async fn force_new_cluster(
        self: &Arc<Self>,
        advertise: Option<SocketAddr>,
    ) -> anyhow::Result<Made> {
        let mut phase = self.phase.lock().await;
        let mut membership = match &*phase {
            Phase::Inactive => bail!(
                "this node is in no cluster: there is nothing to go on with; make one with: skep swarm init"
            ),
            Phase::Active(active) if active.manager.is_none() => bail!(
                "this node is a worker: only a manager knows the cluster; run it on one, or restore a backup"
            ),
            Phase::Active(active) => active.membership.clone(),
        };
        if let Some(asked) = advertise {
            // Its port stays: it goes on listening where it does.
            let port = membership.listen.port();
            let asked = SocketAddr::new(asked.ip(), port);
            membership.advertise = address::choose(Some(asked), port)?;
        }
        *self.door.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.streams.close();
        if let Phase::Active(active) = std::mem::replace(&mut *phase, Phase::Inactive) {
            active.worker.shutdown().await;
            active.stop.cancel();
            if let Some(manager) = active.manager {
                manager.stop().await;
            }
        }
        match self.clone().go_on(membership).await {
            Ok((active, made)) => {
                *phase = Phase::Active(Box::new(active));
                Ok(made)
            }
            Err(error) => {
                self.fatal.send_replace(Some(format!(
                    "this manager was stopped to go on alone, and could not: {error:#}"
                )));
                Err(error)
            }
        }
    }

    async fn go_on(self: Arc<Self>, mut membership: Membership) -> anyhow::Result<(Active, Made)> {
        let root = self.config.data_root.clone();
        let directory = root.join(MANAGER);
        membership.managers = vec![membership.advertise];
        revival::force(&directory, membership.node, membership.advertise).await?;
        membership.save(&root)?;
        let held = identity::load(&root)?.context("this node's certificate is gone")?;
        let listener = serve::listen_soon(membership.listen).await?;
        let active = self.take_part(membership.clone(), &held, listener).await?;
        let active = alone(active).await?;
        revival::forget(&directory)?;
        let state = active.manager.as_ref().map(Manager::state);
        let cluster = state.as_ref().and_then(|state| state.cluster());
        let made = made(cluster.context("there is no cluster in it")?, &membership);
        Ok((active, made))
    }
}

/// A node that takes part, once its manager leads.
async fn alone(active: Active) -> anyhow::Result<Active> {
    if let Some(manager) = &active.manager {
        manager.until_leading().await?;
    }
    Ok(active)
}

fn new_node(cluster: &Cluster, raft: RaftId) -> anyhow::Result<(NodeId, Credentials)> {
    let node = NodeId::new(rand::random());
    let request = csr::request()?;
    let peer = Peer {
        node,
        role: Role::Manager,
        cluster: cluster.id,
    };
    // Of the incarnation that it begins.
    let stamp = Stamp {
        incarnation: cluster.incarnation.saturating_add(1),
        index: 0,
        raft: Some(raft),
    };
    let expiry = cluster.spec.certificate_expiry;
    let now = SystemTime::now();
    let certificate = ca::sign(
        &cluster.authority,
        &request.csr,
        (&peer, Some(stamp)),
        expiry,
        now,
    )?;
    let credentials = Credentials {
        chain: vec![certificate],
        key: request.key,
        root: cluster.authority.certificate.clone(),
    };
    Ok((node, credentials))
}

fn made(cluster: &Cluster, membership: &Membership) -> Made {
    let token = |secret| JoinToken::new(&cluster.authority.certificate, secret).to_string();
    Made {
        node: membership.node,
        cluster: membership.cluster,
        worker_token: token(cluster.tokens.worker),
        manager_token: token(cluster.tokens.manager),
        advertise: membership.advertise,
    }
}
