//! What a user does on real daemons, in a lab.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where an expectation is broken"
)]

mod archive;
mod bad_input;
mod drills;
mod events;
mod examples;
mod exec;
mod full_disk;
mod health;
mod histories;
mod images;
mod logs;
mod membership;
mod modes;
mod one_node;
mod outsider;
mod overlay;
mod programs;
mod published;
mod registry;
mod registry_faults;
mod revival;
mod roles;
mod secrets;
mod stacks;
mod terminal;
mod three_managers;
mod tokens;
mod unpacked;
mod updates;
mod volumes;
mod watching;

/// The binary that the lab's nodes run.
const SKEP: &str = env!("CARGO_BIN_EXE_skep-tested");
