//! Devices: bridges, VXLAN ports and veth pairs, created, set and listed over rtnetlink.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan,
};

use tokio::time::{sleep, timeout};

use super::socket::{change, dump, get};
use crate::names::Mac;
use crate::step::{LinkKind, LinkSeen, Port, Tunnel};

const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
/// It takes well below a millisecond unless the kernel's network lock is contended.
const CARRIER_POLL: Duration = Duration::from_millis(1);
/// The kernel looks at least once a second.
const CARRIER_PATIENCE: Duration = Duration::from_secs(3);

/// The kernel's number of a device.
pub(super) async fn index_of(handle: &Handle, name: &str) -> io::Result<u32> {
    let ask = LinkUnspec::new_with_name(name).build();
    match get(handle, RouteNetlinkMessage::GetLink(ask)).await? {
        RouteNetlinkMessage::NewLink(link) => Ok(link.header.index),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

pub(super) async fn add_bridge(handle: &Handle, name: &str, mac: Mac, mtu: u32) -> io::Result<()> {
    let link = LinkBridge::new(name)
        .address(mac.0.to_vec())
        .mtu(mtu)
        .up()
        .build();
    change(handle, RouteNetlinkMessage::NewLink(link), NEW).await
}

/// Creates a VXLAN port in the namespace `into`. Its UDP socket belongs to the namespace of `underlay`.
pub(super) async fn add_vxlan(
    underlay: &Handle,
    into: RawFd,
    name: &str,
    tunnel: Tunnel,
    mtu: u32,
) -> io::Result<()> {
    let link = LinkVxlan::new(name, tunnel.vni)
        .port(tunnel.port)
        .learning(false)
        .proxy(true);
    let link = match tunnel.local {
        IpAddr::V4(local) => link.local(local),
        IpAddr::V6(local) => link.local6(local).udp_zero_csum6_rx(true),
    };
    let link = link.mtu(mtu).setns_by_fd(into).build();
    change(underlay, RouteNetlinkMessage::NewLink(link), NEW).await
}

/// Creates a veth pair whose peer is born in the namespace `into`.
pub(super) async fn add_veth(
    handle: &Handle,
    name: &str,
    near: Option<Mac>,
    mtu: u32,
    peer: (RawFd, &str, Mac),
) -> io::Result<()> {
    let (into, peer_name, peer_mac) = peer;
    let far = LinkUnspec::new_with_name(peer_name)
        .address(peer_mac.0.to_vec())
        .mtu(mtu)
        .setns_by_fd(into)
        .build();
    let mut link = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(name)
        .mtu(mtu)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far)));
    if let Some(mac) = near {
        link = link.address(mac.0.to_vec());
    }
    change(handle, RouteNetlinkMessage::NewLink(link.build()), NEW).await
}

/// Puts a device on a bridge.
pub(super) async fn set_bridge(handle: &Handle, name: &str, bridge: &str) -> io::Result<()> {
    let bridge = index_of(handle, bridge).await?;
    let link = LinkUnspec::new_with_name(name).controller(bridge).build();
    change(handle, RouteNetlinkMessage::NewLink(link), 0).await
}

/// Sets how the bridge treats one of its ports.
pub(super) async fn set_port(handle: &Handle, name: &str, port: &Port) -> io::Result<()> {
    let index = index_of(handle, name).await?;
    let link = LinkBridgePort::new(index);
    let link = match port {
        Port::None => return Ok(()),
        Port::Computed { .. } => link.learning(false).flood(false),
        Port::Isolated { .. } => link.isolated(true),
    };
    change(handle, RouteNetlinkMessage::NewLink(link.build()), 0).await
}

pub(super) async fn set_up(handle: &Handle, name: &str) -> io::Result<()> {
    let link = LinkUnspec::new_with_name(name).up().build();
    change(handle, RouteNetlinkMessage::NewLink(link), 0).await
}

pub(super) async fn set_mtu(handle: &Handle, name: &str, mtu: u32) -> io::Result<()> {
    let link = LinkUnspec::new_with_name(name).mtu(mtu).build();
    change(handle, RouteNetlinkMessage::NewLink(link), 0).await
}

/// Waits until a device carries, which the kernel brings about on a work queue of its own.
pub(super) async fn await_carrier(handle: &Handle, name: &str) -> io::Result<()> {
    let ask = LinkUnspec::new_with_name(name).build();
    let carries = async {
        loop {
            let found = get(handle, RouteNetlinkMessage::GetLink(ask.clone())).await?;
            if matches!(&found, RouteNetlinkMessage::NewLink(link) if is_carrying(link)) {
                return Ok(());
            }
            sleep(CARRIER_POLL).await;
        }
    };
    timeout(CARRIER_PATIENCE, carries).await?
}

fn is_carrying(link: &LinkMessage) -> bool {
    link.attributes
        .contains(&LinkAttribute::OperState(State::Up))
}

/// Deletes a device; one that is not there is left so.
pub(super) async fn delete(handle: &Handle, name: &str) -> io::Result<()> {
    let link = LinkUnspec::new_with_name(name).build();
    match change(handle, RouteNetlinkMessage::DelLink(link), 0).await {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        done => done,
    }
}

/// All devices by name, and their names by number.
pub(super) async fn list(
    handle: &Handle,
) -> io::Result<(BTreeMap<String, LinkSeen>, BTreeMap<u32, String>)> {
    let all = dump(handle, RouteNetlinkMessage::GetLink(LinkMessage::default())).await?;
    let all: Vec<LinkMessage> = all
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect();
    let names: BTreeMap<u32, String> = all
        .iter()
        .filter_map(|link| Some((link.header.index, name_of(link)?)))
        .collect();
    let links = all
        .iter()
        .filter_map(|link| Some((name_of(link)?, seen(link, &names))))
        .collect();
    Ok((links, names))
}

fn name_of(link: &LinkMessage) -> Option<String> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })
}

fn seen(link: &LinkMessage, names: &BTreeMap<u32, String>) -> LinkSeen {
    let mut seen = LinkSeen {
        kind: LinkKind::Other,
        up: link.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        mac: None,
        bridge: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => seen.mtu = *mtu,
            LinkAttribute::Address(mac) => {
                seen.mac = <[u8; 6]>::try_from(mac.as_slice()).ok().map(Mac);
            }
            LinkAttribute::Controller(index) => seen.bridge = names.get(index).cloned(),
            LinkAttribute::LinkInfo(about) => seen.kind = kind(about),
            _ => {}
        }
    }
    seen
}

fn kind(about: &[LinkInfo]) -> LinkKind {
    let mut found = LinkKind::Other;
    for part in about {
        match part {
            LinkInfo::Kind(InfoKind::Bridge) => found = LinkKind::Bridge,
            LinkInfo::Kind(InfoKind::Veth) => found = LinkKind::Veth,
            LinkInfo::Data(InfoData::Vxlan(parts)) => {
                if let Some(tunnel) = tunnel(parts) {
                    found = LinkKind::Vxlan(tunnel);
                }
            }
            _ => {}
        }
    }
    found
}

fn tunnel(parts: &[InfoVxlan]) -> Option<Tunnel> {
    let (mut vni, mut port, mut local) = (None, None, None);
    for part in parts {
        match part {
            InfoVxlan::Id(id) => vni = Some(*id),
            InfoVxlan::Port(number) => port = Some(*number),
            InfoVxlan::Local(address) => local = Some(IpAddr::V4(*address)),
            InfoVxlan::Local6(address) => local = Some(IpAddr::V6(*address)),
            _ => {}
        }
    }
    Some(Tunnel {
        vni: vni?,
        port: port?,
        local: local?,
    })
}
