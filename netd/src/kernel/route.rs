//! Addresses of devices and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, Handle, RouteMessageBuilder};

use super::socket::{change, dump};
use crate::step::Route;

const PUT: u16 = NLM_F_CREATE | NLM_F_REPLACE;

pub(super) async fn add_address(handle: &Handle, index: u32, address: Ipv4Net) -> io::Result<()> {
    let message = AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(address.addr(), address.prefix_len())
        .build();
    change(handle, RouteNetlinkMessage::NewAddress(message), PUT).await
}

pub(super) async fn add(handle: &Handle, index: u32, route: &Route) -> io::Result<()> {
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new()
        .output_interface(index)
        .destination_prefix(route.to.network(), route.to.prefix_len());
    message = match route.via {
        Some(via) => message.gateway(via).onlink(),
        None => message.scope(RouteScope::Link),
    };
    change(handle, RouteNetlinkMessage::NewRoute(message.build()), PUT).await
}

/// Addresses with their devices.
pub(super) async fn list_addresses(
    handle: &Handle,
    names: &BTreeMap<u32, String>,
) -> io::Result<BTreeSet<(String, Ipv4Net)>> {
    let mut ask = AddressMessage::default();
    ask.header.family = AddressFamily::Inet;
    let all = dump(handle, RouteNetlinkMessage::GetAddress(ask)).await?;
    Ok(all
        .into_iter()
        .filter_map(|message| {
            let RouteNetlinkMessage::NewAddress(found) = message else {
                return None;
            };
            let address = found
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                    _ => None,
                })?;
            let net = Ipv4Net::new(address, found.header.prefix_len).ok()?;
            Some((names.get(&found.header.index)?.clone(), net))
        })
        .collect())
}

/// Prefixes of the main table that have a route, without the default.
pub(super) async fn list(handle: &Handle) -> io::Result<BTreeSet<Ipv4Net>> {
    let ask = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let all = dump(handle, RouteNetlinkMessage::GetRoute(ask)).await?;
    Ok(all
        .into_iter()
        .filter_map(|message| {
            let RouteNetlinkMessage::NewRoute(found) = message else {
                return None;
            };
            if found.header.table != RouteHeader::RT_TABLE_MAIN {
                return None;
            }
            found
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                        Ipv4Net::new(*address, found.header.destination_prefix_length).ok()
                    }
                    _ => None,
                })
        })
        .collect())
}
