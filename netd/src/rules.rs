//! The nftables of a container and of the node, computed from what must be balanced to whom.
//!
//! Pure. A table is written whole at first and when its kind changes, and by differences afterwards.

mod balance;
mod cut;
mod ingress;
mod words;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use balance::{Balance, Balanced, Programmed};
use balance::{balance, follow, leave_to_tasks, maps};
pub use cut::cut;
pub use ingress::ingress_switch;
use ingress::way_back;
use words::{anew, base, chain, device, differs, equal, load, rule};

use crate::names::{GATEWAY, TABLE, WAY_OUT};
use crate::nft::{Ct, Edit, Expr, Family, Header, Hook, Kind, Meta, Policy, Reg, Side, Table};

/// The table of addresses, in a container's namespace and in the node's.
pub const IP: Table = Table {
    family: Family::Ip,
    name: TABLE,
};
/// The table that writes the way back into frames, in a container on ingress.
pub const FRAMES: Table = Table {
    family: Family::Netdev,
    name: TABLE,
};
/// The table that keeps tasks on ingress apart, in that network's namespace.
pub const SWITCH: Table = Table {
    family: Family::Bridge,
    name: TABLE,
};

/// The address every container asks for names.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const NAT_DESTINATION: i32 = -100;
const NAT_SOURCE: i32 = 100;
const RAW: i32 = -300;
const MANGLE: i32 = -150;
const LOCAL_ADDRESS: u32 = 2;
const LOOPBACK: &str = "lo";
/// Source or destination of the connection is rewritten.
const TRANSLATED: u32 = 0x10 | 0x20;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a container's own table is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ContainerRules<'a> {
    /// UDP and TCP port of the resolver's sockets.
    pub resolver: Option<(u16, u16)>,
    /// The device on the ingress network.
    pub ingress: Option<&'a str>,
}

/// A container's tables, whole.
#[must_use]
pub fn container(rules: ContainerRules<'_>, balanced: &Balanced) -> Vec<Edit> {
    let mut edits = anew(IP);
    edits.push(chain(
        IP,
        "out",
        base(Kind::Nat, Hook::Output, NAT_DESTINATION, Policy::Accept),
    ));
    edits.extend(maps(Balance::Vip));
    if let Some((udp, tcp)) = rules.resolver {
        edits.push(rule(IP, "out", to_resolver(UDP, udp)));
        edits.push(rule(IP, "out", to_resolver(TCP, tcp)));
    }
    edits.push(rule(IP, "out", follow(Balance::Vip)));
    edits.extend(nothing_astray());
    balance(&mut edits, balanced, Balance::Vip);
    if let Some(name) = rules.ingress {
        edits.extend(way_back(name));
    }
    edits
}

/// While targets change, the first packet of a connection may find no choice. It is to come again: let through, it would
/// make the kernel track its connection as one to the virtual address itself, and translate none of its packets ever.
///
/// It is dropped after the choice and before the kernel confirms the connection, so that the next one is a first packet
/// again. TCP alone: its kernel asks again after a second and its program is told nothing, whereas who sends a datagram is
/// told that it is not permitted, whichever hook drops it. Such datagrams are forgotten in `Backing::gone_since`.
fn nothing_astray() -> [Edit; 2] {
    let after = base(Kind::Filter, Hook::Postrouting, 0, Policy::Accept);
    let mut astray = vec![
        Expr::Meta {
            what: Meta::Protocol,
            to: Reg(0),
        },
        equal(Reg(0), &[TCP]),
    ];
    astray.extend(leave_to_tasks(Balance::Vip));
    [chain(IP, "astray", after), rule(IP, "astray", astray)]
}

fn to_resolver(protocol: u8, port: u16) -> Vec<Expr> {
    vec![
        load(Header::Network, 16, 4, Reg(0)),
        equal(Reg(0), &RESOLVER.octets()),
        Expr::Meta {
            what: Meta::Protocol,
            to: Reg(0),
        },
        equal(Reg(0), &[protocol]),
        load(Header::Transport, 2, 2, Reg(0)),
        equal(Reg(0), &53u16.to_be_bytes()),
        Expr::Immediate {
            to: Reg(0),
            bytes: RESOLVER.octets().to_vec(),
        },
        Expr::Immediate {
            to: Reg(1),
            bytes: port.to_be_bytes().to_vec(),
        },
        Expr::Dnat {
            address: Reg(0),
            port: Some(Reg(1)),
        },
    ]
}

