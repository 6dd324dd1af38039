//! From what a network must look like and what is there, the steps between.
//!
//! Pure: it reads a view and a picture and gives steps. A picture that matches gives none.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use skep_proto::ids::NodeId;
use skep_proto::view::{NetworkView, NodeView, View};

use crate::names::{BRIDGE, GATEWAY, GATEWAY_PORT, Mac, Ns, VXLAN, WAY_OUT};
use crate::step::{
    Forwarding, LinkKind, LinkSeen, Neighbour, Peer, Picture, Port, Route, Step, Tunnel,
};

/// The way out is plain Ethernet on this machine.
pub const WAY_OUT_MTU: u32 = 1500;

/// What the namespace of a network must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGoal {
    pub tunnel: Tunnel,
    pub mtu: u32,
    pub bridge_mac: Mac,
    pub forwarding: BTreeSet<Forwarding>,
    pub neighbours: BTreeSet<Neighbour>,
}

/// The node itself, as the view knows it.
#[must_use]
pub fn own_node(view: &View, me: NodeId) -> Option<&NodeView> {
    view.nodes.iter().find(|node| node.id == me)
}

/// What a network must look like on this node; `None` if the view does not know the node.
#[must_use]
pub fn network_goal(view: &View, network: &NetworkView, me: NodeId) -> Option<NetworkGoal> {
    let own = own_node(view, me)?;
    let mut goal = NetworkGoal {
        tunnel: Tunnel {
            vni: network.vni,
            port: view.data_path_port,
            local: own.address,
        },
        mtu: u32::from(network.mtu),
        bridge_mac: Mac::of_address(network.gateway),
        forwarding: BTreeSet::new(),
        neighbours: BTreeSet::new(),
    };
    for endpoint in network
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.node != me)
    {
        if let Some(node) = view.nodes.iter().find(|node| node.id == endpoint.node) {
            goal.far(
                endpoint.address,
                Mac::of_address(endpoint.address),
                node.address,
            );
        }
    }
    if network.ingress {
        for node in view.nodes.iter().filter(|node| node.id != me) {
            if let Some(address) = node.ingress {
                goal.far(address, Mac::of_gateway(node.number), node.address);
            }
        }
    }
    Some(goal)
}

impl NetworkGoal {
    fn far(&mut self, address: Ipv4Addr, mac: Mac, host: IpAddr) {
        self.forwarding.insert(Forwarding {
            dev: VXLAN.to_owned(),
            mac,
            remote: Some(host),
        });
        self.neighbours.insert(Neighbour {
            dev: VXLAN.to_owned(),
            address,
            mac,
        });
    }
}

/// The steps that make a network's namespace match its goal.
#[must_use]
pub fn network_steps(goal: &NetworkGoal, seen: &Picture) -> Vec<Step> {
    let mut steps = Vec::new();
    let bridge_stays = match seen.links.get(BRIDGE) {
        Some(link) if link.kind == LinkKind::Bridge => {
            keep_link(&mut steps, BRIDGE, link, goal.mtu);
            true
        }
        other => {
            if other.is_some() {
                steps.push(Step::DeleteLink {
                    name: BRIDGE.to_owned(),
                });
            }
            steps.push(Step::AddBridge {
                name: BRIDGE.to_owned(),
                mac: goal.bridge_mac,
                mtu: goal.mtu,
            });
            false
        }
    };
    let vxlan_stays = match seen.links.get(VXLAN) {
        // One that is not up was left half made.
        Some(link)
            if bridge_stays
                && link.up
                && link.kind == LinkKind::Vxlan(goal.tunnel)
                && link.bridge.as_deref() == Some(BRIDGE) =>
        {
            keep_link(&mut steps, VXLAN, link, goal.mtu);
            true
        }
        other => {
            if other.is_some() {
                steps.push(Step::DeleteLink {
                    name: VXLAN.to_owned(),
                });
            }
            steps.push(Step::AddVxlan {
                name: VXLAN.to_owned(),
                bridge: BRIDGE.to_owned(),
                tunnel: goal.tunnel,
                mtu: goal.mtu,
            });
            false
        }
    };
    entries(&mut steps, goal, seen, vxlan_stays);
    steps
}

fn keep_link(steps: &mut Vec<Step>, name: &str, link: &LinkSeen, mtu: u32) {
    if link.mtu != mtu {
        steps.push(Step::SetMtu {
            name: name.to_owned(),
            mtu,
        });
    }
    if !link.up {
        steps.push(Step::SetUp {
            name: name.to_owned(),
        });
    }
}

