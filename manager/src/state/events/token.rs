//! What is told of tokens: never what proves one. Pure.

use skep_proto::event::{Action, EventKind};
use skep_proto::token::{StoredToken, TokenRole};

use super::Note;

pub(super) fn notes(old: Option<&StoredToken>, new: Option<&StoredToken>) -> Vec<Note> {
    let note = |action, it: &StoredToken| {
        let (token, spec) = (&it.token, &it.token.spec);
        let note = Note::new(EventKind::Token, action, token.id, &spec.name);
        let note = note.tell("role", spec.role.word());
        match &spec.role {
            TokenRole::Admin | TokenRole::Read => note,
            TokenRole::Deploy(bounds) => {
                let services: Vec<&str> = bounds.services.iter().map(String::as_str).collect();
                note.tell("services", services.join(","))
            }
        }
    };
    match (old, new) {
        (None, Some(new)) => vec![note(Action::Create, new)],
        (Some(old), None) => vec![note(Action::Remove, old)],
        _ => Vec::new(),
    }
}
