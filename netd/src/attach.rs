//! Attaches a container to its networks.
//!
//! An attachment that fails half way is undone, so that a task is either on all its networks or on none.

#![expect(missing_docs, reason = "the names of the parts say it")]

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use skep_proto::assignment::AssignedAttachment;
use skep_proto::ids::{NetworkId, TaskId};
use skep_proto::spec::Protocol;
use skep_proto::view::NetworkView;

use crate::error::NetError;
use crate::kernel::{Kernel, KernelError};
use crate::names::{self, Mac, Ns, network_ns, task_ns};
use crate::plan::{self, Gateway, Plug};
use crate::publish;
use crate::reconcile::{Attached, Current, Inner, Netd};
use crate::record::{self, PlugRecord, PortRecord, Record};
use crate::step::Step;

/// How long a task waits for the view that brings its network; both come from the same manager.
const VIEW_PATIENCE: Duration = Duration::from_secs(5);

/// A port published on the node that runs the task, and on no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub protocol: Protocol,
    /// On the node.
    pub published: u16,
    /// In the container.
    pub target: u16,
}

impl<K: Kernel> Netd<K> {
    /// Makes the network namespace of a task, with its loopback up, and gives the path it is pinned at. It may be made
    /// long before the task is attached.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn prepare_netns(&self, task: TaskId) -> Result<PathBuf, NetError> {
        let ns = task_ns(&task.to_string());
        let made = self.kernel.make_namespace(&ns).await;
        made.map_err(|source| NetError::Prepare { task, source })?;
        Ok(self.kernel.path_of(&ns))
    }

    /// Attaches a task: `eth0` and on in the order of `attachments`, then its way out, its names and its virtual
    /// addresses. The namespace is the prepared one, or `netns` where the container brought its own. `servers` are asked
    /// for names that the cluster does not know, instead of the resolvers of the node.
    ///
    /// # Errors
    /// If a network does not arrive in time or the kernel refuses; then nothing is left attached.
    pub async fn attach(
        &self,
        task: TaskId,
        netns: Option<OwnedFd>,
        attachments: &[AssignedAttachment],
        ports: &[HostPort],
        servers: &[IpAddr],
    ) -> Result<(), NetError> {
        let late = tokio::time::Instant::now() + VIEW_PATIENCE;
        let mut current = self.await_networks(attachments, late).await?;
        let ns = task_ns(&task.to_string());
        let ready = match netns {
            Some(fd) => self.kernel.pin_namespace(&ns, fd).await,
            None => self.kernel.make_namespace(&ns).await,
        };
        ready.map_err(|source| NetError::Prepare { task, source })?;
        let attached = loop {
            match self
                .attach_all(task, current, attachments, ports, servers)
                .await
            {
                // The view it waited for was an old one, and a newer one without the network came before its
                // turn: the one that brings the network again is on its way.
                Err(NetError::UnknownNetwork { .. }) => {
                    match self.await_networks(attachments, late).await {
                        Ok(newer) => current = newer,
                        Err(error) => break Err(error),
                    }
                }
                attached => break attached,
            }
        };
        let done = match attached {
            // Without the lock: others may go on meanwhile.
            Ok(record) => self.await_carriers(task, &record).await,
            Err(error) => Err(error),
        };
        if done.is_err()
            && let Err(error) = self.detach(task).await
        {
            tracing::warn!(task.id = %task, %error, "a failed attachment could not be undone");
        }
        done
    }

    /// Waits until every network was programmed.
    async fn await_networks(
        &self,
        attachments: &[AssignedAttachment],
        late: tokio::time::Instant,
    ) -> Result<Current, NetError> {
        let missing = |current: &Current| -> Option<NetworkId> {
            let known = |id| current.view.networks.iter().any(|network| network.id == id);
            attachments
                .iter()
                .map(|one| one.network)
                .find(|id| !known(*id))
        };
        let mut views = self.view.subscribe();
        let all = views.wait_for(|current| {
            current
                .as_ref()
                .map_or(attachments.is_empty(), |current| missing(current).is_none())
        });
        let came = tokio::time::timeout_at(late, all).await;
        if let Ok(Ok(current)) = came {
            return Ok(current.clone().unwrap_or_default());
        }
        let now = self.view.borrow().clone().unwrap_or_default();
        let network = missing(&now).unwrap_or(NetworkId::new(0));
        Err(NetError::UnknownNetwork {
            network,
            seconds: VIEW_PATIENCE.as_secs(),
        })
    }

    async fn attach_all(
        &self,
        task: TaskId,
        awaited: Current,
        attachments: &[AssignedAttachment],
        ports: &[HostPort],
        servers: &[IpAddr],
    ) -> Result<Record, NetError> {
        let mut inner = self.inner.lock().await;
        // A newer view may have come while this waited for its turn.
        let current = self.view.borrow().clone().unwrap_or(awaited);
        let networks = networks_of(attachments, &current)?;
        let mut record = record_of(&networks, ports);
        record.servers = servers.to_vec();
        // Attached before by a daemon that did not live to say so: its resolver gives up the port.
        inner.tasks.remove(&task);
        let settings = self
            .kernel
            .run(&task_ns(&task.to_string()), plan::task_settings())
            .await;
        settings.map_err(|source| NetError::Prepare { task, source })?;
        // Written first: what a crash leaves half attached is found by its record.
        record::store(&self.config.records, task, &record)?;
        for (plug, (_, network)) in record.plugs.iter().zip(&networks) {
            let plugged = self.plug(task, plug, network, &current).await;
            let network = || network.name.clone();
            plugged.map_err(|source| NetError::Attach {
                task,
                network: network(),
                source,
            })?;
        }
        let ingress = record.ingress().is_some();
        if !ingress && (record.outside || !ports.is_empty()) {
            let address = self.way_out(&mut inner, task, record.plugs.len()).await?;
            record.way_out = Some(address);
            record::store(&self.config.records, task, &record)?;
        }
        let mut attached = Attached {
            record: record.clone(),
            resolver: None,
            programmed: None,
        };
        self.serve_task(task, &mut attached, &current.view).await?;
        inner.tasks.insert(task, attached);
        self.program_node(&mut inner, &current.view).await?;
        self.open_ports(&inner, &current, ports).await?;
        Ok(record)
    }

    /// Binds what the task publishes on this node.
    async fn open_ports(
        &self,
        inner: &Inner,
        current: &Current,
        ports: &[HostPort],
    ) -> Result<(), NetError> {
        if ports.is_empty() {
            return Ok(());
        }
        let taken = self
            .published
            .open(&publish::wanted(&current.view, &inner.tasks))
            .await;
        let own = taken.into_iter().find(|(door, _)| {
            ports.iter().any(|port| {
                port.published == door.port && (port.protocol == Protocol::Udp) == door.udp
            })
        });
        own.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// One interface on an overlay network.
    async fn plug(
        &self,
        task: TaskId,
        plug: &PlugRecord,
        network: &NetworkView,
        current: &Current,
    ) -> Result<(), KernelError> {
        let text = task.to_string();
        let own = plan::own_node(&current.view, current.me);
        let gateway = own.filter(|_| plug.ingress).map(|own| Gateway {
            address: network.gateway,
            mac: Some(Mac::of_gateway(own.number)),
        });
        let ns = task_ns(&text);
        let (outside, inside) = plan::plug_steps(&Plug {
            device: plug.device.clone(),
            port: names::port_of_task(&text),
            ns: ns.clone(),
            address: plug.address,
            mtu: u32::from(network.mtu),
            gateway,
        });
        if plug.ingress {
            let off = |device: &str| Step::Sysctl {
                key: format!("ipv4/conf/{device}/rp_filter"),
                value: "0",
            };
            self.kernel
                .run(&ns, vec![off("all"), off("default")])
                .await?;
        }
        self.kernel
            .run(&network_ns(&network.id.to_string()), outside)
            .await?;
        self.kernel.run(&ns, inside).await
    }

    /// Waits until every interface carries at both ends: the first thing a container sends must arrive.
    async fn await_carriers(&self, task: TaskId, record: &Record) -> Result<(), NetError> {
        let text = task.to_string();
        let up = |name: String| Step::AwaitCarrier { name };
        let ways_out = usize::from(record.way_out.is_some());
        let count = record.plugs.len().saturating_add(ways_out);
        let inside = (0..count)
            .map(|place| up(names::interface(place)))
            .collect();
        let wait = async {
            self.kernel.run(&task_ns(&text), inside).await?;
            for plug in &record.plugs {
                let port = vec![up(names::port_of_task(&text))];
                self.kernel
                    .run(&network_ns(&plug.network.to_string()), port)
                    .await?;
            }
            if record.way_out.is_some() {
                let port = vec![up(names::way_out_of_task(&text))];
                self.kernel.run(&Ns::Host, port).await?;
            }
            Ok(())
        };
        wait.await
            .map_err(|source| NetError::Carry { task, source })
    }

    /// The interface to the node's bridge, by which a container reaches the world.
    async fn way_out(
        &self,
        inner: &mut Inner,
        task: TaskId,
        place: usize,
    ) -> Result<Ipv4Addr, NetError> {
        let failed = |source| NetError::WayOut { task, source };
        let pool = match inner.way_out {
            Some(pool) => pool,
            None => {
                let seen = self.kernel.look(&Ns::Host).await.map_err(failed)?;
                let pool = plan::way_out_pool(&self.config.pools, &seen);
                let pool = pool.ok_or(NetError::NoRange)?;
                let steps = plan::way_out_steps(pool, &seen);
                self.kernel.run(&Ns::Host, steps).await.map_err(failed)?;
                inner.way_out = Some(pool);
                pool
            }
        };
        let gateway = plan::gateway_of(pool).addr();
        let address = free_address(pool, gateway, inner).ok_or(NetError::NoRange)?;
        let text = task.to_string();
        let ns = task_ns(&text);
        let net = Ipv4Net::new(address, pool.prefix_len()).unwrap_or(pool);
        let device = names::interface(place);
        let port = names::way_out_of_task(&text);
        let (outside, inside) = plan::exit_steps(&port, &device, &ns, net, Some(gateway));
        self.kernel.run(&Ns::Host, outside).await.map_err(failed)?;
        self.kernel.run(&ns, inside).await.map_err(failed)?;
        Ok(address)
    }
}

