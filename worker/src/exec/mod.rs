//! Containers on this node: their images, from a description to processes, and back to nothing.
//!
//! Each file does one thing to a container and knows nothing of tasks, services or managers.

pub mod bundle;
pub mod cgroup;
pub mod image;
pub mod mounts;
pub mod runtime;
pub mod seccomp;
pub mod shim;
