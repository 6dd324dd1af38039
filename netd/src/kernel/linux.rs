//! The real kernel: keeps a door (netlink sockets) to each namespace it works in and runs steps through it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netlink_sys::Socket;
use tokio::sync::OnceCell;

use super::{Kernel, KernelError, conntrack, link, neighbour, netns, nft, route, socket, sysctl};
use crate::names::Ns;
use crate::step::{Forget, Picture, Port, Step};

/// The network stack of this machine, seen from one namespace that is "the node's".
pub struct LinuxKernel {
    host: Arc<OwnedFd>,
    dir: PathBuf,
    doors: Mutex<HashMap<Ns, Arc<Door>>>,
}

/// What is open to one namespace. It keeps the namespace alive, so it is closed when that is removed.
struct Door {
    ns: Arc<OwnedFd>,
    route: OnceCell<rtnetlink::Handle>,
    netfilter: OnceCell<Arc<Mutex<Socket>>>,
}

impl LinuxKernel {
    /// Works from the namespace of the calling thread and pins namespaces in `dir`.
    ///
    /// # Errors
    /// If the directory cannot be made or the namespace cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, KernelError> {
        let host = netns::current()
            .map_err(|error| KernelError::new("open the node's network namespace", error))?;
        Self::in_namespace(host, dir)
    }

    /// Works from a given namespace as the node's.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn in_namespace(host: OwnedFd, dir: &Path) -> Result<Self, KernelError> {
        fs::create_dir_all(dir)
            .map_err(|error| KernelError::new(format!("make {}", dir.display()), error))?;
        Ok(Self {
            host: Arc::new(host),
            dir: dir.to_owned(),
            doors: Mutex::default(),
        })
    }

    fn doors(&self) -> MutexGuard<'_, HashMap<Ns, Arc<Door>>> {
        // The map is whole at every moment, so a panic elsewhere does not spoil it.
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self, ns: &Ns) -> Result<Arc<Door>, KernelError> {
        if let Some(door) = self.doors().get(ns) {
            return Ok(Arc::clone(door));
        }
        let fd = match ns {
            Ns::Host => Arc::clone(&self.host),
            Ns::Named(_) => {
                let path = self.path_of(ns);
                if !netns::is_pinned(&path) {
                    let missing = io::Error::from(io::ErrorKind::NotFound);
                    return Err(KernelError::new(format!("open {ns}"), missing));
                }
                let fd = netns::open(&path)
                    .map_err(|error| KernelError::new(format!("open {ns}"), error))?;
                Arc::new(fd)
            }
        };
        let door = Door {
            ns: fd,
            route: OnceCell::new(),
            netfilter: OnceCell::new(),
        };
        Ok(Arc::clone(
            self.doors().entry(ns.clone()).or_insert(Arc::new(door)),
        ))
    }

    async fn step(&self, ns: &Ns, step: &Step) -> Result<(), KernelError> {
        let failed = |error: io::Error| KernelError::new(format!("{} in {ns}", act(step)), error);
        let door = self.door(ns)?;
        let route = door.route().await.map_err(failed)?;
        match step {
            Step::AddBridge { name, mac, mtu } => link::add_bridge(route, name, *mac, *mtu)
                .await
                .map_err(failed),
            Step::AddVxlan {
                name,
                bridge,
                tunnel,
                mtu,
            } => {
                let host = self.door(&Ns::Host)?;
                let underlay = host.route().await.map_err(failed)?;
                let made = async {
                    link::add_vxlan(underlay, door.ns.as_raw_fd(), name, *tunnel, *mtu).await?;
                    link::set_bridge(route, name, bridge).await?;
                    let port = Port::Computed {
                        bridge: bridge.clone(),
                    };
                    link::set_port(route, name, &port).await?;
                    link::set_up(route, name).await
                };
                made.await.map_err(failed)
            }
            Step::AddVeth {
                name,
                port,
                mtu,
                mac,
                peer,
            } => {
                let far = self.door(&peer.ns)?;
                let made = async {
                    let peer = (far.ns.as_raw_fd(), peer.name.as_str(), peer.mac);
                    link::add_veth(route, name, *mac, *mtu, peer).await?;
                    if let Port::Computed { bridge } | Port::Isolated { bridge } = port {
                        link::set_bridge(route, name, bridge).await?;
                    }
                    link::set_port(route, name, port).await?;
                    link::set_up(route, name).await
                };
                made.await.map_err(failed)
            }
            Step::DeleteLink { name } => link::delete(route, name).await.map_err(failed),
            Step::SetUp { name } => link::set_up(route, name).await.map_err(failed),
            Step::SetMtu { name, mtu } => link::set_mtu(route, name, *mtu).await.map_err(failed),
            Step::AwaitCarrier { name } => link::await_carrier(route, name).await.map_err(failed),
            other => other_step(&door, route, other).await.map_err(failed),
        }
    }
}

