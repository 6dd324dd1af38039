//! The rules that cut a node off from the others of its cluster, for a drill.
//!
//! Pure. They see what the daemon and the overlay networks send and hear, on every device but the loopback, and
//! drop it; what containers and other programs do by other ports goes on.

use super::words::{base, chain, device, differs, equal, load, rule};
use super::{RAW, TCP, UDP};
use crate::nft::{Edit, Expr, Family, Header, Hook, Kind, Meta, Policy, Reg, Table};

/// The table of a drill.
pub const CUT: Table = Table {
    family: Family::Inet,
    name: "skep-drill",
};

/// Source and destination port in the header of either protocol.
const PORTS: [u32; 2] = [0, 2];
/// Before anything else looks: nothing is to learn of a packet that is not there.
const FIRST: i32 = RAW - 100;

/// Drops what passes by these ports, from their first packet on. The table goes with the socket that makes it.
pub fn cut(tcp: &[u16], udp: &[u16]) -> Vec<Edit> {
    let mut edits = vec![Edit::HoldTable(CUT)];
    for (name, hook, what) in [
        ("in", Hook::Input, Meta::InterfaceIn),
        ("out", Hook::Output, Meta::InterfaceOut),
    ] {
        let hook = base(Kind::Filter, hook, FIRST, Policy::Accept);
        edits.push(chain(CUT, name, hook));
        let tcp = tcp.iter().map(|port| (TCP, *port));
        let udp = udp.iter().map(|port| (UDP, *port));
        for (protocol, port) in tcp.chain(udp) {
            for place in PORTS {
                edits.push(rule(CUT, name, dropped(what, protocol, place, port)));
            }
        }
    }
    edits
}

fn dropped(device_of: Meta, protocol: u8, place: u32, port: u16) -> Vec<Expr> {
    vec![
        Expr::Meta {
            what: device_of,
            to: Reg(0),
        },
        differs(Reg(0), &device("lo")),
        Expr::Meta {
            what: Meta::Protocol,
            to: Reg(0),
        },
        equal(Reg(0), &[protocol]),
        load(Header::Transport, place, 2, Reg(0)),
        equal(Reg(0), &port.to_be_bytes()),
        Expr::Drop,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_and_both_ports_are_dropped_and_nothing_else() {
        let edits = cut(&[2377], &[4789]);
        assert_eq!(edits.first(), Some(&Edit::HoldTable(CUT)));
        let rules = edits.iter().filter_map(|edit| match edit {
            Edit::AddRule { chain, rule, .. } => Some((chain.as_str(), rule)),
            _ => None,
        });
        let rules: Vec<_> = rules.collect();
        assert_eq!(rules.len(), 8);
        for (_, rule) in &rules {
            assert_eq!(rule.last(), Some(&Expr::Drop));
            // Device, protocol and port: one test for each.
            let tests = rule.iter().filter(|it| matches!(it, Expr::Compare { .. }));
            assert_eq!(tests.count(), 3);
        }
        assert_eq!(rules.iter().filter(|(chain, _)| *chain == "in").count(), 4);
        assert!(
            cut(&[], &[])
                .iter()
                .all(|edit| !matches!(edit, Edit::AddRule { .. }))
        );
    }
}
