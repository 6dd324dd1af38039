//! Names and numbers that follow from others: device names, MAC addresses, namespaces.
//!
//! Pure. Two nodes that know the same address know the same MAC, so nothing about MACs is ever sent.

use std::fmt;
use std::net::Ipv4Addr;

/// The bridge in a network's namespace.
pub const BRIDGE: &str = "br0";
/// The VXLAN port in a network's namespace.
pub const VXLAN: &str = "vxlan0";
/// The gateway's end of the ingress network, in that network's namespace.
pub const GATEWAY_PORT: &str = "gw0";
/// The node's end of the ingress network, in the node's namespace.
pub const GATEWAY: &str = "skep-in0";
/// The bridge in the node's namespace that leads containers out.
pub const WAY_OUT: &str = "skep0";
/// The one nftables table of ours, in whichever namespace.
pub const TABLE: &str = "skep";

/// The first two bytes of every MAC of ours (locally administered). The ingress return path rewrites only the other
/// four, so tasks and gateways must share them.
const PREFIX: [u8; 2] = [0x02, 0x73];
/// Third and fourth byte of a gateway's MAC; the last two are the node's number. As an address it would
/// be 115.107.0.0/16, which no overlay uses.
pub const GATEWAY_MARK: [u8; 2] = [0x73, 0x6b];

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The MAC of a container's interface, from its address.
    #[must_use]
    pub fn of_address(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([PREFIX[0], PREFIX[1], a, b, c, d])
    }

    /// The MAC of a node's gateway on the ingress network, from the node's number.
    #[must_use]
    pub fn of_gateway(node_number: u16) -> Self {
        let [high, low] = node_number.to_be_bytes();
        Self([
            PREFIX[0],
            PREFIX[1],
            GATEWAY_MARK[0],
            GATEWAY_MARK[1],
            high,
            low,
        ])
    }

    /// The bytes every gateway's MAC begins with.
    #[must_use]
    pub fn gateway_prefix() -> [u8; 4] {
        [PREFIX[0], PREFIX[1], GATEWAY_MARK[0], GATEWAY_MARK[1]]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A network namespace that netd works in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ns {
    /// The node's own: where the underlay is.
    Host,
    /// One that is pinned under netd's directory by this file name.
    Named(String),
}

impl fmt::Display for Ns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the node's namespace"),
            Self::Named(name) => write!(f, "namespace {name}"),
        }
    }
}

const NETWORK: &str = "net-";
const TASK: &str = "task-";

/// The namespace of an overlay network on this node.
#[must_use]
pub fn network_ns(network: &str) -> Ns {
    Ns::Named(format!("{NETWORK}{network}"))
}

/// The namespace of a container.
#[must_use]
pub fn task_ns(task: &str) -> Ns {
    Ns::Named(format!("{TASK}{task}"))
}

/// The network whose namespace is pinned under this file name, if it is one.
#[must_use]
pub fn network_of_ns(file: &str) -> Option<&str> {
    file.strip_prefix(NETWORK)
}

/// The task whose namespace is pinned under this file name, if it is one.
#[must_use]
pub fn task_of_ns(file: &str) -> Option<&str> {
    file.strip_prefix(TASK)
}

/// The bridge's end of a container's interface. At most 15 bytes, as the kernel demands.
#[must_use]
pub fn port_of_task(task: &str) -> String {
    format!("v{:013x}", digest(task) >> 12)
}

/// The node's end of a container's way out.
#[must_use]
pub fn way_out_of_task(task: &str) -> String {
    format!("sk{:013x}", digest(task) >> 12)
}

/// FNV-1a, so that the name does not depend on the library's hasher.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The name of a container's interface by its place among the attachments.
#[must_use]
pub fn interface(place: usize) -> String {
    format!("eth{place}")
}
