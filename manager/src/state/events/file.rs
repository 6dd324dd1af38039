//! What is told of secrets and configs: never what is in them. Pure.

use skep_proto::event::{Action, EventKind};
use skep_proto::file::{File, FileKind};

use super::Note;

pub(super) fn notes(old: Option<&File>, new: Option<&File>) -> Vec<Note> {
    let note = |action, it: &File| {
        let kind = match it.id.kind() {
            FileKind::Secret => EventKind::Secret,
            FileKind::Config => EventKind::Config,
        };
        Note::new(kind, action, it.id, &it.spec.name).labels(&it.spec.labels)
    };
    match (old, new) {
        (None, Some(new)) => vec![note(Action::Create, new)],
        (Some(old), None) => vec![note(Action::Remove, old)],
        (Some(old), Some(new)) if (&old.spec, old.newest()) != (&new.spec, new.newest()) => {
            vec![note(Action::Update, new).turned("revision", old.newest(), new.newest())]
        }
        _ => Vec::new(),
    }
}
