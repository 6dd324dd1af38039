//! Destinations that are balanced: one verdict element each and one element for each target.
//!
//! Pure. A change of targets changes only elements. Chains exist once for each count of targets and choose one of
//! them with equal chance.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use skep_proto::spec::Protocol;

use super::words::load;
use super::{IP, TCP, UDP};
use crate::nft::{Datum, Edit, Expr, Header, Key, Meta, Reg, Value};

/// Which chain a destination goes to, and where from there.
const CHOICES: &str = "choices";
const TARGETS: &str = "targets";
/// What only tasks answer: neither the node itself, nor whoever has the address that stands for them.
const TAKEN: &str = "taken";

/// Destinations in the order of their keys, each with its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balanced {
    targets: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Balanced {
    /// A virtual address and the tasks behind it. Without tasks it is not balanced at all.
    pub fn add_vip(&mut self, vip: Ipv4Addr, tasks: impl IntoIterator<Item = Ipv4Addr>) {
        let tasks: Vec<Vec<u8>> = tasks
            .into_iter()
            .map(|task| task.octets().to_vec())
            .collect();
        if !tasks.is_empty() {
            self.targets.insert(vip.octets().to_vec(), tasks);
        }
    }

    /// A published port and the addresses and ports behind it.
    pub fn add_port(
        &mut self,
        protocol: Protocol,
        port: u16,
        tasks: impl IntoIterator<Item = (Ipv4Addr, u16)>,
    ) {
        let tasks: Vec<Vec<u8>> = tasks
            .into_iter()
            .map(|(address, port)| {
                let mut target = address.octets().to_vec();
                target.extend(padded(&port.to_be_bytes()));
                target
            })
            .collect();
        if !tasks.is_empty() {
            let mut key = padded(&[number_of(protocol)]).to_vec();
            key.extend(padded(&port.to_be_bytes()));
            self.targets.insert(key, tasks);
        }
    }

    /// The virtual addresses that have tasks.
    #[must_use]
    pub fn vips(&self) -> BTreeSet<Ipv4Addr> {
        let octets = self
            .targets
            .keys()
            .filter_map(|key| <[u8; 4]>::try_from(&key[..]).ok());
        octets.map(Ipv4Addr::from).collect()
    }

    fn elements(&self) -> BTreeMap<(&'static str, Vec<u8>), Datum> {
        let mut all = BTreeMap::new();
        for (key, targets) in &self.targets {
            let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
            all.insert((CHOICES, key.clone()), Datum::Goto(chain_of(count)));
            all.insert((TAKEN, key.clone()), Datum::Drop);
            for (place, target) in (0u32..).zip(targets) {
                // The kernel draws numbers in its own byte order.
                let mut slot = key.clone();
                slot.extend(place.to_ne_bytes());
                all.insert((TARGETS, slot), Datum::Bytes(target.clone()));
            }
        }
        all
    }

    fn counts(&self) -> BTreeSet<u32> {
        self.targets
            .values()
            .filter_map(|targets| u32::try_from(targets.len()).ok())
            .collect()
    }
}

pub(super) fn padded(bytes: &[u8]) -> [u8; 4] {
    let mut register = [0; 4];
    register
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    register
}

pub(super) fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    }
}

pub(super) fn chain_of(count: u32) -> String {
    format!("of{count}")
}

/// A table that balances: what it holds, so that the next change is only the difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programmed {
    pub balanced: Balanced,
    counts: BTreeSet<u32>,
}

impl Programmed {
    /// What a table made anew holds.
    #[must_use]
    pub fn whole(balanced: Balanced) -> Self {
        Self {
            counts: balanced.counts(),
            balanced,
        }
    }

