//! The rules of published ports in ingress mode, inside tasks and on their switch.
//!
//! Pure. The accepting node only rewrites the destination; all the rest of the way back is here.

use super::words::{anew, base, chain, device, differs, equal, load, rule};
use super::{FRAMES, IP, MANGLE, NAT_SOURCE, RAW, SWITCH};
use crate::names::{GATEWAY_MARK, GATEWAY_PORT, Mac, VXLAN};
use crate::nft::{Ct, Edit, Expr, Header, Hook, Kind, Meta, Policy, Reg};

/// Replies to published connections return by the node that accepted them: its gateway's MAC is kept as the
/// connection's mark and written into every frame of the reply. Its number is also the connection's zone, so that one
/// client that reached the task by two nodes has two connections.
pub(super) fn way_back(name: &str) -> Vec<Edit> {
    let here = || {
        [
            Expr::Meta {
                what: Meta::InterfaceIn,
                to: Reg(4),
            },
            equal(Reg(4), &device(name)),
        ]
    };
    let with = |tail: Vec<Expr>| here().into_iter().chain(tail).collect::<Vec<_>>();
    let filter = |hook, priority| base(Kind::Filter, hook, priority, Policy::Accept);
    let mut edits = vec![
        chain(IP, "zone", filter(Hook::Prerouting, RAW)),
        rule(
            IP,
            "zone",
            with(vec![
                load(Header::Link, 10, 2, Reg(0)),
                Expr::SetCt {
                    what: Ct::OriginalZone,
                    from: Reg(0),
                },
            ]),
        ),
        chain(IP, "from", filter(Hook::Prerouting, MANGLE)),
        rule(
            IP,
            "from",
            with(vec![
                load(Header::Link, 8, 4, Reg(0)),
                Expr::SetCt {
                    what: Ct::Mark,
                    from: Reg(0),
                },
            ]),
        ),
        // Empty: that it is there makes the kernel give equal connections from two nodes different ports.
        chain(
            IP,
            "apart",
            base(Kind::Nat, Hook::Input, NAT_SOURCE, Policy::Accept),
        ),
        chain(IP, "back", filter(Hook::Output, MANGLE)),
        rule(
            IP,
            "back",
            vec![
                Expr::Ct {
                    what: Ct::Mark,
                    to: Reg(0),
                },
                differs(Reg(0), &[0; 4]),
                Expr::SetMeta {
                    what: Meta::Mark,
                    from: Reg(0),
                },
            ],
        ),
    ];
    edits.extend(frames(name));
    edits
}

/// Writes a reply's mark into the frame: the accepting gateway's MAC.
fn frames(name: &str) -> Vec<Edit> {
    let [mark_0, mark_1] = GATEWAY_MARK;
    let mut edits = anew(FRAMES);
    let hook = Hook::Egress {
        device: name.to_owned(),
    };
    edits.push(chain(
        FRAMES,
        "back",
        base(Kind::Filter, hook, 0, Policy::Accept),
    ));
    edits.push(rule(
        FRAMES,
        "back",
        vec![
            Expr::Meta {
                what: Meta::Mark,
                to: Reg(0),
            },
            Expr::Meta {
                what: Meta::Mark,
                to: Reg(1),
            },
            Expr::Mask {
                reg: Reg(0),
                mask: vec![0xff, 0xff, 0, 0],
            },
            equal(Reg(0), &[mark_0, mark_1, 0, 0]),
            Expr::Store {
                header: Header::Link,
                offset: 2,
                len: 4,
                from: Reg(1),
            },
        ],
    ));
    edits
}

/// On ingress only gateways and tasks exchange frames, never task and task.
#[must_use]
pub fn ingress_switch() -> Vec<Edit> {
    let gateway = Mac::gateway_prefix();
    let from_port = |name: &str| {
        vec![
            Expr::Meta {
                what: Meta::InterfaceIn,
                to: Reg(4),
            },
            equal(Reg(4), &device(name)),
        ]
    };
    let mut own = from_port(GATEWAY_PORT);
    own.push(Expr::Accept);
    let mut far = from_port(VXLAN);
    far.extend([
        load(Header::Link, 6, 4, Reg(0)),
        equal(Reg(0), &gateway),
        Expr::Accept,
    ]);
    let to = vec![
        load(Header::Link, 0, 4, Reg(0)),
        equal(Reg(0), &gateway),
        Expr::Accept,
    ];
    let mut edits = anew(SWITCH);
    edits.push(chain(
        SWITCH,
        "forward",
        base(Kind::Filter, Hook::Forward, 0, Policy::Drop),
    ));
    edits.push(rule(SWITCH, "forward", own));
    edits.push(rule(SWITCH, "forward", far));
    edits.push(rule(SWITCH, "forward", to));
    edits
}
