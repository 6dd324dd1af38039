//! The daemon's own sockets on published ports. Packets from elsewhere never reach them: the node's rules send those to
//! tasks. They are there so that a clash with another program is seen, and to serve the node's loopback
//! addresses, whose packets cannot leave the node, through a small relay.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use skep_proto::ids::{ServiceId, TaskId};
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::view::View;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::backing::{self, Backing};
use crate::error::NetError;
use crate::kernel::{Kernel, KernelError};
use crate::names::Ns;
use crate::reconcile::{Attached, Current};
use crate::relay::{Relay, relay_tcp, relay_udp};
use crate::step::Forget;

/// A port of the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Door {
    pub(crate) udp: bool,
    pub(crate) port: u16,
}

/// Who answers behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behind {
    /// Some live task of the service on ingress, at this port.
    Service(ServiceId, u16),
    /// The one task of this node that published it.
    Task(SocketAddr),
}

/// The ports of this node that are open.
pub(crate) struct Published<K> {
    kernel: Arc<K>,
    view: watch::Receiver<Option<Current>>,
    open: Mutex<BTreeMap<Door, (Behind, JoinSet<()>)>>,
}

impl<K: Kernel> Published<K> {
    pub(crate) fn new(kernel: Arc<K>, view: watch::Receiver<Option<Current>>) -> Self {
        Self {
            kernel,
            view,
            open: Mutex::default(),
        }
    }

    /// Opens and closes ports until exactly those of `wanted` are open; says which are not to be had.
    pub(crate) async fn open(&self, wanted: &BTreeMap<Door, Behind>) -> Vec<(Door, NetError)> {
        let mut open = self.open.lock().await;
        open.retain(|door, (behind, _)| wanted.get(door) == Some(behind));
        let mut failures = Vec::new();
        for (door, behind) in wanted {
            if open.contains_key(door) {
                continue;
            }
            match self.bind(*door, *behind).await {
                Ok(tasks) => {
                    open.insert(*door, (*behind, tasks));
                }
                Err(source) => {
                    let protocol = if door.udp { "udp" } else { "tcp" };
                    let error = NetError::PortTaken {
                        port: door.port,
                        protocol,
                        source,
                    };
                    failures.push((*door, error));
                }
            }
        }
        failures
    }

    async fn bind(&self, door: Door, behind: Behind) -> Result<JoinSet<()>, KernelError> {
        let mut tasks = JoinSet::new();
        self.listen(&mut tasks, door, behind, Ipv4Addr::UNSPECIFIED.into())
            .await?;
        // A node without IPv6 has no ::1 to serve; another program there clashes as well.
        match self
            .listen(&mut tasks, door, behind, Ipv6Addr::LOCALHOST.into())
            .await
        {
            Err(error) if error.source.raw_os_error() == Some(libc::EADDRINUSE) => Err(error),
            _ => Ok(tasks),
        }
    }

    async fn listen(
        &self,
        tasks: &mut JoinSet<()>,
        door: Door,
        behind: Behind,
        address: IpAddr,
    ) -> Result<(), KernelError> {
        let at = SocketAddr::new(address, door.port);
        let failed = |error| KernelError::new(format!("serve {at}"), error);
        let (view, turn) = (self.view.clone(), Arc::new(AtomicUsize::new(0)));
        let choose = move || target(&view, behind, &turn);
        let relay = Relay {
            kernel: Arc::clone(&self.kernel),
            choose: Arc::new(choose),
        };
        if door.udp {
            let Some(socket) = self.kernel.udp(&Ns::Host, at).await? else {
                return Ok(());
            };
            let socket = tokio::net::UdpSocket::from_std(socket).map_err(failed)?;
            tasks.spawn(relay_udp(socket, relay));
        } else {
            let Some(socket) = self.kernel.tcp(&Ns::Host, at).await? else {
                return Ok(());
            };
            let socket = tokio::net::TcpListener::from_std(socket).map_err(failed)?;
            tasks.spawn(relay_tcp(socket, relay));
        }
        Ok(())
    }
}

fn target(
    view: &watch::Receiver<Option<Current>>,
    behind: Behind,
    turn: &AtomicUsize,
) -> Option<SocketAddr> {
    match behind {
        Behind::Task(address) => Some(address),
        Behind::Service(service, port) => {
            let current = view.borrow().clone()?;
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let address = backing::target_of(&current.view, service, turn)?;
            Some(SocketAddr::from((address, port)))
        }
    }
}

/// Every port that is to be open on this node.
pub(crate) fn wanted(view: &View, tasks: &BTreeMap<TaskId, Attached>) -> BTreeMap<Door, Behind> {
    let mut wanted = BTreeMap::new();
    for attached in tasks.values() {
        let Some(address) = address_of(attached) else {
            continue;
        };
        for port in &attached.record.ports {
            let door = Door {
                udp: port.udp,
                port: port.published,
            };
            wanted.insert(door, Behind::Task(SocketAddr::from((address, port.target))));
        }
    }
    for port in view
        .ports
        .iter()
        .filter(|port| port.mode == PublishMode::Ingress)
    {
        let door = Door {
            udp: port.protocol == Protocol::Udp,
            port: port.published,
        };
        wanted.insert(door, Behind::Service(port.service, port.target));
    }
    wanted
}

/// Adds the ports that tasks of this node published on this node alone.
pub(crate) fn add_local(backing: &mut Backing, tasks: &BTreeMap<TaskId, Attached>) {
    for attached in tasks.values() {
        let Some(address) = address_of(attached) else {
            continue;
        };
        for port in &attached.record.ports {
            let protocol = if port.udp {
                Protocol::Udp
            } else {
                Protocol::Tcp
            };
            backing
                .balanced
                .add_port(protocol, port.published, [(address, port.target)]);
        }
        if !attached.record.ports.is_empty() {
            backing.kept.insert(Forget {
                to: None,
                from: address,
            });
        }
    }
}

/// Where the node reaches a task.
fn address_of(attached: &Attached) -> Option<Ipv4Addr> {
    let ingress = attached.record.ingress().map(|plug| plug.address.addr());
    attached.record.way_out.or(ingress)
}
