//! What is delivered beside the binary: the jobs for CI.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where an expectation is broken"
)]

#[path = "delivered/ci_jobs.rs"]
mod ci_jobs;