fn entries(steps: &mut Vec<Step>, goal: &NetworkGoal, seen: &Picture, stays: bool) {
    let none = Picture::default();
    let seen = if stays { seen } else { &none };
    // Removals first: an address that moved to another node has both under one key.
    let old = seen.forwarding.iter().filter(|entry| entry.dev == VXLAN);
    for entry in old.filter(|entry| !goal.forwarding.contains(entry)) {
        steps.push(Step::DropForwarding(entry.clone()));
    }
    let old = seen.neighbours.iter().filter(|entry| entry.dev == VXLAN);
    for entry in old.filter(|entry| !goal.neighbours.contains(entry)) {
        steps.push(Step::DropNeighbour(entry.clone()));
    }
    steps.extend(
        goal.forwarding
            .difference(&seen.forwarding)
            .cloned()
            .map(Step::PutForwarding),
    );
    steps.extend(
        goal.neighbours
            .difference(&seen.neighbours)
            .cloned()
            .map(Step::PutNeighbour),
    );
}

/// Settings of a network's namespace.
#[must_use]
pub fn network_settings() -> Vec<Step> {
    let set = |key: &str, value| Step::Sysctl {
        key: key.to_owned(),
        value,
    };
    vec![
        set("bridge/bridge-nf-call-iptables", "0"),
        set("bridge/bridge-nf-call-ip6tables", "0"),
        set("bridge/bridge-nf-call-arptables", "0"),
        // The namespace only forwards frames; it has no business of its own on the network.
        set("ipv6/conf/all/disable_ipv6", "1"),
        set("ipv6/conf/default/disable_ipv6", "1"),
    ]
}

/// Settings of a container's namespace: what Docker gives, so that images need no root to listen or to ping.
#[must_use]
pub fn task_settings() -> Vec<Step> {
    let set = |key: &str, value| Step::Sysctl {
        key: key.to_owned(),
        value,
    };
    vec![
        set("ipv4/ip_unprivileged_port_start", "0"),
        set("ipv4/ping_group_range", "0 2147483647"),
    ]
}

/// A container's interface on one overlay network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// Name inside the container.
    pub device: String,
    /// Name of the bridge's end.
    pub port: String,
    pub ns: Ns,
    pub address: Ipv4Net,
    pub mtu: u32,
    /// Where its packets for elsewhere go, if by this interface.
    pub gateway: Option<Gateway>,
}

/// Who carries a container's packets elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub address: Ipv4Addr,
    /// Known on ingress; elsewhere ARP finds it.
    pub mac: Option<Mac>,
}

/// Steps on the network's side and, after them, inside the container.
#[must_use]
pub fn plug_steps(plug: &Plug) -> (Vec<Step>, Vec<Step>) {
    let mac = Mac::of_address(plug.address.addr());
    let port = Port::Computed {
        bridge: BRIDGE.to_owned(),
    };
    let outside = vec![
        Step::DeleteLink {
            name: plug.port.clone(),
        },
        Step::AddVeth {
            name: plug.port.clone(),
            port,
            mtu: plug.mtu,
            mac: None,
            peer: Peer {
                ns: plug.ns.clone(),
                name: plug.device.clone(),
                mac,
            },
        },
        Step::PutForwarding(Forwarding {
            dev: plug.port.clone(),
            mac,
            remote: None,
        }),
    ];
    (
        outside,
        inside_steps(&plug.device, plug.address, plug.gateway),
    )
}

fn inside_steps(device: &str, address: Ipv4Net, gateway: Option<Gateway>) -> Vec<Step> {
    let dev = || device.to_owned();
    let mut inside = vec![
        Step::AddAddress {
            dev: dev(),
            address,
        },
        Step::SetUp { name: dev() },
    ];
    if let Some(gateway) = gateway {
        if let Some(mac) = gateway.mac {
            let address = gateway.address;
            inside.push(Step::PutNeighbour(Neighbour {
                dev: dev(),
                address,
                mac,
            }));
        }
        let to = Ipv4Net::default();
        inside.push(Step::AddRoute(Route {
            dev: dev(),
            to,
            via: Some(gateway.address),
        }));
    }
    inside
}

