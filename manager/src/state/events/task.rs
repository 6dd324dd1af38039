//! What is told of a task: the rungs that people ask about, not each one. Pure.

use skep_proto::event::{Action, EventKind};
use skep_proto::task::{Task, TaskState};

use super::{Note, State};

impl State {
    pub(super) fn task_notes(&self, old: Option<&Task>, new: Option<&Task>) -> Vec<Note> {
        let Some(new) = new else {
            // How it ended was told; one that never had a node ends here.
            let unplaced = old.filter(|old| old.node.is_none() && !old.status.state.ended());
            return unplaced
                .map(|old| self.task_note(Action::Remove, old))
                .into_iter()
                .collect();
        };
        let was = old.map(|old| old.status.state);
        let is = new.status.state;
        let mut actions = Vec::new();
        if old.is_none() {
            actions.push(Action::New);
        }
        if new.node.is_some() && old.is_none_or(|old| old.node.is_none()) {
            actions.push(Action::Assigned);
        }
        if was != Some(is) {
            actions.extend(told(is));
        }
        actions
            .into_iter()
            .map(|action| self.task_note(action, new))
            .collect()
    }

    fn task_note(&self, action: Action, task: &Task) -> Note {
        let service = self.services.get(&task.service);
        let (name, labels) = service.map_or_else(
            || (task.service.to_string(), Default::default()),
            |service| (service.spec.name.clone(), service.spec.labels.clone()),
        );
        let node = task.node.and_then(|node| self.nodes.get(&node));
        let image = self.template(task.service, task.template);
        let status = &task.status;
        let reason = if status.error.is_empty() {
            &status.message
        } else {
            &status.error
        };
        let note = Note::new(
            EventKind::Task,
            action,
            task.id,
            &format!("{name}.{}", task.slot),
        )
        .labels(&labels)
        .tell("service", name)
        .tell("service.id", task.service)
        .tell("slot", task.slot)
        .tell(
            "node",
            node.map(|node| node.description.hostname.as_str())
                .unwrap_or_default(),
        )
        .tell(
            "node.id",
            task.node.map(|node| node.to_string()).unwrap_or_default(),
        )
        .tell(
            "image",
            image
                .map(|spec| spec.container.image.name.as_str())
                .unwrap_or_default(),
        );
        if !status.state.ended() {
            return note;
        }
        let code = status.exit_code.map(|code| code.to_string());
        note.tell("exitCode", code.unwrap_or_default())
            .tell("reason", reason)
    }
}

fn told(state: TaskState) -> Option<Action> {
    match state {
        TaskState::Running => Some(Action::Running),
        TaskState::Complete => Some(Action::Complete),
        TaskState::Shutdown => Some(Action::Shutdown),
        TaskState::Failed => Some(Action::Failed),
        TaskState::Rejected => Some(Action::Rejected),
        TaskState::Orphaned => Some(Action::Orphaned),
        _ => None,
    }
}
