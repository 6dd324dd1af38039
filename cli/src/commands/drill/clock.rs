//! The watcher's clock: wall time at its beginning, continued without a jump.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that never go back. Copies are the same one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begin: Instant,
    wall: Duration,
}

impl Clock {
    /// Begins now.
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// The time now.
    pub fn now(self) -> u64 {
        let now = self.wall.saturating_add(self.begin.elapsed());
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
