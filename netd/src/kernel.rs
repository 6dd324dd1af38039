//! The seam between netd and the kernel's network stack.
//!
//! `LinuxKernel` does what it is told over netlink, `FakeKernel` keeps the same picture in memory for the
//! simulation. Neither decides anything, and no program of the system is run.

mod conntrack;
mod cut;
mod fake;
mod link;
mod linux;
mod neighbour;
mod netns;
mod nft;
mod nft_expr;
mod route;
mod socket;
mod sysctl;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

pub use cut::Cut;
pub use fake::FakeKernel;
pub use linux::LinuxKernel;

use crate::names::Ns;
use crate::step::{Forget, Picture, Step};

/// An act the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{act}")]
pub struct KernelError {
    /// What was tried, with its object: "create vxlan0 in namespace net-x".
    pub act: String,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

impl KernelError {
    pub(crate) fn new(act: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            act: act.into(),
            source: source.into(),
        }
    }

    /// Whether the object was there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EEXIST)
    }
}

/// What netd needs of a kernel.
///
/// Every call is idempotent where its words allow: removing what is not there is no error.
pub trait Kernel: Send + Sync + 'static {
    /// Makes a namespace and pins it, or leaves the one that is pinned. Its loopback is up.
    fn make_namespace(&self, ns: &Ns) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Pins a namespace that someone else made.
    fn pin_namespace(
        &self,
        ns: &Ns,
        fd: OwnedFd,
    ) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Unpins a namespace. Its devices go when its last user does.
    fn remove_namespace(&self, ns: &Ns) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// The file names of the pinned namespaces.
    fn namespaces(&self) -> impl Future<Output = Result<BTreeSet<String>, KernelError>> + Send;

    /// The path a namespace is pinned at.
    fn path_of(&self, ns: &Ns) -> PathBuf;

    /// What a namespace holds.
    fn look(&self, ns: &Ns) -> impl Future<Output = Result<Picture, KernelError>> + Send;

    /// Runs steps in their order and stops at the first that fails.
    fn run(
        &self,
        ns: &Ns,
        steps: Vec<Step>,
    ) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Forgets tracked connections; says how many.
    fn forget(
        &self,
        ns: &Ns,
        which: Vec<Forget>,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send;

    /// A UDP socket bound inside a namespace; `None` from a kernel that carries no packets.
    fn udp(
        &self,
        ns: &Ns,
        at: SocketAddr,
    ) -> impl Future<Output = Result<Option<UdpSocket>, KernelError>> + Send;

    /// A TCP listener inside a namespace; `None` from a kernel that carries no packets.
    fn tcp(
        &self,
        ns: &Ns,
        at: SocketAddr,
    ) -> impl Future<Output = Result<Option<TcpListener>, KernelError>> + Send;

    /// A TCP connection that begins inside a namespace; `None` from a kernel that carries no packets.
    fn connect(
        &self,
        ns: &Ns,
        to: SocketAddr,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<TcpStream>, KernelError>> + Send;
}
