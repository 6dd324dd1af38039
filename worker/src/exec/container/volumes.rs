//! The volumes of a task: those it names, and those that its image wants.

use std::collections::BTreeMap;
use std::path::Path;

use skep_proto::assignment::AssignedTask;
use skep_proto::spec::{MountSource, VolumeUse};

use super::super::ExecError;
use super::super::image::Held;
use crate::volumes::{Asked, Given, Made, Volumes};

/// What a task got, by target.
#[derive(Debug, Default)]
pub(super) struct Acquired {
    pub(super) given: BTreeMap<String, Given>,
    /// What the user is to know of it; empty when there is nothing.
    pub(super) note: String,
}

/// Gives a task its volumes. Blocks for as long as a server of files does not answer.
pub(super) fn acquire(
    volumes: &Volumes,
    task: &AssignedTask,
    image: &Held,
) -> Result<Acquired, ExecError> {
    let mut acquired = Acquired::default();
    let mut notes = Vec::new();
    let task_name = task.container_name();
    for (target, wanted) in wanted(task, image) {
        let given = volumes
            .acquire(&Asked {
                task: task.id,
                task_name: &task_name,
                wanted: &wanted,
                target: &target,
                layers: &image.layers,
            })
            .map_err(|error| ExecError::from_chain(&error))?;
        notes.extend(note(&wanted, &given));
        acquired.given.insert(target, given);
    }
    acquired.note = notes.join("; ");
    Ok(acquired)
}

/// Each volume with its target. What the image wants and no mount covers is a volume without a name.
fn wanted(task: &AssignedTask, image: &Held) -> Vec<(String, VolumeUse)> {
    let mounts = &task.spec.container.mounts;
    let named = mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume(wanted) => Some((mount.target.clone(), wanted.clone())),
        _ => None,
    });
    let covered = |path: &&String| {
        let same = |target: &str| {
            Path::new(target)
                .components()
                .eq(Path::new(*path).components())
        };
        !mounts.iter().any(|mount| same(&mount.target))
    };
    // Only what is absolute and below the root can be a mount's target.
    let fits = |path: &&String| path.starts_with('/') && !path.trim_matches('/').is_empty();
    let images = image.config.volumes.keys().filter(fits).filter(covered);
    let images = images.map(|path| (path.clone(), VolumeUse::default()));
    named.chain(images).collect()
}

/// A volume with a name that is new here: its user may have expected another node's.
fn note(wanted: &VolumeUse, given: &Given) -> Option<String> {
    wanted.name.as_ref()?;
    let name = &given.name;
    match given.made {
        Made::Before => None,
        Made::Empty => Some(format!("volume {name} is new on this node, and empty")),
        Made::Filled => Some(format!(
            "volume {name} is new on this node, with the image's content"
        )),
    }
}