    /// The edits from what is there to `next`, and what is there then.
    #[must_use]
    pub fn change(&self, next: Balanced, key: Balance) -> (Vec<Edit>, Self) {
        let (old, new) = (self.balanced.elements(), next.elements());
        let mut edits = Vec::new();
        for ((map, key), value) in &old {
            if new.get(&(*map, key.clone())) != Some(value) {
                edits.push(Edit::DropElement {
                    table: IP,
                    map,
                    key: key.clone(),
                });
            }
        }
        let mut counts = self.counts.clone();
        for count in next.counts() {
            if counts.insert(count) {
                edits.extend(choice(count, key));
            }
        }
        for ((map, key), value) in new {
            if old.get(&(map, key.clone())) != Some(&value) {
                edits.push(Edit::PutElement {
                    table: IP,
                    map,
                    key,
                    value,
                });
            }
        }
        (
            edits,
            Self {
                balanced: next,
                counts,
            },
        )
    }
}

/// What destinations are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// A service's virtual address.
    Vip,
    /// A published protocol and port of this node.
    Port,
}

/// Loads the key from a packet, from register 0 on; gives the register behind it.
pub(super) fn load_key(balance: Balance) -> (Vec<Expr>, Reg) {
    match balance {
        Balance::Vip => (vec![load(Header::Network, 16, 4, Reg(0))], Reg(1)),
        Balance::Port => (
            vec![
                Expr::Meta {
                    what: Meta::Protocol,
                    to: Reg(0),
                },
                load(Header::Transport, 2, 2, Reg(1)),
            ],
            Reg(2),
        ),
    }
}

/// The chain that chooses among so many targets. A packet that drew a number just as targets went, between two looks at
/// the maps, finds nothing there and gets the first: that one is there while there is any.
pub(super) fn choice(count: u32, balance: Balance) -> Vec<Edit> {
    let chain = chain_of(count);
    let mut edits = vec![Edit::AddChain {
        table: IP,
        name: chain.clone(),
        base: None,
    }];
    let draws = [count, 1].into_iter().take(if count > 1 { 2 } else { 1 });
    edits.extend(draws.map(|among| Edit::AddRule {
        table: IP,
        chain: chain.clone(),
        rule: draw(among, balance),
    }));
    edits
}

/// Leads to one of the first so many targets.
fn draw(among: u32, balance: Balance) -> Vec<Expr> {
    let (mut rule, next) = load_key(balance);
    let port = match balance {
        Balance::Vip => None,
        Balance::Port => Some(Reg(1)),
    };
    rule.extend([
        Expr::Random {
            modulus: among,
            to: next,
        },
        Expr::Lookup {
            map: TARGETS,
            key: Reg(0),
            to: Reg(0),
        },
        Expr::Dnat {
            address: Reg(0),
            port,
        },
    ]);
    rule
}

pub(super) fn maps(balance: Balance) -> Vec<Edit> {
    let (choices, targets, value) = match balance {
        Balance::Vip => (Key::Address, Key::AddressSlot, Value::Address),
        Balance::Port => (Key::ProtocolPort, Key::ProtocolPortSlot, Value::AddressPort),
    };
    vec![
        Edit::AddMap {
            table: IP,
            name: CHOICES,
            key: choices,
            value: Value::Verdict,
        },
        Edit::AddMap {
            table: IP,
            name: TARGETS,
            key: targets,
            value,
        },
        Edit::AddMap {
            table: IP,
            name: TAKEN,
            key: choices,
            value: Value::Verdict,
        },
    ]
}

/// Chains and elements of all that is balanced.
pub(super) fn balance(edits: &mut Vec<Edit>, balanced: &Balanced, balance: Balance) {
    for count in balanced.counts() {
        edits.extend(choice(count, balance));
    }
    for ((map, key), value) in balanced.elements() {
        edits.push(Edit::PutElement {
            table: IP,
            map,
            key,
            value,
        });
    }
}

pub(super) fn follow(balance: Balance) -> Vec<Expr> {
    look_up(balance, CHOICES)
}

/// Drops what is for tasks.
pub(super) fn leave_to_tasks(balance: Balance) -> Vec<Expr> {
    look_up(balance, TAKEN)
}

fn look_up(balance: Balance, map: &'static str) -> Vec<Expr> {
    let (mut rule, _) = load_key(balance);
    rule.push(Expr::Follow { map, key: Reg(0) });
    rule
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
