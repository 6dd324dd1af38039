//! A kernel in memory: the same picture, no packets. For the simulation and for tests of plans.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Kernel, KernelError};
use crate::names::{Mac, Ns};
use crate::nft::{Datum, Edit, Table};
use crate::step::{Forget, LinkKind, LinkSeen, Peer, Picture, Port, Step};

/// A node's network stack that exists only as data.
#[derive(Default)]
pub struct FakeKernel {
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    spaces: BTreeMap<Ns, Space>,
    steps: usize,
}

#[derive(Default)]
struct Space {
    picture: Picture,
    /// Elements by table, map and key.
    elements: BTreeMap<(Table, &'static str, Vec<u8>), Datum>,
    chains: BTreeSet<(Table, String)>,
    tables: BTreeSet<Table>,
    /// The far ends of veth pairs that begin here.
    peers: BTreeMap<String, (Ns, String)>,
}

impl FakeKernel {
    /// A machine with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        let fake = Self::default();
        fake.world().spaces.insert(Ns::Host, Space::default());
        fake
    }

    /// How many steps were run so far: a settled view must add none.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.world().steps
    }

    /// The elements of a map in a namespace.
    #[must_use]
    pub fn elements(&self, ns: &Ns, map: &str) -> BTreeMap<Vec<u8>, Datum> {
        let world = self.world();
        let Some(space) = world.spaces.get(ns) else {
            return BTreeMap::new();
        };
        space
            .elements
            .iter()
            .filter(|((_, name, _), _)| *name == map)
            .map(|((_, _, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn space(&mut self, ns: &Ns, act: &str) -> Result<&mut Space, KernelError> {
        self.spaces
            .get_mut(ns)
            .ok_or_else(|| KernelError::new(format!("{act} {ns}"), io::ErrorKind::NotFound))
    }

    fn step(&mut self, ns: &Ns, step: Step) -> Result<(), KernelError> {
        self.steps = self.steps.saturating_add(1);
        match step {
            Step::AddVeth {
                name,
                port,
                mtu,
                mac,
                peer,
            } => self.add_veth(ns, name, &port, mtu, mac, peer),
            Step::AddVxlan {
                name,
                bridge,
                tunnel,
                mtu,
            } => {
                let taken = self.spaces.values().flat_map(|space| space.picture.links.values()).any(
                    |link| matches!(link.kind, LinkKind::Vxlan(other) if other.vni == tunnel.vni && other.port == tunnel.port),
                );
                if taken {
                    let error = io::Error::from_raw_os_error(libc::EEXIST);
                    return Err(KernelError::new(format!("create {name}"), error));
                }
                let link = up(LinkKind::Vxlan(tunnel), mtu, None, Some(bridge));
                self.space(ns, "create a link in")?.add_link(name, link)
            }
            Step::DeleteLink { name } => {
                let peer = self.space(ns, "delete a link in")?.delete_link(&name);
                if let Some((other, name)) = peer
                    && let Some(space) = self.spaces.get_mut(&other)
                {
                    space.delete_link(&name);
                }
                Ok(())
            }
            other => self.space(ns, "work in")?.step(other),
        }
    }

    fn add_veth(
        &mut self,
        ns: &Ns,
        name: String,
        port: &Port,
        mtu: u32,
        mac: Option<Mac>,
        peer: Peer,
    ) -> Result<(), KernelError> {
        let bridge = match port {
            Port::None => None,
            Port::Computed { bridge } | Port::Isolated { bridge } => Some(bridge.clone()),
        };
        let mut far = up(LinkKind::Veth, mtu, Some(peer.mac), None);
        far.up = false;
        let there = self.space(&peer.ns, "create a link in")?;
        there.add_link(peer.name.clone(), far)?;
        there
            .peers
            .insert(peer.name.clone(), (ns.clone(), name.clone()));
        let here = self.space(ns, "create a link in")?;
        here.add_link(name.clone(), up(LinkKind::Veth, mtu, mac, bridge))?;
        here.peers.insert(name, (peer.ns, peer.name));
        Ok(())
    }
}

fn up(kind: LinkKind, mtu: u32, mac: Option<Mac>, bridge: Option<String>) -> LinkSeen {
    LinkSeen {
        kind,
        up: true,
        mtu,
        mac,
        bridge,
    }
}

impl Space {
    fn add_link(&mut self, name: String, link: LinkSeen) -> Result<(), KernelError> {
        if self.picture.links.contains_key(&name) {
            let error = io::Error::from_raw_os_error(libc::EEXIST);
            return Err(KernelError::new(format!("create {name}"), error));
        }
        self.picture.links.insert(name, link);
        Ok(())
    }

    fn delete_link(&mut self, name: &str) -> Option<(Ns, String)> {
        self.picture.links.remove(name);
        self.picture.addresses.retain(|(dev, _)| dev != name);
        self.picture.forwarding.retain(|entry| entry.dev != name);
        self.picture.neighbours.retain(|entry| entry.dev != name);
        self.peers.remove(name)
    }

    fn step(&mut self, step: Step) -> Result<(), KernelError> {
        match step {
            Step::AddBridge { name, mac, mtu } => {
                return self.add_link(name, up(LinkKind::Bridge, mtu, Some(mac), None));
            }
            Step::SetUp { name } => {
                if let Some(link) = self.picture.links.get_mut(&name) {
                    link.up = true;
                }
            }
            Step::SetMtu { name, mtu } => {
                if let Some(link) = self.picture.links.get_mut(&name) {
                    link.mtu = mtu;
                }
            }
            Step::AddAddress { dev, address } => {
                self.picture.addresses.insert((dev, address));
            }
            Step::AddRoute(route) => {
                self.picture.routes.insert(route.to);
            }
            Step::PutForwarding(entry) if entry.remote.is_some() => {
                self.picture.forwarding.insert(entry);
            }
            Step::DropForwarding(entry) => {
                self.picture.forwarding.remove(&entry);
            }
            Step::PutNeighbour(entry) => {
                self.picture.neighbours.insert(entry);
            }
            Step::DropNeighbour(entry) => {
                self.picture.neighbours.remove(&entry);
            }
            Step::Rules(edits) => return edits.into_iter().try_for_each(|edit| self.edit(edit)),
            _ => {}
        }
        Ok(())
    }

    fn edit(&mut self, edit: Edit) -> Result<(), KernelError> {
        let missing = |what: &str| KernelError::new(what.to_owned(), io::ErrorKind::NotFound);
        match edit {
            Edit::AddTable(table) | Edit::HoldTable(table) => {
                self.tables.insert(table);
            }
            Edit::DropTable(table) => {
                if !self.tables.remove(&table) {
                    return Err(missing("drop a table"));
                }
                self.elements.retain(|(of, _, _), _| *of != table);
                self.chains.retain(|(of, _)| *of != table);
            }
            Edit::AddChain { table, name, .. } => {
                self.chains.insert((table, name));
            }
            Edit::PutElement {
                table,
                map,
                key,
                value,
            } => {
                if let Datum::Goto(chain) = &value
                    && !self.chains.contains(&(table, chain.clone()))
                {
                    return Err(missing("go to a chain"));
                }
                if self.elements.insert((table, map, key), value).is_some() {
                    let error = io::Error::from_raw_os_error(libc::EEXIST);
                    return Err(KernelError::new("put an element", error));
                }
            }
            Edit::DropElement { table, map, key } => {
                if self.elements.remove(&(table, map, key)).is_none() {
                    return Err(missing("drop an element"));
                }
            }
            Edit::AddMap { .. } | Edit::AddRule { .. } => {}
        }
        Ok(())
    }
}

impl Kernel for FakeKernel {
    async fn make_namespace(&self, ns: &Ns) -> Result<(), KernelError> {
        self.world().spaces.entry(ns.clone()).or_default();
        Ok(())
    }

    async fn pin_namespace(&self, ns: &Ns, _fd: OwnedFd) -> Result<(), KernelError> {
        self.make_namespace(ns).await
    }

    async fn remove_namespace(&self, ns: &Ns) -> Result<(), KernelError> {
        let mut world = self.world();
        let Some(space) = world.spaces.remove(ns) else {
            return Ok(());
        };
        for (other, name) in space.peers.into_values() {
            if let Some(space) = world.spaces.get_mut(&other) {
                space.delete_link(&name);
            }
        }
        Ok(())
    }

    async fn namespaces(&self) -> Result<BTreeSet<String>, KernelError> {
        let world = self.world();
        Ok(world
            .spaces
            .keys()
            .filter_map(|ns| match ns {
                Ns::Host => None,
                Ns::Named(name) => Some(name.clone()),
            })
            .collect())
    }

    fn path_of(&self, ns: &Ns) -> PathBuf {
        match ns {
            Ns::Host => PathBuf::from("/proc/self/ns/net"),
            Ns::Named(name) => Path::new("/fake").join(name),
        }
    }

    async fn look(&self, ns: &Ns) -> Result<Picture, KernelError> {
        Ok(self.world().space(ns, "look into")?.picture.clone())
    }

    async fn run(&self, ns: &Ns, steps: Vec<Step>) -> Result<(), KernelError> {
        let mut world = self.world();
        steps.into_iter().try_for_each(|step| world.step(ns, step))
    }

    async fn forget(&self, _ns: &Ns, _which: Vec<Forget>) -> Result<usize, KernelError> {
        Ok(0)
    }

    async fn udp(&self, _ns: &Ns, _at: SocketAddr) -> Result<Option<UdpSocket>, KernelError> {
        Ok(None)
    }

    async fn tcp(&self, _ns: &Ns, _at: SocketAddr) -> Result<Option<TcpListener>, KernelError> {
        Ok(None)
    }

    async fn connect(
        &self,
        _ns: &Ns,
        _to: SocketAddr,
        _patience: Duration,
    ) -> Result<Option<TcpStream>, KernelError> {
        Ok(None)
    }
}
