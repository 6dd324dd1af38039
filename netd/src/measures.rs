//! How long things take in this node's networks, for whoever watches the daemon. One set for the whole program.

use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What is measured.
#[derive(Debug)]
pub struct Measures {
    /// Making the kernel match a view, in seconds.
    pub reconciles: Histogram,
    /// What could not be done.
    pub failures: Counter,
    /// The newest revision of any network that was programmed whole.
    pub revision: Gauge,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| Measures {
    // 0.1 ms to 3.3 s.
    reconciles: Histogram::new(exponential_buckets(1e-4, 2.0, 16)),
    failures: Counter::default(),
    revision: Gauge::default(),
});

/// The program's measures.
pub fn measures() -> &'static Measures {
    &MEASURES
}

impl Measures {
    /// Registers all of them; the registry's prefix is put before the names.
    pub fn register(&self, registry: &mut Registry) {
        let reconciles = "Making the kernel match a view";
        registry.register(
            "netd_reconcile_seconds",
            reconciles,
            self.reconciles.clone(),
        );
        let failures = "What could not be done to match a view";
        registry.register("netd_failures", failures, self.failures.clone());
        let revision = "Newest revision of any network that was programmed whole";
        registry.register("netd_revision", revision, self.revision.clone());
    }
}
