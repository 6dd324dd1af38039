//! The invariants of the design, one function each, with its sentence.
//!
//! A check looks at objects and never at indexes: those are what may be wrong. `Err` says what was found.

mod ends;
mod files;
mod plans;
mod states;
mod updates;

pub use ends::{
    a_settled_plan_is_empty, acknowledged_is_kept, every_service_reaches_its_replicas,
    every_update_comes_to_an_end, only_what_is_wanted_runs, removed_services_are_gone,
    what_runs_is_where_it_may,
};
pub use files::{
    no_secret_reaches_a_node_without_need, old_contents_are_gone, what_runs_has_its_files,
};
pub use plans::{apply_never_panics, same_input_gives_the_same_plan};
pub use states::{
    a_removed_service_leaves_nothing, a_task_never_changes_node, indexes_follow_from_objects,
    no_placement_exceeds_a_node, nothing_is_held_twice, observed_state_never_moves_back,
    replicas_agree, unfit_nodes_get_no_new_task,
};
pub use updates::{one_task_per_slot_is_to_run, updates_keep_what_they_promise};

/// `Ok`, or what broke.
pub type Check = Result<(), String>;

/// An invariant by its number in the design.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Invariant(pub u8);

/// A broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was found.
    pub found: String,
}

/// Names the invariant that a check belongs to.
///
/// # Errors
/// Those of the check.
pub fn holds(number: u8, check: Check) -> Result<(), Broken> {
    check.map_err(|found| Broken {
        invariant: Invariant(number),
        found,
    })
}
