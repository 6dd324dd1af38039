//! Forwarding and ARP entries: computed from the view, permanent, never learnt.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;

use super::socket::{change, dump};
use crate::names::Mac;
use crate::step::{Forwarding, Neighbour};

const PUT: u16 = NLM_F_CREATE | NLM_F_REPLACE;
/// A bridge takes "permanent" for an address of its own; static and reachable suits it and VXLAN alike.
const STATIC: u16 = 0x40 | 0x02;

pub(super) async fn put_forwarding(
    handle: &Handle,
    index: u32,
    entry: &Forwarding,
) -> io::Result<()> {
    change(
        handle,
        RouteNetlinkMessage::NewNeighbour(forwarding(index, entry)),
        PUT,
    )
    .await
}

pub(super) async fn drop_forwarding(
    handle: &Handle,
    index: u32,
    entry: &Forwarding,
) -> io::Result<()> {
    absent(
        change(
            handle,
            RouteNetlinkMessage::DelNeighbour(forwarding(index, entry)),
            0,
        )
        .await,
    )
}

pub(super) async fn put(handle: &Handle, index: u32, entry: &Neighbour) -> io::Result<()> {
    change(
        handle,
        RouteNetlinkMessage::NewNeighbour(neighbour(index, entry)),
        PUT,
    )
    .await
}

pub(super) async fn drop(handle: &Handle, index: u32, entry: &Neighbour) -> io::Result<()> {
    absent(
        change(
            handle,
            RouteNetlinkMessage::DelNeighbour(neighbour(index, entry)),
            0,
        )
        .await,
    )
}

/// Permanent ARP entries.
pub(super) async fn list(
    handle: &Handle,
    names: &BTreeMap<u32, String>,
) -> io::Result<BTreeSet<Neighbour>> {
    let all = dump_family(handle, AddressFamily::Inet).await?;
    Ok(all
        .into_iter()
        .filter(|entry| entry.header.state == NeighbourState::Permanent)
        .filter_map(|entry| {
            let (mac, destination) = parts(&entry);
            let Some(IpAddr::V4(address)) = destination else {
                return None;
            };
            Some(Neighbour {
                dev: names.get(&entry.header.ifindex)?.clone(),
                address,
                mac: mac?,
            })
        })
        .collect())
}

/// Forwarding entries that name a VTEP.
pub(super) async fn list_forwarding(
    handle: &Handle,
    names: &BTreeMap<u32, String>,
) -> io::Result<BTreeSet<Forwarding>> {
    let all = dump_family(handle, AddressFamily::Bridge).await?;
    Ok(all
        .into_iter()
        .filter_map(|entry| {
            let (mac, remote) = parts(&entry);
            let dev = names.get(&entry.header.ifindex)?.clone();
            Some(Forwarding {
                dev,
                mac: mac?,
                remote: Some(remote?),
            })
        })
        .collect())
}

async fn dump_family(handle: &Handle, family: AddressFamily) -> io::Result<Vec<NeighbourMessage>> {
    let mut ask = NeighbourMessage::default();
    ask.header.family = family;
    let all = dump(handle, RouteNetlinkMessage::GetNeighbour(ask)).await?;
    Ok(all
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(entry) => Some(entry),
            _ => None,
        })
        .collect())
}

fn parts(entry: &NeighbourMessage) -> (Option<Mac>, Option<IpAddr>) {
    let (mut mac, mut destination) = (None, None);
    for attribute in &entry.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                destination = Some(IpAddr::V4(*address));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                destination = Some(IpAddr::V6(*address));
            }
            _ => {}
        }
    }
    (mac, destination)
}

fn forwarding(index: u32, entry: &Forwarding) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Other(STATIC);
    // One message makes both entries: the bridge's (this port) and the tunnel's (that VTEP).
    message.header.flags = NeighbourFlags::Controller;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()));
    if let Some(remote) = entry.remote {
        message.header.flags |= NeighbourFlags::Own;
        message
            .attributes
            .push(NeighbourAttribute::Destination(remote.into()));
    }
    message
}

fn neighbour(index: u32, entry: &Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(
        IpAddr::V4(entry.address).into(),
    ));
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()));
    message
}

fn absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::ESRCH)
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}
