//! Whether a test's cluster has the machine for itself.

use std::sync::{Condvar, Mutex, PoisonError};

/// Clusters that are up, or [`ALONE`].
static UP: Mutex<usize> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();
const ALONE: usize = usize::MAX;

/// A cluster's place on the machine. It is free again when this goes.
#[derive(Debug)]
pub struct Turn(Kind);

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Shared,
    Alone,
}

impl Turn {
    /// Beside others of this process; waits for one that is alone.
    pub fn shared() -> Self {
        let up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = CHANGED.wait_while(up, |up| *up == ALONE);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self(Kind::Shared)
    }

    /// Beside none of this process: waits until there is none, and lets none begin before it goes. For what is measured
    /// under load, where two cores are just enough for one.
    pub fn alone() -> Self {
        let up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = CHANGED.wait_while(up, |up| *up > 0);
        *waited.unwrap_or_else(PoisonError::into_inner) = ALONE;
        Self(Kind::Alone)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        *up = match self.0 {
            Kind::Shared => up.saturating_sub(1),
            Kind::Alone => 0,
        };
        drop(up);
        CHANGED.notify_all();
    }
}
