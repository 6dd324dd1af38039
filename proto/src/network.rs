//! A network as the user asks for it and as the cluster keeps it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::ids::NetworkId;
use crate::time::WallTime;

/// A network as the user described it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkSpec {
    /// Unique in the cluster.
    pub name: String,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// No way out through the host.
    pub internal: bool,
    /// Containers that are not tasks may be attached.
    pub attachable: bool,
    /// The network of published ports; a cluster has one, made at its beginning.
    pub ingress: bool,
    /// The range to use; by default a /24 of the cluster's pool.
    pub subnet: Option<Ipv4Net>,
    /// The address kept for the gateway; by default the first of the range.
    pub gateway: Option<Ipv4Addr>,
    /// Largest packet in bytes; by default 1450, which is 1500 less the 50 of VXLAN.
    pub mtu: Option<u16>,
}

/// The default of [`NetworkSpec::mtu`].
pub const OVERLAY_MTU: u16 = 1450;

/// A network as the cluster keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Random.
    pub id: NetworkId,
    /// Log index of the last change to the object itself.
    pub version: u64,
    /// When it was made.
    pub created: WallTime,
    /// What the user asked for.
    pub spec: NetworkSpec,
    /// Range in use.
    pub subnet: Ipv4Net,
    /// Kept for the gateway.
    pub gateway: Ipv4Addr,
    /// VXLAN network identifier, from 4096.
    pub vni: u32,
    /// The address given last: the next search goes on behind it, so that an address rests as long as it can.
    pub last_given: Ipv4Addr,
}
