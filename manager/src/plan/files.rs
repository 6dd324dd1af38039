//! Lets old contents of secrets and configs go once no task has them and none will. Pure.

use super::draft::Draft;
use crate::state::Change;

pub(super) fn let_go(draft: &mut Draft<'_>) {
    let unused: Vec<_> = draft
        .state
        .superseded()
        .filter(|(file, revision)| {
            // What a pass ends is committed first: a task that is told to end now still has its content.
            !draft.base.content_used(*file, *revision)
                && !draft.state.content_used(*file, *revision)
        })
        .collect();
    for (file, revision) in unused {
        draft.change(Change::DropContent { file, revision });
    }
}
