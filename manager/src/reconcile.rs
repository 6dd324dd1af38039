//! Wakes on anything, looks at everything: plans, and proposes what the plan says.
//!
//! One plan is in flight. What changes meanwhile is looked at in the next pass, and a delay is a time at which
//! to look again, never a sleeping task.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::leader::Live;
use crate::measures::{measures, seconds_since};
use crate::plan::{Ids, Plan, Scope, plan_within};
use crate::ring::{Ring, wall_time};
use crate::state::{Entry, State};

/// Longest sleep: a safety net, every reason to look again wakes by itself.
const LONGEST: Duration = Duration::from_secs(60);
/// Shortest sleep: a time that is past already does not make it spin.
const SHORTEST: Duration = Duration::from_millis(5);
/// After a proposal that failed.
const AGAIN: Duration = Duration::from_millis(100);

/// Plans until `end`. The first pass looks everywhere, as a new leader must.
pub async fn run(ring: Ring, live: Live, end: CancellationToken) {
    let mut ids = Ids::new(rand::random());
    let (mut changes, mut news) = (ring.watch(), live.watch());
    let (mut scope, mut looked) = (Scope::Full, 0);
    while !end.is_cancelled() {
        changes.mark_unchanged();
        news.mark_unchanged();
        let instant = Instant::now();
        let (state, now) = (ring.stale(), ring.now());
        forget_removed(&state, &live);
        let seen = live.seen(instant, looked);
        let pass = plan_within(scope, &state, &seen, (now, wall_time()), &mut ids);
        measures().plans.observe(seconds_since(instant));
        if !pass.changes.is_empty() {
            measures().changes.observe(pass.changes.len() as f64);
            // What was looked at counts once it is committed: until then the next pass looks there again.
            let whole = pass.looked.is_some();
            name_late(&state, &pass);
            if commit(&ring, pass.into_entry(now, wall_time())).await && whole {
                scope = Scope::Marked;
            }
            continue;
        }
        if let Some(index) = pass.looked {
            (scope, looked) = (Scope::Marked, index);
        }
        let planned = pass.wake_at.map(|at| at.since(now));
        let deadline = live
            .next_deadline(instant)
            .map(|at| at.saturating_duration_since(instant));
        let pause = [planned, deadline]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(LONGEST);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = news.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause.clamp(SHORTEST, LONGEST)) => {}
            () = end.cancelled() => return,
        }
    }
}

/// Says which nodes were waited for in vain before a task is stopped.
fn name_late(state: &State, pass: &Plan) {
    for (task, nodes) in &pass.late {
        let names = nodes.iter().filter_map(|id| state.node(*id));
        let names: Vec<&str> = names
            .map(|node| node.description.hostname.as_str())
            .collect();
        tracing::warn!(task.id = %task, nodes = names.join(", "), "stopped though these nodes may lead clients to it");
    }
}

/// Proposes a plan. One that is not committed (`false`) is made anew from what is there then.
async fn commit(ring: &Ring, entry: Entry) -> bool {
    match ring.propose(entry).await {
        Ok(outcome) => {
            for dropped in outcome.dropped {
                tracing::debug!(reason = %dropped.reason, "a planned change no longer fitted");
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "a plan was not committed");
            tokio::time::sleep(AGAIN).await;
            false
        }
    }
}

/// Ends the sessions of nodes that were removed.
fn forget_removed(state: &State, live: &Live) {
    for node in live.known() {
        if state.node(node).is_none() {
            live.forget(node);
        }
    }
}
