//! Two kinds of time that must not be mixed.

use std::time::Duration;

/// Cluster time: milliseconds since the cluster began. Each log entry carries it, `apply` keeps the maximum
/// and the leader continues it by its monotonic clock. All decisions use it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClusterTime(u64);

impl ClusterTime {
    /// The beginning of the cluster.
    pub const ZERO: Self = Self(0);

    /// The time so many milliseconds after the beginning.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This time and `delay`, at most the end of time.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time: milliseconds since 1970 in UTC. For display only, never for a decision; save where certificates
/// and tokens end, since they do so while a cluster is off too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime(u64);

impl WallTime {
    /// The time so many milliseconds after 1970-01-01T00:00Z.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00Z.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }
}
