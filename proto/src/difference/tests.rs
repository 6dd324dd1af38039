//! A difference leads where it says, from where it says, and from nowhere else.

use proptest::prelude::*;

use super::*;
use crate::wire::arbitrary::Draw;

proptest! {
    #[test]
    fn a_difference_leads_to_the_new_assignment(seed: u64) {
        let mut draw = Draw::new(seed);
        let (old, new) = (draw.assignment(), draw.assignment());
        let mut held = old.clone();
        prop_assert_eq!(apply_difference(&mut held, difference(&old, &new)), Ok(()));
        prop_assert_eq!(held, new);
    }

    #[test]
    fn what_did_not_change_is_not_sent(seed: u64) {
        let assignment = Draw::new(seed).assignment();
        let empty = Difference {
            base: assignment.generation,
            generation: assignment.generation,
            ..Difference::default()
        };
        // Equal, yet not shared: as after a restart.
        let mut copy = assignment.clone();
        copy.view = Arc::new(assignment.view.as_ref().clone());
        prop_assert_eq!(difference(&assignment, &copy), empty);
    }

    #[test]
    fn a_difference_that_does_not_fit_changes_nothing(seed: u64) {
        let mut draw = Draw::new(seed);
        let (old, new, mut other) = (draw.assignment(), draw.assignment(), draw.assignment());
        other.generation.index = old.generation.index + 1;
        let before = other.clone();
        let step = difference(&old, &new);
        let refused = matches!(
            apply_difference(&mut other, step.clone()),
            Err(DifferenceError::Base { .. })
        );
        prop_assert!(refused);
        prop_assert_eq!(&other, &before);
        // With the right base, but other contents: taken whole or not at all.
        other.generation = old.generation;
        let before = other.clone();
        if apply_difference(&mut other, step).is_err() {
            prop_assert_eq!(other, before);
        }
    }
}

#[test]
fn removing_what_is_not_held_is_refused() {
    let mut held = Assignment::default();
    let step = Difference {
        removed_tasks: vec![TaskId::new(9)],
        ..Difference::default()
    };
    let error = apply_difference(&mut held, step).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the difference removes task {}, which is not held",
            TaskId::new(9)
        )
    );
}
