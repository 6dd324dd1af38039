//! Commands that change what a service is to be: update, rollback, pause and resume of an update.
//!
//! What a spec was made from is named by its revision: one that was made from an older revision is refused,
//! never merged. The plan touches a service while it replaces tasks; that is no conflict and is tried again.

use std::sync::Arc;

use skep_proto::ids::RequestId;
use skep_proto::service::Service;
use skep_proto::spec::ServiceSpec;
use tonic::{Code, Status};

use super::images::ImageWish;
use super::services::{answered, fitting};
use super::{Control, TRIES, files, resolve};
use crate::plan::{Author, paused, resumed, revised, rolled_back};
use crate::state::{Answer, Change, State};

/// What all these commands name.
pub(super) struct Asked {
    pub(super) request: RequestId,
    /// Of the service.
    pub(super) reference: String,
    /// The revision that was read; `None` takes any.
    pub(super) revision: Option<u64>,
    pub(super) author: Author,
    pub(super) run: Run,
}

/// Whether something is to happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// It is to happen.
    Change,
    /// Say what would happen.
    Try,
}

/// What becomes of the update of a service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It stops where it is.
    Pause,
    /// It goes on.
    Resume,
}

/// What came of a command.
pub(super) struct Changed {
    /// As it is now, or would be.
    pub(super) service: Arc<Service>,
    /// The service was as asked for.
    pub(super) unchanged: bool,
}

impl Control {
    /// Gives a service another spec. An image that was named anew is resolved anew.
    pub(super) async fn update(
        &self,
        asked: Asked,
        mut spec: ServiceSpec,
        image: ImageWish,
    ) -> Result<Changed, Status> {
        self.resolve_changed(&asked, &mut spec, &image).await?;
        let auth = image.auth.map(Arc::new);
        self.change(asked, |state, old, author| {
            if spec.name != old.spec.name {
                return Err(Status::invalid_argument(format!(
                    "service \"{}\" cannot be renamed; create \"{}\" and remove the old one",
                    old.spec.name, spec.name
                )));
            }
            same_kind(old, &spec)?;
            let mut spec = spec.clone();
            files::pin(state, &mut spec, Some(&old.spec))?;
            fitting(state, &spec)?;
            let auth = auth.clone().or_else(|| old.auth.clone());
            if spec != *old.spec {
                let new = revised(state, old, spec, author);
                return Ok(Some(Service { auth, ..new }));
            }
            let other_auth = auth != old.auth;
            Ok(other_auth.then(|| Service {
                auth,
                ..old.clone()
            }))
        })
        .await
    }

    async fn resolve_changed(
        &self,
        asked: &Asked,
        spec: &mut ServiceSpec,
        image: &ImageWish,
    ) -> Result<(), Status> {
        let state = self.read().await?;
        if answered(&state, asked.request)?.is_some() {
            return Ok(());
        }
        let old = resolve::service(&state, &asked.reference)?;
        if spec.task.container.image == old.spec.task.container.image {
            return Ok(());
        }
        let kept = old.auth.as_ref().map(|auth| auth.as_ref().clone());
        let wish = ImageWish {
            auth: image.auth.clone().or(kept),
            by: image.by,
        };
        self.resolve_image(&state, spec, &wish).await
    }

    /// Gives a service the spec of an earlier revision, by default the one before.
    pub(super) async fn roll_back(&self, asked: Asked, to: Option<u64>) -> Result<Changed, Status> {
        self.change(asked, |state, old, author| {
            let new = rolled_back(state, old, to, author)
                .map_err(|error| Status::failed_precondition(error.to_string()))?;
            files::there(state, &new.spec)?;
            Ok((new.spec != old.spec).then_some(new))
        })
        .await
    }

    /// Pauses or resumes the update of a service.
    pub(super) async fn turn(&self, asked: Asked, turn: Turn) -> Result<Changed, Status> {
        self.change(asked, |_, old, author| {
            let (new, said) = match turn {
                Turn::Pause => (paused(old, said("paused", &author)), "going on"),
                Turn::Resume => (resumed(old, said("resumed", &author)), "paused"),
            };
            let there = old.unfinished().is_some();
            if new.is_none() && !there {
                return Err(Status::failed_precondition(format!(
                    "service \"{0}\" has no update that is {said}; see what it does with: skep rollout \
                     status {0}",
                    old.spec.name
                )));
            }
            Ok(new)
        })
        .await
    }

    async fn change(
        &self,
        asked: Asked,
        make: impl Fn(&State, &Service, Author) -> Result<Option<Service>, Status>,
    ) -> Result<Changed, Status> {
        for _ in 0..TRIES {
            let state = self.read().await?;
            let mut known = answered(&state, asked.request)?;
            let found = match known {
                Some(id) => state.service(id).cloned(),
                None => None,
            };
            if let Some(service) = found {
                let unchanged = false;
                return Ok(Changed { service, unchanged });
            }
            let old = resolve::service(&state, &asked.reference)?;
            check_revision(&old, asked.revision)?;
            let Some(new) = make(&state, &old, asked.author.clone())? else {
                let (service, unchanged) = (old, true);
                return Ok(Changed { service, unchanged });
            };
            if asked.run == Run::Try {
                let (service, unchanged) = (Arc::new(new), false);
                return Ok(Changed { service, unchanged });
            }
            let changes = vec![Change::PutService(Arc::new(new))];
            let answer = Answer::Service(old.id);
            match self.commit(asked.request, answer, changes).await {
                Ok(_) => known = Some(old.id),
                Err(status) if status.code() == Code::Aborted => continue,
                Err(status) => return Err(status),
            }
            let service = known.and_then(|id| self.ring.stale().service(id).cloned());
            let service = service.ok_or_else(|| Status::unavailable("it changed; repeat"))?;
            let unchanged = false;
            return Ok(Changed { service, unchanged });
        }
        Err(Status::aborted(format!(
            "service \"{}\" changes too fast just now; repeat",
            asked.reference
        )))
    }
}

/// Slots of one mode mean nothing to another.
fn same_kind(old: &Service, new: &ServiceSpec) -> Result<(), Status> {
    if std::mem::discriminant(&old.spec.mode) == std::mem::discriminant(&new.mode) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "--mode: service \"{0}\" cannot become another kind of service; remove it and create it anew",
        old.spec.name
    )))
}

fn check_revision(service: &Service, made_from: Option<u64>) -> Result<(), Status> {
    match made_from {
        Some(revision) if revision != service.revision => Err(Status::aborted(format!(
            "service \"{}\" was changed meanwhile: it is at revision {}, and this was made from revision \
             {revision}; look at it again and repeat",
            service.spec.name, service.revision
        ))),
        _ => Ok(()),
    }
}

fn said(what: &str, author: &Author) -> String {
    let by = if author.by.is_empty() {
        String::new()
    } else {
        format!(" by {}", author.by)
    };
    if author.why.is_empty() {
        format!("{what}{by}")
    } else {
        format!("{what}{by}: {}", author.why)
    }
}
