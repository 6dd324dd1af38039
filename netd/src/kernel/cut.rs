//! Cuts this node off from the others, for as long as somebody holds it.
//!
//! The kernel ties the table to the socket that made it: it is gone with the daemon, however that ends.

use std::fmt;

use netlink_sys::Socket;

use super::{KernelError, nft, socket};
use crate::rules::cut;

/// A node that is cut off; dropping it lets everything pass again.
pub struct Cut(#[expect(dead_code, reason = "the table lives as long as it")] Socket);

impl Cut {
    /// Drops what passes between this node and others by these TCP and UDP ports. Blocks shortly.
    ///
    /// # Errors
    /// When the kernel refuses, such as when another daemon's drill has cut this machine off already.
    pub fn open(tcp: &[u16], udp: &[u16]) -> Result<Self, KernelError> {
        let refused = |source| KernelError::new("cut this node off from the others", source);
        let socket = socket::netfilter().map_err(refused)?;
        nft::commit(&socket, &cut(tcp, udp)).map_err(refused)?;
        Ok(Self(socket))
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cut")
    }
}
