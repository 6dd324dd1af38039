//! Netd: connects. It makes the network stack of one node match a view that managers computed.
//!
//! It invents no address, no name and no network, runs no program of the system, and touches nothing that it did not
//! make itself. Everything that decides (`plan`, `rules`, `backing`, `names`) is pure; everything that acts goes
//! through [`kernel::Kernel`].

mod attach;
mod backing;
mod detach;
mod dns;
mod error;
pub mod kernel;
pub mod measures;
pub mod names;
pub mod nft;
mod plan;
mod publish;
mod reconcile;
mod record;
mod relay;
mod rules;
mod serve;
pub mod step;

pub use attach::HostPort;
pub use error::NetError;
pub use kernel::{Cut, FakeKernel, Kernel, KernelError, LinuxKernel};
pub use reconcile::{Acks, Config, Netd};
