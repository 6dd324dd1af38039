//! What is told of drills. One that a manager refuses changes nothing and is not told. Pure.

use skep_proto::drill::{Drill, Undone};
use skep_proto::event::{Action, EventKind};

use super::Note;

pub(super) fn notes(old: Option<&Drill>, new: Option<&Drill>) -> Vec<Note> {
    let Some(new) = new else { return Vec::new() };
    let mut notes = Vec::new();
    if old.is_none() {
        notes.push(note(Action::Start, new).tell("services", new.services.len()));
    }
    let before = old.and_then(|old| old.obeyed.as_ref());
    if let Some(now) = &new.obeyed {
        let undone = now.undone.as_ref();
        if before.is_none() && undone.is_none() {
            notes.push(note(Action::Accept, new));
        }
        let known = before.is_some_and(|before| before.undone.is_some());
        if let Some(undone) = undone.filter(|_| !known) {
            notes.push(over(new, undone));
        }
    }
    if let Some(end) = new
        .end
        .as_ref()
        .filter(|_| old.is_none_or(|old| old.end.is_none()))
    {
        notes.push(note(Action::End, new).tell("verdict", &end.verdict));
    }
    notes
}

fn note(action: Action, drill: &Drill) -> Note {
    Note::new(EventKind::Drill, action, drill.id, &drill.target)
        .tell("kind", drill.kind)
        .tell("node.id", drill.node)
        .tell(
            "task.id",
            drill.task.map_or_else(String::new, |task| task.to_string()),
        )
}

/// What its node says at the end: that it was put back, or why it was never made.
fn over(drill: &Drill, undone: &Undone) -> Note {
    let lasted = undone.undone_after.saturating_sub(undone.failed_after);
    let never = lasted.is_zero() && !undone.error.is_empty();
    let action = if never {
        Action::Rejected
    } else {
        Action::Undo
    };
    note(action, drill)
        .tell("lasted", format!("{lasted:?}"))
        .tell("error", &undone.error)
}
