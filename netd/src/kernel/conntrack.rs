//! Connection tracking: forgets the connections netd names, and no others.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla,
};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::Socket;

use super::nft::{receive, send};
use crate::step::Forget;

/// CTA_ZONE: which of several equal connections is meant.
const ZONE: u16 = 18;
/// CTA_ID: it must still be this very connection.
const ID: u16 = 12;
/// TCP_CONNTRACK_LAST_ACK, _TIME_WAIT and _CLOSE: nothing more is sent that could go astray.
const CLOSED: std::ops::RangeInclusive<u8> = 6..=8;

/// Forgets connections that are named and not closed; says how many.
///
/// A closed one is left to its time. Its client may open an equal connection between our look and our removal, the
/// kernel may keep the new one at the old one's place, and then even their ids are equal: the wrong one would go.
pub(super) fn forget(socket: &Socket, which: &[Forget]) -> io::Result<usize> {
    let mut gone = 0usize;
    for attributes in list(socket)? {
        let named = which.iter().any(|one| matches(one, &attributes));
        if named && !closed(&attributes) && delete(socket, attributes)? {
            gone = gone.saturating_add(1);
        }
    }
    Ok(gone)
}

fn list(socket: &Socket) -> io::Result<Vec<Vec<ConntrackAttribute>>> {
    let mut ask = message(ConntrackMessage::Get(Vec::new()));
    ask.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    send(socket, &mut [ask])?;
    let mut all = Vec::new();
    for answer in receive(socket)? {
        match answer.payload {
            NetlinkPayload::InnerMessage(NetfilterMessage {
                inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)),
                ..
            }) => all.push(attributes),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
    }
    Ok(all)
}

fn delete(socket: &Socket, attributes: Vec<ConntrackAttribute>) -> io::Result<bool> {
    let which = attributes
        .into_iter()
        .filter(|attribute| match attribute {
            ConntrackAttribute::CtaTupleOrig(_) => true,
            ConntrackAttribute::Other(other) => is_kind(other, ZONE) || is_kind(other, ID),
            _ => false,
        })
        .collect();
    let mut ask = message(ConntrackMessage::Delete(which));
    ask.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    send(socket, &mut [ask])?;
    for answer in receive(socket)? {
        if let NetlinkPayload::Error(error) = answer.payload {
            return match error.to_io() {
                _ if error.code.is_none() => Ok(true),
                error if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
                error => Err(error),
            };
        }
    }
    Ok(false)
}

fn is_kind(attribute: &DefaultNla, kind: u16) -> bool {
    attribute.kind() & 0x3fff == kind
}

fn matches(which: &Forget, attributes: &[ConntrackAttribute]) -> bool {
    let (mut to, mut from) = (None, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuple) => to = address(tuple, Side::Destination),
            ConntrackAttribute::CtaTupleReply(tuple) => from = address(tuple, Side::Source),
            _ => {}
        }
    }
    from == Some(which.from) && (which.to.is_none() || which.to == to)
}

fn closed(attributes: &[ConntrackAttribute]) -> bool {
    let protocols = attributes.iter().flat_map(|attribute| match attribute {
        ConntrackAttribute::CtaProtoInfo(protocols) => &protocols[..],
        _ => &[],
    });
    let mut tcp = protocols.flat_map(|protocol| match protocol {
        ProtoInfo::TCP(tcp) => &tcp[..],
        _ => &[],
    });
    tcp.any(|one| matches!(one, ProtoInfoTCP::State(state) if CLOSED.contains(state)))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Source,
    Destination,
}

fn address(tuple: &[Tuple], side: Side) -> Option<Ipv4Addr> {
    tuple.iter().find_map(|part| {
        let Tuple::Ip(addresses) = part else {
            return None;
        };
        addresses.iter().find_map(|address| match (address, side) {
            (IPTuple::SourceAddress(IpAddr::V4(found)), Side::Source)
            | (IPTuple::DestinationAddress(IpAddr::V4(found)), Side::Destination) => Some(*found),
            _ => None,
        })
    })
}

fn message(inner: ConntrackMessage) -> NetlinkMessage<NetfilterMessage> {
    NetlinkMessage::from(NetfilterMessage::new(
        NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0),
        inner,
    ))
}