/// The node's bridge that leads containers out.
#[must_use]
pub fn way_out_steps(pool: Ipv4Net, seen: &Picture) -> Vec<Step> {
    let mut steps = Vec::new();
    let gateway = gateway_of(pool);
    let name = || WAY_OUT.to_owned();
    match seen.links.get(WAY_OUT) {
        Some(link) => keep_link(&mut steps, WAY_OUT, link, WAY_OUT_MTU),
        None => {
            let mac = Mac::of_address(gateway.addr());
            steps.push(Step::AddBridge {
                name: name(),
                mac,
                mtu: WAY_OUT_MTU,
            });
        }
    }
    if !seen.addresses.contains(&(name(), gateway)) {
        steps.push(Step::AddAddress {
            dev: name(),
            address: gateway,
        });
    }
    steps.push(Step::Sysctl {
        key: "ipv4/ip_forward".to_owned(),
        value: "1",
    });
    steps
}

/// The first address of the way out's range, with its prefix.
#[must_use]
pub fn gateway_of(pool: Ipv4Net) -> Ipv4Net {
    let first = pool.hosts().next().unwrap_or(pool.network());
    Ipv4Net::new(first, pool.prefix_len()).unwrap_or(pool)
}

/// Steps in the node's namespace and inside the container for its way out.
#[must_use]
pub fn exit_steps(
    port: &str,
    device: &str,
    ns: &Ns,
    address: Ipv4Net,
    default: Option<Ipv4Addr>,
) -> (Vec<Step>, Vec<Step>) {
    let mac = Mac::of_address(address.addr());
    let outside = vec![
        Step::DeleteLink {
            name: port.to_owned(),
        },
        Step::AddVeth {
            name: port.to_owned(),
            port: Port::Isolated {
                bridge: WAY_OUT.to_owned(),
            },
            mtu: WAY_OUT_MTU,
            mac: None,
            peer: Peer {
                ns: ns.clone(),
                name: device.to_owned(),
                mac,
            },
        },
    ];
    let gateway = default.map(|address| Gateway { address, mac: None });
    (outside, inside_steps(device, address, gateway))
}

/// The range that the node's bridge has.
#[must_use]
pub fn way_out_in_use(seen: &Picture) -> Option<Ipv4Net> {
    seen.addresses
        .iter()
        .find(|(dev, _)| dev == WAY_OUT)
        .map(|(_, net)| net.trunc())
}

/// The range for the way out: the one in use, else the first that no route of the node overlaps.
#[must_use]
pub fn way_out_pool(pools: &[Ipv4Net], seen: &Picture) -> Option<Ipv4Net> {
    way_out_in_use(seen).or_else(|| {
        pools.iter().copied().find(|pool| {
            seen.routes
                .iter()
                .all(|route| !route.contains(pool) && !pool.contains(route))
        })
    })
}

/// The node's own end of the ingress network: steps in the network's namespace, then in the node's.
#[must_use]
pub fn gateway_steps(
    own: &NodeView,
    network: &NetworkView,
    inside: &Picture,
    node: &Picture,
) -> (Vec<Step>, Vec<Step>) {
    let (mut there, mut here) = (Vec::new(), Vec::new());
    let Some(address) = own.ingress else {
        return (there, here);
    };
    let mac = Mac::of_gateway(own.number);
    let mtu = u32::from(network.mtu);
    let name = || GATEWAY.to_owned();
    let port = || GATEWAY_PORT.to_owned();
    let near = inside.links.get(GATEWAY_PORT).is_some_and(|link| link.up);
    let net = Ipv4Net::new(address, network.subnet.prefix_len()).unwrap_or(network.subnet);
    // Another number or another address is another gateway.
    let same = near && node.addresses.contains(&(name(), net));
    let far = node
        .links
        .get(GATEWAY)
        .filter(|link| same && link.mac == Some(mac));
    if far.is_none() {
        there.push(Step::DeleteLink { name: port() });
        here.push(Step::DeleteLink { name: name() });
        there.push(Step::AddVeth {
            name: port(),
            port: Port::Computed {
                bridge: BRIDGE.to_owned(),
            },
            mtu,
            mac: None,
            peer: Peer {
                ns: Ns::Host,
                name: name(),
                mac,
            },
        });
        there.push(Step::PutForwarding(Forwarding {
            dev: port(),
            mac,
            remote: None,
        }));
    }
    if far.is_none_or(|link| !link.up) {
        here.push(Step::SetUp { name: name() });
    }
    if far.is_none() {
        here.push(Step::AddAddress {
            dev: name(),
            address: net,
        });
        here.push(Step::AwaitCarrier { name: name() });
    }
    let set = |key: &str, value| Step::Sysctl {
        key: key.to_owned(),
        value,
    };
    here.push(set("ipv4/ip_forward", "1"));
    here.push(set("ipv4/conf/skep-in0/rp_filter", "0"));
    here.push(set("ipv4/conf/skep-in0/send_redirects", "0"));
    (there, here)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
