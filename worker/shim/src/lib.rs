//! What the daemon and the supervisor beside each container say to each other.
//!
//! [`plan`] is what the daemon hands over once: everything the container's first process does
//! between clone and exec, in order, with nothing left to decide. [`protocol`] is what may be asked
//! afterwards, also by a later release of the daemon, so it only ever grows at its ends.
//!
//! This library never touches the kernel: the daemon links it, and only the `skep-shim` binary acts.

pub mod plan;
pub mod protocol;
