#![expect(
    unsafe_code,
    reason = "asks the C library for the interfaces' addresses"
)]
//! Addresses of this container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// All addresses but those of the loopback and of one link only, in the kernel's order.
pub fn own() -> Vec<IpAddr> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: getifaddrs fills the pointer or says that it did not.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: the list ends with null and lives until freeifaddrs.
    while let Some(interface) = unsafe { next.as_ref() } {
        found.extend(address(interface.ifa_addr));
        next = interface.ifa_next;
    }
    // SAFETY: it came from getifaddrs and nothing points into it any more.
    unsafe { libc::freeifaddrs(first) };
    found.retain(|address| !address.is_loopback());
    found
}

fn address(socket: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null or an address that says its family.
    let family = i32::from(unsafe { socket.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: of this family it has this shape; it may not be aligned for it.
            let found = unsafe { ptr::read_unaligned(socket.cast::<libc::sockaddr_in>()) };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(
                found.sin_addr.s_addr,
            ))))
        }
        libc::AF_INET6 => {
            // SAFETY: of this family it has this shape; it may not be aligned for it.
            let found = unsafe { ptr::read_unaligned(socket.cast::<libc::sockaddr_in6>()) };
            let address = Ipv6Addr::from(found.sin6_addr.s6_addr);
            (!address.is_unicast_link_local()).then_some(IpAddr::V6(address))
        }
        _ => None,
    }
}
