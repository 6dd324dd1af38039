//! When a container counts as well. Names and defaults are Docker's.

use std::time::Duration;

/// How it is found out whether a container is well. What is absent is the image's, then the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HealthCheck {
    /// What is run.
    pub test: Option<HealthTest>,
    /// From the end of a test to the next; the default is 30 s.
    pub interval: Option<Duration>,
    /// A test that takes longer has failed; the default is 30 s.
    pub timeout: Option<Duration>,
    /// So many failures in a row and the container is not well; the default is 3.
    pub retries: Option<u32>,
    /// Failures do not count for so long after the start, until the first success; the default is 0.
    pub start_period: Option<Duration>,
    /// From test to test within the start period; the default is 5 s.
    pub start_interval: Option<Duration>,
}

/// What tells whether a container is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HealthTest {
    /// Nothing: it is well while it runs, whatever its image says.
    None,
    /// A program inside and its arguments; exit code 0 is well.
    Command(Vec<String>),
    /// A line for /bin/sh inside.
    Shell(String),
}

/// The default of [`HealthCheck::interval`].
pub const INTERVAL: Duration = Duration::from_secs(30);
/// The default of [`HealthCheck::timeout`].
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The default of [`HealthCheck::retries`].
pub const RETRIES: u32 = 3;
/// The default of [`HealthCheck::start_interval`].
pub const START_INTERVAL: Duration = Duration::from_secs(5);