/// The networks of a task's attachments, all of which the view must hold.
fn networks_of<'a>(
    attachments: &'a [AssignedAttachment],
    current: &'a Current,
) -> Result<Vec<(&'a AssignedAttachment, &'a NetworkView)>, NetError> {
    let all = &current.view.networks;
    let found = attachments.iter().map(|one| {
        let network = all.iter().find(|network| network.id == one.network);
        let seconds = VIEW_PATIENCE.as_secs();
        let missing = NetError::UnknownNetwork {
            network: one.network,
            seconds,
        };
        Ok((one, network.ok_or(missing)?))
    });
    found.collect()
}

fn record_of(networks: &[(&AssignedAttachment, &NetworkView)], ports: &[HostPort]) -> Record {
    let plugs = networks
        .iter()
        .enumerate()
        .map(|(place, (attachment, network))| {
            // On ingress nothing is a neighbour: all goes by the gateway.
            let prefix = if network.ingress {
                32
            } else {
                network.subnet.prefix_len()
            };
            PlugRecord {
                network: network.id,
                address: Ipv4Net::new(attachment.address, prefix).unwrap_or(network.subnet),
                device: names::interface(place),
                ingress: network.ingress,
            }
        });
    let outside = networks.is_empty() || networks.iter().any(|(_, network)| !network.internal);
    let ports = ports.iter().map(|port| PortRecord {
        udp: port.protocol == Protocol::Udp,
        published: port.published,
        target: port.target,
    });
    Record::new(plugs.collect(), outside, ports.collect())
}

/// The next address that no task holds, so that one that was just freed rests.
fn free_address(pool: Ipv4Net, gateway: Ipv4Addr, inner: &mut Inner) -> Option<Ipv4Addr> {
    let used: Vec<Ipv4Addr> = inner
        .tasks
        .values()
        .filter_map(|attached| attached.record.way_out)
        .collect();
    let last = inner.last_way_out.unwrap_or(gateway);
    let behind = pool.hosts().filter(|address| *address > last);
    let before = pool.hosts().filter(|address| *address <= last);
    let found = behind
        .chain(before)
        .find(|address| *address != gateway && !used.contains(address));
    inner.last_way_out = found.or(inner.last_way_out);
    found
}
