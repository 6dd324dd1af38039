//! What a user does on real daemons, in a lab.

#![expect(
    clippy::expect_used,
    reason = "a test ends where an expectation is broken"
)]

mod bad_input;
mod one_node;
mod three_managers;

/// The binary that the lab's nodes run.
const SKEP: &str = env!("CARGO_BIN_EXE_skep-tested");
