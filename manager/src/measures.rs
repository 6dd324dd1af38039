//! How long things take on this manager, for whoever watches the daemon. One set for the whole program.
//!
//! Whoever does something observes it here, whoever serves metrics registers what is here. Nothing reads it.

use std::sync::LazyLock;
use std::time::Instant;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What is measured.
#[derive(Debug)]
pub struct Measures {
    /// From a proposal to its being applied here, in seconds.
    pub proposals: Histogram,
    /// One write of a batch to the log with its sync, in seconds.
    pub syncs: Histogram,
    /// One pass of the planner, in seconds.
    pub plans: Histogram,
    /// Changes of one pass that changed something.
    pub changes: Histogram,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| {
    // 0.1 ms to 3.3 s.
    let times = || Histogram::new(exponential_buckets(1e-4, 2.0, 16));
    Measures {
        proposals: times(),
        syncs: times(),
        plans: times(),
        changes: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
    }
});

/// The program's measures.
pub fn measures() -> &'static Measures {
    &MEASURES
}

/// Seconds since `begin`.
pub(crate) fn seconds_since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}

impl Measures {
    /// Registers all of them; the registry's prefix is put before the names.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, histogram) in [
            (
                "raft_proposal_seconds",
                "From a proposal to its being applied on this manager",
                &self.proposals,
            ),
            (
                "raft_log_sync_seconds",
                "One write of a batch to the log, with its sync",
                &self.syncs,
            ),
            ("plan_seconds", "One pass of the planner", &self.plans),
            (
                "plan_changes",
                "Changes of a pass that changed something",
                &self.changes,
            ),
        ] {
            registry.register(name, help, histogram.clone());
        }
    }
}
