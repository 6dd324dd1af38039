//! The door between messages and the types of this crate: `TryFrom` in, `From` out.
//!
//! A message is checked in full on its way in: an id has 16 bytes, a port 16 bits, an enumeration a known
//! value. Nothing is guessed and nothing is filled in. What a message cannot say is not sent. Whether a
//! value makes sense in the cluster is not asked here.

mod assignment;
mod cluster;
mod container;
mod difference;
mod drill;
mod enumeration;
mod event;
mod field;
mod file;
mod network;
mod node;
mod registry;
mod secret;
mod service;
mod spec;
mod task;
mod token;
mod view;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod tests;

pub use field::{
    WireError, WireId, address, address_bytes, digest, enumeration, id, ipv4, list, message,
    millis, network_port, number, optional, request_id,
};

pub use file::{content, content_message};
pub use registry::with_auth;

/// Paths of all calls of the schema, such as `/skep.v1.Control/GetService`.
pub const CALLS: &[&str] = include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The generated messages, clients and servers. Named only in doors.
pub mod v1 {
    #![expect(
        missing_docs,
        clippy::too_many_lines,
        clippy::large_enum_variant,
        clippy::allow_attributes,
        reason = "generated; the schema describes what needs it"
    )]
    tonic::include_proto!("skep.v1");
}
