//! Checks of plan and apply as functions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use skep_manager::plan::{Ids, Plan, Scope, Seen, plan_within};
use skep_manager::state::{Entry, Outcome, State};
use skep_proto::time::{ClusterTime, WallTime};

use super::Check;

/// 9. Same state, time and seed give the same plan, and the incremental plan equals the full one.
///
/// # Errors
/// Shows both plans.
pub fn same_input_gives_the_same_plan(
    plan: &Plan,
    state: &State,
    seen: &Seen,
    time: (ClusterTime, WallTime),
    ids: &Ids,
) -> Check {
    let full = plan_within(Scope::Full, state, seen, time, &mut ids.clone());
    if (&full.changes, full.wake_at) != (&plan.changes, plan.wake_at) {
        return Err(format!("incremental: {plan:?}\nfull: {full:?}"));
    }
    let again = plan_within(Scope::Marked, state, seen, time, &mut ids.clone());
    if again != *plan {
        return Err(format!("once: {plan:?}\nagain: {again:?}"));
    }
    let mut after = state.clone();
    let entry = plan.clone().into_entry(time.0, time.1);
    let outcome = after.apply(state.applied() + 1, &entry);
    if !outcome.fits() {
        return Err(format!(
            "the plan does not fit its own state: {:?}",
            outcome.dropped
        ));
    }
    Ok(())
}

/// 10. `apply` never panics, whatever the changes and their order.
///
/// # Errors
/// Says that it did.
pub fn apply_never_panics(
    state: &State,
    entry: &Entry,
    apply: impl Fn(&mut State, u64, &Entry) -> Outcome,
) -> Check {
    let mut copy = state.clone();
    let index = copy.applied() + 1;
    let run = || {
        apply(&mut copy, index, entry);
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| format!("apply panicked on {entry:?}"))
}
