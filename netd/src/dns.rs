//! Names: a resolver in every container at 127.0.0.11.
//!
//! It answers what the view knows and passes on the rest as it came. It keeps nothing: no cache, no zone.

mod answer;
mod directory;
mod forward;
mod server;

pub use directory::Directory;
pub(crate) use forward::Forwarder;
pub(crate) use server::{Resolver, serve};
