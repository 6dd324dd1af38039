//! One scope for all that only a leader runs: it starts together and ends together.
//!
//! The scope holds the planning loop, the gatherer of reports and the keeper of members. When leadership
//! ends, all of it ends at once; what it proposed is either committed or not, and the next leader begins from
//! what was.

pub mod live;
mod members;

use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dispatch::reports::Gatherer;
use crate::dispatch::session_deadline;
use crate::raft::Consensus;
use crate::reconcile;
use crate::ring::Ring;
use crate::state::State;

pub use live::{Live, RESTART_GRACE, Session};

/// Who leads, as this manager knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// This manager, in this term.
    Leading {
        /// Raft term.
        term: u64,
    },
    /// Another, that is reached there.
    Following {
        /// Its managers' door.
        leader: SocketAddr,
    },
    /// Nobody, or nobody knows.
    Unknown,
}

/// Runs the scope whenever this manager leads, until `stop`.
pub async fn run(
    ring: Ring,
    consensus: Consensus<State>,
    live: Live,
    gatherer: Gatherer,
    mut standing: watch::Receiver<Standing>,
    stop: CancellationToken,
) {
    let gatherer = tokio::spawn(gatherer.run(ring.clone()));
    loop {
        let led = tokio::select! {
            led = standing.wait_for(|it| matches!(it, Standing::Leading { .. })) => led.is_ok(),
            () = stop.cancelled() => false,
        };
        if !led {
            break;
        }
        let term = standing.borrow_and_update().clone();
        tracing::info!(standing = ?term, "this manager leads");
        let scope = stop.child_token();
        // Everything that was committed before is applied before the scope looks at it.
        if ring.read().await.is_ok() {
            let full = session_deadline(&ring.stale());
            live.begin(&ring.stale(), scope.clone(), Instant::now(), full);
            let mut parts = JoinSet::new();
            parts.spawn(reconcile::run(ring.clone(), live.clone(), scope.clone()));
            parts.spawn(members::run(ring.clone(), consensus.clone(), scope.clone()));
            tokio::select! {
                _ = standing.wait_for(|it| *it != term) => {}
                () = stop.cancelled() => {}
                // A part that ends by itself takes the scope with it; it begins again below.
                _ = parts.join_next() => {}
            }
            scope.cancel();
            parts.shutdown().await;
            live.end();
        }
        tracing::info!("the leader's scope has ended");
    }
    gatherer.abort();
}
