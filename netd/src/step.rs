//! The kernel's side of netd in values: what is there (`Picture`) and what to do (`Step`).
//!
//! Pure. A plan is a list of steps; the kernel runs them and decides nothing.

#![expect(missing_docs, reason = "the names of the parts say it")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::names::{Mac, Ns};
use crate::nft::Edit;

/// One thing to do in one network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Creates a bridge, up.
    AddBridge {
        name: String,
        mac: Mac,
        mtu: u32,
    },
    /// Creates a VXLAN port whose socket is in the node's namespace, on the bridge, up.
    AddVxlan {
        name: String,
        bridge: String,
        tunnel: Tunnel,
        mtu: u32,
    },
    /// Creates a veth pair whose peer is born in the peer's namespace; this end is up.
    AddVeth {
        name: String,
        port: Port,
        mtu: u32,
        mac: Option<Mac>,
        peer: Peer,
    },
    /// Deletes a device if it is there.
    DeleteLink {
        name: String,
    },
    SetUp {
        name: String,
    },
    /// Waits until the device carries: a veth does some time after both ends are up, and drops what comes before.
    AwaitCarrier {
        name: String,
    },
    SetMtu {
        name: String,
        mtu: u32,
    },
    AddAddress {
        dev: String,
        address: Ipv4Net,
    },
    AddRoute(Route),
    PutForwarding(Forwarding),
    DropForwarding(Forwarding),
    PutNeighbour(Neighbour),
    DropNeighbour(Neighbour),
    /// Writes a file below `/proc/sys/net`; one that does not exist is skipped.
    Sysctl {
        key: String,
        value: &'static str,
    },
    /// One atomic change of nftables.
    Rules(Vec<Edit>),
}

/// What makes two VXLAN ports the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub vni: u32,
    pub port: u16,
    pub local: IpAddr,
}

/// How a veth's near end sits on a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// On no bridge.
    None,
    /// On the bridge; it learns nothing and is forwarded to by entries only.
    Computed { bridge: String },
    /// On the bridge, where ports of this kind cannot reach each other.
    Isolated { bridge: String },
}

/// The far end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub ns: Ns,
    pub name: String,
    pub mac: Mac,
}

/// A route to a prefix; `0.0.0.0/0` is the default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub dev: String,
    pub to: Ipv4Net,
    pub via: Option<Ipv4Addr>,
}

/// Frames to this MAC leave by this port, and to this VTEP where one is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    pub dev: String,
    pub mac: Mac,
    pub remote: Option<IpAddr>,
}

/// A permanent ARP entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    pub dev: String,
    pub address: Ipv4Addr,
    pub mac: Mac,
}

/// What a network namespace holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    pub links: BTreeMap<String, LinkSeen>,
    pub addresses: BTreeSet<(String, Ipv4Net)>,
    /// Prefixes that have a route.
    pub routes: BTreeSet<Ipv4Net>,
    /// Only entries that name a VTEP.
    pub forwarding: BTreeSet<Forwarding>,
    /// Only permanent ones.
    pub neighbours: BTreeSet<Neighbour>,
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSeen {
    pub kind: LinkKind,
    pub up: bool,
    pub mtu: u32,
    pub mac: Option<Mac>,
    /// The bridge it sits on.
    pub bridge: Option<String>,
}

/// What a device is, as far as netd cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Bridge,
    Vxlan(Tunnel),
    Veth,
    Other,
}

/// Connections to forget: those whose packets come back from `from`, and were first sent to `to` if named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forget {
    pub to: Option<Ipv4Addr>,
    pub from: Ipv4Addr,
}
