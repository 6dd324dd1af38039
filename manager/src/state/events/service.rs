//! What is told of a service. Pure.

use skep_proto::event::{Action, EventKind};
use skep_proto::image::ImageRef;
use skep_proto::service::Service;
use skep_proto::spec::Mode;

use super::Note;

pub(super) fn notes(old: Option<&Service>, new: Option<&Service>) -> Vec<Note> {
    let note = |action, service: &Service| {
        Note::new(EventKind::Service, action, service.id, &service.spec.name)
            .labels(&service.spec.labels)
    };
    match (old, new) {
        (None, Some(new)) => {
            let created = note(Action::Create, new)
                .tell("image", image(&new.spec.task.container.image))
                .tell("replicas", replicas(new));
            vec![created]
        }
        // It is told when it is removed, not when the last of it is gone.
        (Some(old), None) if old.removed.is_none() => vec![note(Action::Remove, old)],
        (Some(old), Some(new)) if old.removed.is_none() && new.removed.is_some() => {
            vec![note(Action::Remove, new)]
        }
        (Some(old), Some(new)) if old.spec != new.spec || old.revision != new.revision => {
            let (was, is) = (&old.spec, &new.spec);
            let update = note(Action::Update, new)
                .turned("name", &was.name, &is.name)
                .turned("replicas", replicas(old), replicas(new))
                .turned(
                    "image",
                    image(&was.task.container.image),
                    image(&is.task.container.image),
                )
                .turned("revision", old.revision, new.revision);
            vec![stepped(update, old, new)]
        }
        (Some(old), Some(new)) if state(old) != state(new) => {
            vec![stepped(note(Action::Update, new), old, new)]
        }
        _ => Vec::new(),
    }
}

/// Tells where the update stands, by Docker's name, and why it does not go on where it does not.
fn stepped(note: Note, old: &Service, new: &Service) -> Note {
    if state(old) == state(new) {
        return note;
    }
    let reason = new.update.as_ref().filter(|update| {
        update.state.paused() || update.state.rolls_back() && !update.state.finished()
    });
    note.turned("updatestate", state(old), state(new)).tell(
        "reason",
        reason.map_or("", |update| update.message.as_str()),
    )
}

/// Empty before the first update.
fn state(service: &Service) -> String {
    let update = service.update.as_ref();
    update.map_or_else(String::new, |update| update.state.to_string())
}

fn replicas(service: &Service) -> String {
    match service.spec.mode {
        Mode::Replicated { replicas } => replicas.to_string(),
        Mode::ReplicatedJob { total, .. } => total.to_string(),
        Mode::Global | Mode::GlobalJob => String::new(),
    }
}

fn image(image: &ImageRef) -> String {
    match image.digest {
        Some(digest) => format!("{}@{digest}", image.name),
        None => image.name.clone(),
    }
}
