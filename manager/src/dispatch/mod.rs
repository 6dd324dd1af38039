//! The door for workers: one stream each. Tells a worker what it is to do and gathers what it reports.
//!
//! `assign` is a function of what was committed; the session sends what changed in it, one message
//! unacknowledged at a time. This room decides nothing and remembers nothing but what is on its way.

pub mod assign;
mod door;
mod drills;
mod holders;
mod images;
pub mod reports;
mod session;

use tokio::sync::watch;

use crate::leader::{Live, Standing};
use crate::ring::Ring;
use reports::Reports;

pub use assign::assign;
pub use session::full_deadline as session_deadline;

/// Answers workers. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    ring: Ring,
    live: Live,
    reports: Reports,
    leadership: watch::Receiver<Standing>,
}

impl Dispatch {
    /// Answers from `ring`.
    pub fn new(
        ring: Ring,
        live: Live,
        reports: Reports,
        leadership: watch::Receiver<Standing>,
    ) -> Self {
        Self {
            ring,
            live,
            reports,
            leadership,
        }
    }
}
