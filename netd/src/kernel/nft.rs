//! nftables over netlink: one batch of edits is one transaction of the kernel.
//!
//! The kernel answers while it takes the message, so nothing here waits.

use std::io;

use bytes::BytesMut;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, DevHookNumber, Hook as WireHook, HookNumber,
    InetHookNumber, ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute,
    SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute,
    TableFlags, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::Socket;

use super::nft_expr::encode;
use crate::nft::{Base, Datum, Edit, Family, Hook, Key, Kind, Policy, Table, Value};

type Message = NetlinkMessage<NetfilterMessage>;

/// The subsystem a batch is for.
const NFTABLES: u16 = 10;
/// Data type of a map of verdicts.
const VERDICT: u32 = 0xffff_ff00;
/// Data types as the `nft` tool names them when it lists.
const ADDRESS: u32 = 7;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const NUMBER: u32 = 4;
/// NF_DROP.
const DROP: u32 = 0;
/// The largest answer the kernel gives at once.
const ANSWER: usize = 64 * 1024;

/// Makes all edits or none.
pub(super) fn commit(socket: &Socket, edits: &[Edit]) -> io::Result<()> {
    if edits.is_empty() {
        return Ok(());
    }
    let mut batch = vec![control(ControlMessage::BatchBegin)];
    let mut set_id = 0u32;
    for edit in edits {
        set_id = set_id.saturating_add(1);
        batch.push(message(edit, set_id));
    }
    if let Some(last) = batch.last_mut() {
        last.header.flags |= NLM_F_ACK;
    }
    batch.push(control(ControlMessage::BatchEnd));
    let first = send(socket, &mut batch)?;
    let mut acknowledged = false;
    for answer in receive(socket)? {
        let NetlinkPayload::Error(error) = answer.payload else {
            continue;
        };
        if error.code.is_none() {
            acknowledged = true;
            continue;
        }
        let place = answer
            .header
            .sequence_number
            .wrapping_sub(first)
            .wrapping_sub(1);
        let which = usize::try_from(place)
            .ok()
            .and_then(|place| edits.get(place));
        let cause = error.to_io();
        return Err(match which {
            Some(edit) => io::Error::new(
                cause.kind(),
                Refused {
                    what: describe(edit),
                    cause,
                },
            ),
            None => cause,
        });
    }
    if acknowledged {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

/// The edit of a batch that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Refused {
    what: String,
    #[source]
    cause: io::Error,
}

fn describe(edit: &Edit) -> String {
    match edit {
        Edit::AddTable(table) | Edit::HoldTable(table) => format!("add table {}", table.name),
        Edit::DropTable(table) => format!("drop table {}", table.name),
        Edit::AddChain { name, .. } => format!("add chain {name}"),
        Edit::AddMap { name, .. } => format!("add map {name}"),
        Edit::AddRule { chain, rule, .. } => format!("add a rule to chain {chain}: {rule:?}"),
        Edit::PutElement {
            map, key, value, ..
        } => format!("put {key:?} = {value:?} in map {map}"),
        Edit::DropElement { map, key, .. } => format!("drop {key:?} from map {map}"),
    }
}

/// Numbers and sends messages in one datagram; gives the first number.
pub(super) fn send(socket: &Socket, messages: &mut [Message]) -> io::Result<u32> {
    let mut bytes = Vec::new();
    // Answers to an earlier batch were read when it was sent, so numbers may begin anew.
    for (number, message) in (1u32..).zip(messages.iter_mut()) {
        message.header.sequence_number = number;
        message.finalize();
        let start = bytes.len();
        bytes.resize(start.saturating_add(message.buffer_len()), 0);
        if let Some(place) = bytes.get_mut(start..) {
            message.serialize(place);
        }
        let aligned = bytes.len().next_multiple_of(4);
        bytes.resize(aligned, 0);
    }
    let sent = socket.send(&bytes, 0)?;
    if sent == bytes.len() {
        Ok(1)
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Reads every answer that is there.
pub(super) fn receive(socket: &Socket) -> io::Result<Vec<Message>> {
    let mut answers = Vec::new();
    loop {
        let mut buffer = BytesMut::with_capacity(ANSWER);
        match socket.recv(&mut buffer, 0) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answers),
            Err(error) => return Err(error),
        }
        let mut rest: &[u8] = &buffer;
        while !rest.is_empty() {
            let bad = |_| io::Error::from(io::ErrorKind::InvalidData);
            let length = NetlinkBuffer::new_checked(rest).map_err(bad)?.length();
            let length = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .next_multiple_of(4);
            answers.push(Message::deserialize(rest).map_err(bad)?);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn control(which: ControlMessage) -> Message {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
    let mut message = Message::from(NetfilterMessage::new(header, which));
    message.header.flags = NLM_F_REQUEST;
    message
}

fn message(edit: &Edit, set_id: u32) -> Message {
    let (table, inner, flags) = match edit {
        Edit::AddTable(table) => (
            table,
            NfTablesMessage::NewTable(table_of(table)),
            NLM_F_CREATE,
        ),
        Edit::HoldTable(table) => {
            let mut held = table_of(table);
            held.attributes
                .push(TableAttribute::Flags(TableFlags::Owner));
            (table, NfTablesMessage::NewTable(held), NLM_F_CREATE)
        }
        Edit::DropTable(table) => (table, NfTablesMessage::DeleteTable(table_of(table)), 0),
        Edit::AddChain { table, name, base } => (
            table,
            NfTablesMessage::NewChain(chain(table, name, base.as_ref())),
            NLM_F_CREATE,
        ),
        Edit::AddMap {
            table,
            name,
            key,
            value,
        } => (
            table,
            NfTablesMessage::NewSet(map(table, name, *key, *value, set_id)),
            NLM_F_CREATE,
        ),
        Edit::AddRule { table, chain, rule } => (
            table,
            NfTablesMessage::NewRule(RuleMessage {
                attributes: vec![
                    RuleAttribute::Table(table.name.to_owned()),
                    RuleAttribute::Chain(chain.clone()),
                    RuleAttribute::Expressions(rule.iter().map(encode).collect()),
                ],
            }),
            NLM_F_CREATE | NLM_F_APPEND,
        ),
        Edit::PutElement {
            table,
            map,
            key,
            value,
        } => (
            table,
            NfTablesMessage::NewSetElement(element(table, map, key, Some(value))),
            NLM_F_CREATE,
        ),
        Edit::DropElement { table, map, key } => (
            table,
            NfTablesMessage::DeleteSetElement(element(table, map, key, None)),
            0,
        ),
    };
    let family = match table.family {
        Family::Ip => NetfilterProtoFamily::IPv4,
        Family::Bridge => NetfilterProtoFamily::Bridge,
        Family::Netdev => NetfilterProtoFamily::NetDev,
        Family::Inet => NetfilterProtoFamily::Inet,
    };
    let header = NetfilterHeader::new(family, 0, 0);
    let mut message = Message::from(NetfilterMessage::new(header, inner));
    message.header.flags = NLM_F_REQUEST | flags;
    message
}

fn table_of(table: &Table) -> TableMessage {
    TableMessage {
        attributes: vec![TableAttribute::Name(table.name.to_owned())],
    }
}

fn chain(table: &Table, name: &str, base: Option<&Base>) -> ChainMessage {
    let mut attributes = vec![
        ChainAttribute::Table(table.name.to_owned()),
        ChainAttribute::Name(name.to_owned()),
    ];
    if let Some(base) = base {
        let number = match base.hook {
            Hook::Prerouting => HookNumber::from(InetHookNumber::PreRouting),
            Hook::Input => HookNumber::from(InetHookNumber::LocalIn),
            Hook::Forward => HookNumber::from(InetHookNumber::Forward),
            Hook::Output => HookNumber::from(InetHookNumber::LocalOut),
            Hook::Postrouting => HookNumber::from(InetHookNumber::PostRouting),
            Hook::Egress { .. } => HookNumber::from(DevHookNumber::Egress),
        };
        let mut hook = vec![
            WireHook::Number(number),
            WireHook::Priority(u32::from_ne_bytes(base.priority.to_ne_bytes())),
        ];
        if let Hook::Egress { device } = &base.hook {
            hook.push(WireHook::NetDeviceName(device.clone()));
        }
        attributes.push(ChainAttribute::Hook(hook));
        let kind = match base.kind {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        };
        attributes.push(ChainAttribute::Type(kind.to_owned()));
        attributes.push(ChainAttribute::Policy(match base.policy {
            Policy::Drop => 0,
            Policy::Accept => 1,
        }));
    }
    ChainMessage { attributes }
}

fn map(table: &Table, name: &str, key: Key, value: Value, set_id: u32) -> SetMessage {
    let parts: &[u32] = match key {
        Key::Address => &[ADDRESS],
        Key::AddressSlot => &[ADDRESS, NUMBER],
        Key::ProtocolPort => &[PROTOCOL, PORT],
        Key::ProtocolPortSlot => &[PROTOCOL, PORT, NUMBER],
    };
    let mut attributes = vec![
        SetAttribute::Table(table.name.to_owned()),
        SetAttribute::Name(name.to_owned()),
        SetAttribute::Flags(SetFlags::Map),
        SetAttribute::KeyType(concatenation(parts)),
        SetAttribute::KeyLen(width(parts)),
    ];
    let data: &[u32] = match value {
        Value::Verdict => &[],
        Value::Address => &[ADDRESS],
        Value::AddressPort => &[ADDRESS, PORT],
    };
    if data.is_empty() {
        attributes.push(SetAttribute::DataType(VERDICT));
    } else {
        attributes.push(SetAttribute::DataType(concatenation(data)));
        attributes.push(SetAttribute::DataLen(width(data)));
    }
    attributes.push(SetAttribute::Id(set_id));
    SetMessage { attributes }
}

/// Each part of a key takes a register of four bytes.
fn width(parts: &[u32]) -> u32 {
    parts.iter().fold(0, |sum, _| sum.saturating_add(4))
}

fn concatenation(parts: &[u32]) -> u32 {
    parts.iter().fold(0, |sum, part| (sum << 6) | part)
}

fn element(table: &Table, map: &str, key: &[u8], value: Option<&Datum>) -> SetElementMessage {
    let mut parts = vec![SetElementAttribute::Key(DataAttribute::Value(key.to_vec()))];
    match value {
        None => {}
        Some(Datum::Bytes(bytes)) => {
            parts.push(SetElementAttribute::Data(DataAttribute::Value(
                bytes.clone(),
            )));
        }
        Some(Datum::Goto(chain)) => {
            let verdict = vec![
                VerdictAttribute::Code(Verdict::Goto),
                VerdictAttribute::Chain(chain.clone()),
            ];
            parts.push(SetElementAttribute::Data(DataAttribute::Verdict(verdict)));
        }
        Some(Datum::Drop) => {
            let verdict = vec![VerdictAttribute::Code(Verdict::Other(DROP))];
            parts.push(SetElementAttribute::Data(DataAttribute::Verdict(verdict)));
        }
    }
    SetElementMessage {
        attributes: vec![
            SetElementList::Table(table.name.to_owned()),
            SetElementList::Set(map.to_owned()),
            SetElementList::Elements(vec![ListAttribute::Element(parts)]),
        ],
    }
}

/// An attribute whose value is a number.
pub(super) fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