/// What the node's own table is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NodeRules {
    /// Addresses of containers' ways out.
    pub way_out: Option<Ipv4Net>,
    /// The ingress network's range, while the node has a gateway on it.
    pub ingress: Option<Ipv4Net>,
}

/// The node's one table, whole.
#[must_use]
pub fn node(rules: NodeRules, balanced: &Balanced) -> Vec<Edit> {
    let mut edits = accept();
    leave(&mut edits, rules);
    balance(&mut edits, balanced, Balance::Port);
    edits
}

/// Published ports on the node's own addresses.
fn accept() -> Vec<Edit> {
    let mut edits = anew(IP);
    edits.extend(maps(Balance::Port));
    for (name, hook) in [("in", Hook::Prerouting), ("out", Hook::Output)] {
        edits.push(chain(
            IP,
            name,
            base(Kind::Nat, hook, NAT_DESTINATION, Policy::Accept),
        ));
        // Loopback is the relay's: packets from 127.0.0.1 may not leave the node.
        let mut accept = vec![
            load(Header::Network, 16, 1, Reg(0)),
            differs(Reg(0), &[127]),
            Expr::AddressKind {
                of: Side::Destination,
                to: Reg(0),
            },
            equal(Reg(0), &LOCAL_ADDRESS.to_ne_bytes()),
        ];
        accept.extend(follow(Balance::Port));
        edits.push(rule(IP, name, accept));
    }
    // While targets change, a packet may find no choice for a moment. It is to come again, not to be turned away
    // by the socket that holds the port here.
    let own = base(Kind::Filter, Hook::Input, 0, Policy::Accept);
    edits.push(chain(IP, "own", own));
    let mut from_elsewhere = vec![
        Expr::Meta {
            what: Meta::InterfaceIn,
            to: Reg(4),
        },
        differs(Reg(4), &device(LOOPBACK)),
    ];
    from_elsewhere.extend(leave_to_tasks(Balance::Port));
    edits.push(rule(IP, "own", from_elsewhere));
    edits
}

/// What containers send out, and what the node forwards to them.
fn leave(edits: &mut Vec<Edit>, rules: NodeRules) {
    edits.push(chain(
        IP,
        "leave",
        base(Kind::Nat, Hook::Postrouting, NAT_SOURCE, Policy::Accept),
    ));
    let through = base(Kind::Filter, Hook::Forward, 0, Policy::Accept);
    edits.push(chain(IP, "through", through));
    if let Some(range) = rules.way_out {
        edits.push(rule(IP, "through", only_translated(WAY_OUT)));
        let mut leave = from_range(range);
        leave.push(Expr::Masquerade);
        edits.push(rule(IP, "leave", leave));
    }
    if let Some(range) = rules.ingress {
        edits.push(rule(IP, "through", only_translated(GATEWAY)));
        // Also what comes back to a task by a published port: it may have asked itself.
        let mut leave = from_range(range);
        leave.push(Expr::Masquerade);
        edits.push(rule(IP, "leave", leave));
        // The node's own connections, from whichever of its addresses.
        edits.push(rule(
            IP,
            "leave",
            vec![
                Expr::Meta {
                    what: Meta::InterfaceOut,
                    to: Reg(4),
                },
                equal(Reg(4), &device(GATEWAY)),
                Expr::AddressKind {
                    of: Side::Source,
                    to: Reg(0),
                },
                equal(Reg(0), &LOCAL_ADDRESS.to_ne_bytes()),
                Expr::Masquerade,
            ],
        ));
    }
}

fn from_range(range: Ipv4Net) -> Vec<Expr> {
    vec![
        load(Header::Network, 12, 4, Reg(0)),
        Expr::Mask {
            reg: Reg(0),
            mask: range.netmask().octets().to_vec(),
        },
        equal(Reg(0), &range.network().octets()),
    ]
}

/// What the node forwards to containers was either sent to a published port or answers what they asked; nobody, not
/// even a neighbour, reaches their addresses here directly.
fn only_translated(name: &str) -> Vec<Expr> {
    vec![
        Expr::Meta {
            what: Meta::InterfaceOut,
            to: Reg(4),
        },
        equal(Reg(4), &device(name)),
        Expr::Ct {
            what: Ct::Status,
            to: Reg(0),
        },
        Expr::Mask {
            reg: Reg(0),
            mask: TRANSLATED.to_ne_bytes().to_vec(),
        },
        equal(Reg(0), &[0; 4]),
        Expr::Drop,
    ]
}
