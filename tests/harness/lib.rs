//! What the tests stand on: builders, the simulated world, checks, a manager in this process.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this runs in tests only, where a broken expectation is to end the test"
)]

pub mod builders;
pub mod check;
pub mod cluster;
pub mod ended;
pub mod examples;
pub mod gate;
pub mod images;
pub mod in_process;
pub mod linear;
pub mod load;
pub mod packages;
pub mod programs;
pub mod registry;
pub mod turn;
pub mod world;
