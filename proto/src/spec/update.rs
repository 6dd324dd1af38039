//! How a service gets from one spec to the next. Names and defaults are Docker's.

use std::time::Duration;

/// How tasks are replaced when what they run changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateConfig {
    /// So many at once; 0 is all. The default is 1.
    pub parallelism: u32,
    /// From one batch to the next; the default is 0.
    pub delay: Duration,
    /// What follows when too many fail.
    pub failure_action: FailureAction,
    /// A new task that ends within this time has failed; the default is 5 s.
    pub monitor: Duration,
    /// Of all that are replaced, so many millionths may fail; the default is 0.
    pub max_failure_millionths: u32,
    /// Which comes first, the end of the old or the start of the new.
    pub order: UpdateOrder,
    /// A batch that does not run after so long counts as failed; the default is to wait for ever.
    pub progress_deadline: Option<Duration>,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::Pause,
            monitor: Duration::from_secs(5),
            max_failure_millionths: 0,
            order: UpdateOrder::StopFirst,
            progress_deadline: None,
        }
    }
}

/// What follows when too many new tasks fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureAction {
    /// Nothing more is replaced until somebody decides; the default.
    Pause,
    /// The update goes on.
    Continue,
    /// Back to the spec before. Not for a rollback itself.
    Rollback,
}

/// Which comes first when a task is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateOrder {
    /// The old one ends, then the new one starts; the default.
    StopFirst,
    /// The new one runs, then the old one ends.
    StartFirst,
}
