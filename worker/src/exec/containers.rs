//! The containers of this node, for all that look at them; only [`super::container`] makes and removes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_proto::ids::TaskId;

use super::runtime::Container;

/// The label that carries a container's name, as `web.1.ID`.
pub const NAME: &str = "skep.task.name";

/// The containers of this node. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Containers(Arc<Mutex<BTreeMap<TaskId, Container>>>);

/// How many containers there are by what they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// They run, or wait for their start.
    pub running: u32,
    /// They are frozen.
    pub paused: u32,
    /// They have ended.
    pub stopped: u32,
}

/// Why a reference means no container.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotFound {
    /// There is none.
    #[error(
        "there is no container \"{0}\" on this node; see what there is with: skep container ls -a"
    )]
    None(String),
    /// There are several.
    #[error("more than one container on this node begins with \"{0}\"; give more of the id")]
    Several(String),
}

impl Containers {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Container>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All, by the ids of their tasks.
    pub fn all(&self) -> Vec<Container> {
        self.lock().values().cloned().collect()
    }

    /// How many there are by what they do.
    ///
    /// It reads files of control groups, so it belongs on a blocking thread.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.all() {
            let of = if container.ended().is_some() {
                &mut counts.stopped
            } else if container.group().is_frozen() {
                &mut counts.paused
            } else {
                &mut counts.running
            };
            *of += 1;
        }
        counts
    }

    /// The container of a task, of the beginning of a task's id, or with a name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, reference: &str) -> Result<Container, NotFound> {
        let all = self.lock();
        let named = |one: &&Container| {
            one.id() == reference || one.labels().get(NAME).is_some_and(|name| name == reference)
        };
        if let Some(found) = all.values().find(named) {
            return Ok(found.clone());
        }
        let begins = |one: &&Container| !reference.is_empty() && one.id().starts_with(reference);
        let mut found = all.values().filter(begins);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(NotFound::Several(reference.to_owned())),
            (None, _) => Err(NotFound::None(reference.to_owned())),
        }
    }
}
