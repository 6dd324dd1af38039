//! How long things take on this worker, for whoever watches the daemon. One set for the whole program.

use std::sync::LazyLock;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What is measured.
#[derive(Debug)]
pub struct Measures {
    /// Making a container ready, from its image being here, in seconds.
    pub creations: Histogram,
    /// Starting a container that is made, in seconds.
    pub starts: Histogram,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| {
    // 0.5 ms to 16 s.
    let times = || Histogram::new(exponential_buckets(5e-4, 2.0, 16));
    Measures {
        creations: times(),
        starts: times(),
    }
});

/// The program's measures.
pub fn measures() -> &'static Measures {
    &MEASURES
}

impl Measures {
    /// Registers all of them; the registry's prefix is put before the names.
    pub fn register(&self, registry: &mut Registry) {
        let creations = "Making a container ready, from its image being here";
        registry.register(
            "container_create_seconds",
            creations,
            self.creations.clone(),
        );
        let starts = "Starting a container that is made";
        registry.register("container_start_seconds", starts, self.starts.clone());
    }
}
