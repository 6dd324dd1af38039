//! The daemon: wires manager, worker and netd together.

pub mod address;
pub mod config;
pub mod membership;
