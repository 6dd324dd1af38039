//! Expressions of nftables on the wire. Numbers are those of `linux/netfilter/nf_tables.h`.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_netfilter::nftables::{ExpressionAttribute, Expressions, ListAttribute};

use super::nft::number;
use crate::nft::{Ct, Expr, Header, Meta, Reg, Side, Test};

/// The register that holds a verdict.
const VERDICT: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const CT_ORIGINAL: u8 = 0;

/// One expression as a member of a rule's list.
pub(super) fn encode(expr: &Expr) -> ListAttribute<ExpressionAttribute> {
    let (name, attributes) = match expr {
        Expr::Load {
            header,
            offset,
            len,
            to,
        } => {
            let mut all = place(*header, *offset, *len);
            all.push(number(1, register(*to)));
            ("payload", all)
        }
        Expr::Store {
            header,
            offset,
            len,
            from,
        } => {
            let mut all = place(*header, *offset, *len);
            all.push(number(5, register(*from)));
            all.push(number(6, 0));
            ("payload", all)
        }
        Expr::Meta { what, to } => (
            "meta",
            vec![number(2, meta(*what)), number(1, register(*to))],
        ),
        Expr::SetMeta { what, from } => (
            "meta",
            vec![number(2, meta(*what)), number(3, register(*from))],
        ),
        Expr::Ct { what, to } => ("ct", ct(*what, 1, *to)),
        Expr::SetCt { what, from } => ("ct", ct(*what, 4, *from)),
        Expr::AddressKind { of, to } => {
            let flags = match of {
                Side::Source => 1,
                Side::Destination => 2,
            };
            (
                "fib",
                vec![number(1, register(*to)), number(2, 3), number(3, flags)],
            )
        }
        other => decide(other),
    };
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes,
    }
    .into()
}

/// Expressions that compare, look up or act.
fn decide(expr: &Expr) -> (&'static str, Vec<DefaultNla>) {
    match expr {
        Expr::Mask { reg, mask } => {
            let len = u32::try_from(mask.len()).unwrap_or(0);
            (
                "bitwise",
                vec![
                    number(1, register(*reg)),
                    number(2, register(*reg)),
                    number(3, len),
                    value(4, mask),
                    value(5, &vec![0; mask.len()]),
                ],
            )
        }
        Expr::Compare { reg, test, with } => {
            let op = match test {
                Test::Equal => 0,
                Test::Differs => 1,
            };
            (
                "cmp",
                vec![number(1, register(*reg)), number(2, op), value(3, with)],
            )
        }
        Expr::Random { modulus, to } => (
            "numgen",
            vec![
                number(1, register(*to)),
                number(2, *modulus),
                number(3, 1),
                number(4, 0),
            ],
        ),
        Expr::Lookup { map, key, to } => (
            "lookup",
            vec![
                text(1, map),
                number(2, register(*key)),
                number(3, register(*to)),
            ],
        ),
        Expr::Follow { map, key } => (
            "lookup",
            vec![text(1, map), number(2, register(*key)), number(3, VERDICT)],
        ),
        Expr::Dnat { address, port } => ("nat", dnat(*address, *port)),
        Expr::Masquerade => ("masq", Vec::new()),
        Expr::Immediate { to, bytes } => {
            ("immediate", vec![number(1, register(*to)), value(2, bytes)])
        }
        Expr::Accept => verdict(ACCEPT),
        Expr::Drop => verdict(DROP),
        // The rest only moves bytes and was encoded by the caller.
        _ => ("", Vec::new()),
    }
}

fn verdict(code: u32) -> (&'static str, Vec<DefaultNla>) {
    let verdict = nested(2, &[number(1, code)]);
    ("immediate", vec![number(1, VERDICT), nested(2, &[verdict])])
}

/// The four-byte registers begin at 8.
fn register(reg: Reg) -> u32 {
    u32::from(reg.0).saturating_add(8)
}

fn place(header: Header, offset: u32, len: u32) -> Vec<DefaultNla> {
    let base = match header {
        Header::Link => 0,
        Header::Network => 1,
        Header::Transport => 2,
    };
    vec![number(2, base), number(3, offset), number(4, len)]
}

fn meta(what: Meta) -> u32 {
    match what {
        Meta::Mark => 3,
        Meta::InterfaceIn => 6,
        Meta::InterfaceOut => 7,
        Meta::Protocol => 16,
    }
}

fn ct(what: Ct, register_kind: u16, reg: Reg) -> Vec<DefaultNla> {
    let mut all = vec![number(register_kind, register(reg))];
    match what {
        Ct::Mark => all.push(number(2, 3)),
        Ct::Status => all.push(number(2, 2)),
        Ct::OriginalZone => {
            all.push(number(2, 17));
            all.push(DefaultNla::new(3, vec![CT_ORIGINAL]));
        }
    }
    all
}

fn dnat(address: Reg, port: Option<Reg>) -> Vec<DefaultNla> {
    const DNAT: u32 = 1;
    const IPV4: u32 = 2;
    let mut all = vec![
        number(1, DNAT),
        number(2, IPV4),
        number(3, register(address)),
    ];
    if let Some(port) = port {
        all.push(number(5, register(port)));
    }
    all
}

/// Data: a nested value.
fn value(kind: u16, bytes: &[u8]) -> DefaultNla {
    nested(kind, &[DefaultNla::new(1, bytes.to_vec())])
}

fn text(kind: u16, text: &str) -> DefaultNla {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    DefaultNla::new(kind, bytes)
}

fn nested(kind: u16, members: &[DefaultNla]) -> DefaultNla {
    let mut bytes = vec![0; members.buffer_len()];
    members.emit(&mut bytes);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}
