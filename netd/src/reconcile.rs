//! Makes the kernel match the view: networks first, then the rules of each container, then the node's.
//!
//! A revision is acknowledged when all that depends on it is programmed. What a former daemon left is adopted;
//! without a view nothing is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;
use skep_proto::ids::{NetworkId, NodeId, TaskId};
use skep_proto::view::{NetworkView, NodeView, View};
use tokio::sync::{Mutex, watch};

use crate::backing::Backing;
use crate::dns::{Directory, Forwarder, Resolver};
use crate::error::NetError;
use crate::kernel::{Kernel, KernelError};
use crate::measures::measures;
use crate::names::{GATEWAY_PORT, Ns, VXLAN, network_ns, network_of_ns};
use crate::plan::{self, NetworkGoal};
use crate::record::{self, Record};
use crate::rules::{self, NodeRules, Programmed};
use crate::step::{LinkKind, Step, Tunnel};

/// Where netd keeps things and what it may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Records of attached tasks; below the exec root, which a restart of the machine empties.
    pub records: PathBuf,
    /// Ranges for containers' way out, the first that fits is taken.
    pub pools: Vec<Ipv4Net>,
    /// The node's own resolvers.
    pub resolv_conf: PathBuf,
}

impl Config {
    /// Defaults with records in `records`.
    #[must_use]
    pub fn new(records: PathBuf) -> Self {
        // Private ranges that are seldom in use, below Docker's own.
        let pools = [
            "10.213.0.0/16",
            "10.214.0.0/16",
            "192.168.208.0/20",
            "172.31.0.0/16",
        ];
        Self {
            records,
            pools: pools.iter().filter_map(|pool| pool.parse().ok()).collect(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// What a view led to.
#[derive(Debug, Default)]
pub struct Acks {
    /// The revision that is programmed, for each network of the view. One that failed keeps its last.
    pub revisions: BTreeMap<NetworkId, u64>,
    /// Networks that left the view and are still here: a task is on them, or their removal failed.
    pub held: Vec<NetworkId>,
    /// What could not be done; the next `apply` tries again.
    pub failures: Vec<NetError>,
}

/// The networking of one node.
pub struct Netd<K> {
    pub(crate) kernel: Arc<K>,
    pub(crate) config: Config,
    pub(crate) inner: Mutex<Inner>,
    pub(crate) directory: watch::Sender<Arc<Directory>>,
    /// The last view, for those who wait for a network.
    pub(crate) view: watch::Sender<Option<Current>>,
    pub(crate) forwarder: Arc<Forwarder<K>>,
    pub(crate) published: crate::publish::Published<K>,
}

/// A view and whose it is.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) me: NodeId,
    pub(crate) view: Arc<View>,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            me: NodeId::new(0),
            view: Arc::default(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) tasks: BTreeMap<TaskId, Attached>,
    /// What each network was last made to be.
    networks: BTreeMap<NetworkId, NetworkGoal>,
    pub(crate) way_out: Option<Ipv4Net>,
    /// The address that was given last on the way out.
    pub(crate) last_way_out: Option<Ipv4Addr>,
    /// The last revision of each that was programmed whole.
    revisions: BTreeMap<NetworkId, u64>,
    /// The node's gateway on ingress stands.
    pub(crate) gateway: Option<(NodeView, NetworkId)>,
    /// What the node's own table holds.
    pub(crate) node: Option<(NodeRules, (Programmed, Backing))>,
}

/// A task as netd has attached it.
pub(crate) struct Attached {
    pub(crate) record: Record,
    pub(crate) resolver: Option<Resolver>,
    /// What its rules hold; none before they are first written by this daemon.
    pub(crate) programmed: Option<(Programmed, Backing)>,
}

impl<K: Kernel> Netd<K> {
    /// Takes up what a former daemon left. Nothing is changed before the first view.
    ///
    /// # Errors
    /// If records or namespaces cannot be read.
    pub async fn open(kernel: Arc<K>, config: Config) -> Result<Self, NetError> {
        let pinned = kernel
            .namespaces()
            .await
            .map_err(|source| NetError::Adopt { source })?;
        let seen = kernel
            .look(&Ns::Host)
            .await
            .map_err(|source| NetError::Adopt { source })?;
        let way_out = plan::way_out_in_use(&seen);
        let mut inner = Inner {
            way_out,
            ..Inner::default()
        };
        for (task, record) in record::load_all(&config.records)? {
            if pinned.contains(&format!("task-{task}")) {
                let attached = Attached {
                    record,
                    resolver: None,
                    programmed: None,
                };
                inner.tasks.insert(task, attached);
            } else {
                record::remove(&config.records, task)?;
            }
        }
        let forwarder = Arc::new(Forwarder::new(
            Arc::clone(&kernel),
            config.resolv_conf.clone(),
        ));
        let (view, _) = watch::channel(None);
        Ok(Self {
            published: crate::publish::Published::new(Arc::clone(&kernel), view.subscribe()),
            kernel,
            config,
            inner: Mutex::new(inner),
            directory: watch::channel(Arc::default()).0,
            view,
            forwarder,
        })
    }

    /// The tasks that are attached, also those a former daemon attached.
    pub async fn attached(&self) -> Vec<TaskId> {
        self.inner.lock().await.tasks.keys().copied().collect()
    }

    /// Makes the kernel match a view. What fails is reported and does not stop the rest.
    pub async fn apply(&self, me: NodeId, view: Arc<View>) -> Acks {
        let mut acks = Acks::default();
        let Some(own) = plan::own_node(&view, me).cloned() else {
            if !view.networks.is_empty() {
                acks.failures.push(NetError::UnknownNode { node: me });
                acks.revisions = self.inner.lock().await.revisions.clone();
                return acks;
            }
            return self.apply_known(me, view, None).await;
        };
        self.apply_known(me, view, Some(own)).await
    }

    async fn apply_known(&self, me: NodeId, view: Arc<View>, own: Option<NodeView>) -> Acks {
        let begin = Instant::now();
        let acks = self.match_view(me, view, own).await;
        measures().reconciles.observe(begin.elapsed().as_secs_f64());
        measures().failures.inc_by(acks.failures.len() as u64);
        let newest = acks.revisions.values().max().copied().unwrap_or(0);
        measures()
            .revision
            .set(i64::try_from(newest).unwrap_or(i64::MAX));
        acks
    }

    async fn match_view(&self, me: NodeId, view: Arc<View>, own: Option<NodeView>) -> Acks {
        let mut acks = Acks::default();
        let mut inner = self.inner.lock().await;
        let mut failed = BTreeSet::new();
        for network in &view.networks {
            let done = self
                .program(&mut inner, &view, network, me, own.as_ref())
                .await;
            if let Err(error) = done {
                failed.insert(network.id);
                acks.failures.push(error);
            }
        }
        self.directory.send_replace(Arc::new(Directory::of(&view)));
        for (networks, error) in self.serve_tasks(&mut inner, &view).await {
            failed.extend(networks);
            acks.failures.push(error);
        }
        self.remove_unused(&mut inner, &view, &mut acks).await;
        if let Err(error) = self.program_node(&mut inner, &view).await {
            failed.extend(
                view.networks
                    .iter()
                    .filter(|one| one.ingress)
                    .map(|one| one.id),
            );
            acks.failures.push(error);
        }
        let wanted = crate::publish::wanted(&view, &inner.tasks);
        let taken = self.published.open(&wanted).await;
        acks.failures
            .extend(taken.into_iter().map(|(_, error)| error));
        inner
            .revisions
            .retain(|id, _| view.networks.iter().any(|network| network.id == *id));
        let whole = view
            .networks
            .iter()
            .filter(|network| !failed.contains(&network.id));
        inner
            .revisions
            .extend(whole.map(|network| (network.id, network.revision)));
        acks.revisions = inner.revisions.clone();
        self.view.send_replace(Some(Current { me, view }));
        acks
    }

    async fn program(
        &self,
        inner: &mut Inner,
        view: &View,
        network: &NetworkView,
        me: NodeId,
        own: Option<&NodeView>,
    ) -> Result<(), NetError> {
        let failed = |source| NetError::Network {
            network: network.name.clone(),
            source,
        };
        let Some(own) = own else {
            return Err(NetError::UnknownNode { node: me });
        };
        let Some(goal) = plan::network_goal(view, network, me) else {
            return Err(NetError::UnknownNode { node: me });
        };
        if inner.networks.get(&network.id) != Some(&goal) {
            inner.networks.remove(&network.id);
            self.program_switch(network, &goal).await.map_err(failed)?;
            inner.networks.insert(network.id, goal);
        }
        let gateway = (own.clone(), network.id);
        // A node that was given no address there yet accepts nothing.
        if network.ingress && own.ingress.is_some() && inner.gateway.as_ref() != Some(&gateway) {
            self.program_gateway(network, own).await.map_err(failed)?;
            inner.gateway = Some(gateway);
        }
        Ok(())
    }

    /// The namespace of a network with its bridge, tunnel and entries.
    async fn program_switch(
        &self,
        network: &NetworkView,
        goal: &NetworkGoal,
    ) -> Result<(), KernelError> {
        let ns = network_ns(&network.id.to_string());
        self.kernel.make_namespace(&ns).await?;
        self.kernel.run(&ns, plan::network_settings()).await?;
        let steps = plan::network_steps(goal, &self.kernel.look(&ns).await?);
        match self.kernel.run(&ns, steps).await {
            Err(error) if error.is_exists() => {
                if !self.clear_tunnel(&ns, goal.tunnel).await? {
                    return Err(error);
                }
                let steps = plan::network_steps(goal, &self.kernel.look(&ns).await?);
                self.kernel.run(&ns, steps).await
            }
            done => done,
        }
    }

    /// Deletes a tunnel of the same number and port that an earlier life left in another namespace of ours; says
    /// whether there was one.
    async fn clear_tunnel(&self, ours: &Ns, tunnel: Tunnel) -> Result<bool, KernelError> {
        let mut found = false;
        let pinned = self.kernel.namespaces().await?;
        let networks = pinned
            .into_iter()
            .filter(|file| network_of_ns(file).is_some());
        for ns in networks.map(Ns::Named).filter(|ns| ns != ours) {
            let seen = self.kernel.look(&ns).await?;
            let same = seen.links.get(VXLAN).is_some_and(|link| {
                matches!(link.kind, LinkKind::Vxlan(other)
                    if other.vni == tunnel.vni && other.port == tunnel.port)
            });
            if same {
                self.kernel
                    .run(
                        &ns,
                        vec![Step::DeleteLink {
                            name: VXLAN.to_owned(),
                        }],
                    )
                    .await?;
                found = true;
            }
        }
        Ok(found)
    }

    /// The node's own end of the ingress network.
    async fn program_gateway(
        &self,
        network: &NetworkView,
        own: &NodeView,
    ) -> Result<(), KernelError> {
        let ns = network_ns(&network.id.to_string());
        self.kernel
            .run(&ns, vec![Step::Rules(rules::ingress_switch())])
            .await?;
        let (inside, node) = (
            self.kernel.look(&ns).await?,
            self.kernel.look(&Ns::Host).await?,
        );
        let (there, here) = plan::gateway_steps(own, network, &inside, &node);
        // An old end of the node's goes before its name is taken again.
        let (first, last): (Vec<Step>, Vec<Step>) = here
            .into_iter()
            .partition(|step| matches!(step, Step::DeleteLink { .. }));
        self.kernel.run(&Ns::Host, first).await?;
        self.kernel.run(&ns, there).await?;
        self.kernel.run(&Ns::Host, last).await?;
        let carries = Step::AwaitCarrier {
            name: GATEWAY_PORT.to_owned(),
        };
        self.kernel.run(&ns, vec![carries]).await
    }

    /// Removes networks that neither the view nor an attached task needs.
    pub(crate) async fn remove_unused(&self, inner: &mut Inner, view: &View, acks: &mut Acks) {
        let pinned = match self.kernel.namespaces().await {
            Ok(pinned) => pinned,
            Err(source) => {
                acks.failures.push(NetError::Adopt { source });
                return;
            }
        };
        let plugs = inner
            .tasks
            .values()
            .flat_map(|attached| &attached.record.plugs);
        let used: BTreeSet<NetworkId> = plugs.map(|plug| plug.network).collect();
        let known = |id: &NetworkId| view.networks.iter().any(|network| network.id == *id);
        let ids = pinned
            .iter()
            .filter_map(|file| network_of_ns(file)?.parse::<NetworkId>().ok());
        for network in ids.filter(|id| !known(id)) {
            if used.contains(&network) {
                acks.held.push(network);
                continue;
            }
            inner.networks.remove(&network);
            if inner.gateway.as_ref().is_some_and(|(_, id)| *id == network) {
                inner.gateway = None;
            }
            if let Err(source) = self.remove_network(network).await {
                acks.held.push(network);
                acks.failures
                    .push(NetError::RemoveNetwork { network, source });
            }
        }
    }

    async fn remove_network(&self, network: NetworkId) -> Result<(), KernelError> {
        let ns = network_ns(&network.to_string());
        // The kernel takes a namespace apart later, many devices at a time; deleting each here would hold its network
        // lock for some 30 ms. Only the tunnel must be gone now, as its number may be given again.
        let tunnel = Step::DeleteLink {
            name: VXLAN.to_owned(),
        };
        self.kernel.run(&ns, vec![tunnel]).await?;
        self.kernel.remove_namespace(&ns).await
    }
}
