//! What is delivered beside the binary: the package's settings and scripts, what its unit waits for, and the
//! jobs for CI.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where an expectation is broken"
)]

#[path = "delivered/ci_jobs.rs"]
mod ci_jobs;
#[path = "delivered/notify.rs"]
mod notify;
#[path = "delivered/package.rs"]
mod package;
