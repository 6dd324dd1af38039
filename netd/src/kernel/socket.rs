//! Netlink sockets that live in one namespace: rtnetlink's connection, and a synchronous one for netfilter.
//!
//! A socket stays in the namespace it was opened in, whatever thread uses it. A dump that the kernel marks as
//! interrupted is repeated, because what it gave is a mixture of before and after.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures_util::StreamExt;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use super::netns;

/// How often a dump is repeated before its caller is told.
const DUMP_TRIES: usize = 16;
/// Room for one batch of rules and for its answers.
const NETFILTER_BUFFER: usize = 8 * 1024 * 1024;

/// Opens a route socket inside a namespace and serves it until the handle is dropped.
pub(super) async fn open_route(ns: Arc<OwnedFd>) -> io::Result<rtnetlink::Handle> {
    let runtime = tokio::runtime::Handle::current();
    let socket = netns::inside(ns, move || {
        let _entered = runtime.enter();
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        // Without it the kernel copies each refused request into its answer.
        socket.socket_mut().set_cap_ack(true)?;
        Ok(socket)
    })
    .await?;
    let (mut connection, handle, _unasked) = rtnetlink::from_socket(socket);
    connection.set_forward_done(true);
    connection.set_forward_ack(true);
    tokio::spawn(connection);
    Ok(handle)
}

/// Opens a netfilter socket inside a namespace. It never blocks: the kernel has answered when a send returns.
pub(super) async fn open_netfilter(ns: Arc<OwnedFd>) -> io::Result<Socket> {
    netns::inside(ns, netfilter).await
}

/// The same in the namespace of the calling thread.
pub(super) fn netfilter() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    socket.set_cap_ack(true)?;
    setsockopt(&socket, sockopt::SndBufForce, &NETFILTER_BUFFER)?;
    setsockopt(&socket, sockopt::RcvBufForce, &NETFILTER_BUFFER)?;
    Ok(socket)
}

/// Asks for a change and waits for its acknowledgement.
pub(super) async fn change(
    handle: &rtnetlink::Handle,
    message: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut answers = handle.clone().request(request).map_err(gone)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload {
            return match error.code {
                None => Ok(()),
                Some(_) => Err(error.to_io()),
            };
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// Asks for one object.
pub(super) async fn get(
    handle: &rtnetlink::Handle,
    message: RouteNetlinkMessage,
) -> io::Result<RouteNetlinkMessage> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.clone().request(request).map_err(gone)?;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(found) => return Ok(found),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// Asks for all objects of a kind.
pub(super) async fn dump(
    handle: &rtnetlink::Handle,
    message: RouteNetlinkMessage,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    for _ in 0..DUMP_TRIES {
        if let Some(all) = dump_once(handle, message.clone()).await? {
            return Ok(all);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::Interrupted,
        format!("the kernel interrupted the dump {DUMP_TRIES} times"),
    ))
}

async fn dump_once(
    handle: &rtnetlink::Handle,
    message: RouteNetlinkMessage,
) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut answers = handle.clone().request(request).map_err(gone)?;
    let mut all = Vec::new();
    let mut whole = true;
    while let Some(answer) = answers.next().await {
        whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(found) => all.push(found),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
    }
    Ok(whole.then_some(all))
}

fn gone(_: rtnetlink::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the netlink connection has ended",
    )
}
