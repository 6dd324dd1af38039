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
            vec![update]
        }
        _ => Vec::new(),
    }
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