async fn other_step(door: &Door, handle: &rtnetlink::Handle, step: &Step) -> io::Result<()> {
    match step {
        Step::AddAddress { dev, address } => {
            let index = link::index_of(handle, dev).await?;
            route::add_address(handle, index, *address).await
        }
        Step::AddRoute(route) => {
            let index = link::index_of(handle, &route.dev).await?;
            route::add(handle, index, route).await
        }
        Step::PutForwarding(entry) => {
            let index = link::index_of(handle, &entry.dev).await?;
            neighbour::put_forwarding(handle, index, entry).await
        }
        Step::DropForwarding(entry) => {
            let index = link::index_of(handle, &entry.dev).await?;
            neighbour::drop_forwarding(handle, index, entry).await
        }
        Step::PutNeighbour(entry) => {
            let index = link::index_of(handle, &entry.dev).await?;
            neighbour::put(handle, index, entry).await
        }
        Step::DropNeighbour(entry) => {
            let index = link::index_of(handle, &entry.dev).await?;
            neighbour::drop(handle, index, entry).await
        }
        Step::Sysctl { key, value } => {
            let (key, value) = (key.clone(), *value);
            netns::inside(Arc::clone(&door.ns), move || sysctl::write(&key, value)).await
        }
        Step::Rules(edits) => {
            let edits = edits.clone();
            door.netfilter(move |socket| nft::commit(socket, &edits))
                .await
        }
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

impl Door {
    async fn route(&self) -> io::Result<&rtnetlink::Handle> {
        self.route
            .get_or_try_init(|| socket::open_route(Arc::clone(&self.ns)))
            .await
    }

    /// Uses the netfilter socket on a thread that may block: a commit waits for readers of the old rules.
    async fn netfilter<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Socket) -> io::Result<T> + Send + 'static,
    {
        let open = || async {
            let socket = socket::open_netfilter(Arc::clone(&self.ns)).await?;
            Ok::<_, io::Error>(Arc::new(Mutex::new(socket)))
        };
        let socket = Arc::clone(self.netfilter.get_or_try_init(open).await?);
        tokio::task::spawn_blocking(move || {
            work(&socket.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// What a step does, for an error's sentence.
fn act(step: &Step) -> String {
    match step {
        Step::AddBridge { name, .. } => format!("create bridge {name}"),
        Step::AddVxlan { name, tunnel, .. } => {
            format!(
                "create {name} (VNI {}, UDP port {})",
                tunnel.vni, tunnel.port
            )
        }
        Step::AddVeth { name, peer, .. } => format!("create {name} with peer {}", peer.name),
        Step::DeleteLink { name } => format!("delete {name}"),
        Step::SetUp { name } => format!("set {name} up"),
        Step::AwaitCarrier { name } => format!("wait for {name} to carry"),
        Step::SetMtu { name, mtu } => format!("set the MTU of {name} to {mtu}"),
        Step::AddAddress { dev, address } => format!("give {dev} the address {address}"),
        Step::AddRoute(route) => format!("route {} by {}", route.to, route.dev),
        Step::PutForwarding(entry) => format!("forward {} by {}", entry.mac, entry.dev),
        Step::DropForwarding(entry) => format!("forget {} on {}", entry.mac, entry.dev),
        Step::PutNeighbour(entry) => {
            format!("set {} as {} on {}", entry.address, entry.mac, entry.dev)
        }
        Step::DropNeighbour(entry) => format!("forget {} on {}", entry.address, entry.dev),
        Step::Sysctl { key, value } => format!("set net/{key} to {value}"),
        Step::Rules(_) => "change nftables".to_owned(),
    }
}

impl Kernel for LinuxKernel {
    async fn make_namespace(&self, ns: &Ns) -> Result<(), KernelError> {
        let path = self.path_of(ns);
        if !netns::is_pinned(&path) {
            netns::make(path)
                .await
                .map_err(|error| KernelError::new(format!("make {ns}"), error))?;
        }
        self.step(
            ns,
            &Step::SetUp {
                name: "lo".to_owned(),
            },
        )
        .await
    }

    async fn pin_namespace(&self, ns: &Ns, fd: OwnedFd) -> Result<(), KernelError> {
        let path = self.path_of(ns);
        if !netns::is_pinned(&path) {
            netns::pin(fd, path)
                .await
                .map_err(|error| KernelError::new(format!("pin {ns}"), error))?;
        }
        self.step(
            ns,
            &Step::SetUp {
                name: "lo".to_owned(),
            },
        )
        .await
    }

    async fn remove_namespace(&self, ns: &Ns) -> Result<(), KernelError> {
        self.doors().remove(ns);
        netns::unpin(&self.path_of(ns))
            .map_err(|error| KernelError::new(format!("remove {ns}"), error))
    }

    async fn namespaces(&self) -> Result<BTreeSet<String>, KernelError> {
        let read = || -> io::Result<BTreeSet<String>> {
            let mut found = BTreeSet::new();
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                if netns::is_pinned(&entry.path()) {
                    found.extend(entry.file_name().into_string());
                }
            }
            Ok(found)
        };
        read().map_err(|error| KernelError::new(format!("list {}", self.dir.display()), error))
    }

    fn path_of(&self, ns: &Ns) -> PathBuf {
        match ns {
            Ns::Host => PathBuf::from("/proc/self/ns/net"),
            Ns::Named(name) => self.dir.join(name),
        }
    }

    async fn look(&self, ns: &Ns) -> Result<Picture, KernelError> {
        let door = self.door(ns)?;
        let look = async {
            let handle = door.route().await?;
            let (links, names) = link::list(handle).await?;
            Ok(Picture {
                links,
                addresses: route::list_addresses(handle, &names).await?,
                routes: route::list(handle).await?,
                forwarding: neighbour::list_forwarding(handle, &names).await?,
                neighbours: neighbour::list(handle, &names).await?,
            })
        };
        look.await
            .map_err(|error: io::Error| KernelError::new(format!("look into {ns}"), error))
    }

    async fn run(&self, ns: &Ns, steps: Vec<Step>) -> Result<(), KernelError> {
        for step in &steps {
            self.step(ns, step).await?;
        }
        Ok(())
    }

    async fn forget(&self, ns: &Ns, which: Vec<Forget>) -> Result<usize, KernelError> {
        self.door(ns)?
            .netfilter(move |socket| conntrack::forget(socket, &which))
            .await
            .map_err(|error| KernelError::new(format!("forget connections in {ns}"), error))
    }

    async fn udp(&self, ns: &Ns, at: SocketAddr) -> Result<Option<UdpSocket>, KernelError> {
        let made = netns::inside(Arc::clone(&self.door(ns)?.ns), move || {
            let socket = UdpSocket::bind(at)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        made.await
            .map(Some)
            .map_err(|error| KernelError::new(format!("bind UDP {at} in {ns}"), error))
    }

    async fn tcp(&self, ns: &Ns, at: SocketAddr) -> Result<Option<TcpListener>, KernelError> {
        let made = netns::inside(Arc::clone(&self.door(ns)?.ns), move || {
            let socket = TcpListener::bind(at)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        made.await
            .map(Some)
            .map_err(|error| KernelError::new(format!("bind TCP {at} in {ns}"), error))
    }

    async fn connect(
        &self,
        ns: &Ns,
        to: SocketAddr,
        patience: Duration,
    ) -> Result<Option<TcpStream>, KernelError> {
        let made = netns::inside(Arc::clone(&self.door(ns)?.ns), move || {
            let stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        made.await
            .map(Some)
            .map_err(|error| KernelError::new(format!("connect to {to} from {ns}"), error))
    }
}
