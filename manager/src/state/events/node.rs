//! What is told of a node. Pure.

use std::collections::BTreeMap;

use skep_proto::event::{Action, EventKind};
use skep_proto::node::{Node, NodeState};

use super::Note;

pub(super) fn notes(old: Option<&Node>, new: Option<&Node>) -> Vec<Note> {
    let note = |action, node: &Node| {
        Note::new(EventKind::Node, action, node.id, &node.description.hostname)
            .labels(&node.spec.labels)
    };
    let (old, new) = match (old, new) {
        (None, Some(new)) => {
            let joined = note(Action::Join, new)
                .tell("role", new.spec.role)
                .tell("address", new.address);
            return vec![joined];
        }
        (Some(old), None) => return vec![note(Action::Leave, old)],
        (Some(old), Some(new)) => (old, new),
        (None, None) => return Vec::new(),
    };
    let mut notes = Vec::new();
    let (was, is) = (&old.status, &new.status);
    let turn = match is.state {
        NodeState::Up => Some(Action::Up),
        NodeState::Down => Some(Action::Down),
        NodeState::Unknown => None,
    };
    if let Some(action) = turn.filter(|_| was.state != is.state) {
        let turned = note(action, new).turned("state", was.state, is.state);
        notes.push(turned.tell("reason", &is.message));
    }
    let update = note(Action::Update, new)
        .turned("role", old.spec.role, new.spec.role)
        .turned("availability", old.spec.availability, new.spec.availability)
        .turned("labels", listed(&old.spec.labels), listed(&new.spec.labels))
        .turned("engine", &old.description.engine, &new.description.engine)
        .turned("address", old.address, new.address)
        .turned("manager", manager(old), manager(new));
    // Its name is always told.
    if update.attributes.len() > 1 {
        notes.push(update);
    }
    notes
}

/// Where its managers' door is, while it is in the Raft group.
fn manager(node: &Node) -> String {
    let manager = node.manager.as_ref();
    manager.map_or_else(String::new, |manager| manager.address.to_string())
}

fn listed(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.join(",")
}
