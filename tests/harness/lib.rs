//! What the tests stand on: builders, the simulated world, checks.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this runs in tests only, where a broken expectation is to end the test"
)]

pub mod builders;
pub mod check;
pub mod world;
