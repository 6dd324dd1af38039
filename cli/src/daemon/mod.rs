//! The daemon: wires manager, worker and netd together.

pub mod config;
