//! Commands about secrets and configs.
//!
//! A service's use of one is pinned to a revision when the service asks for it first; rotating with `rolling` pins
//! it anew, service by service, so a rotation that was cut off goes on when it is repeated.

use std::sync::Arc;

use skep_proto::file::{
    Content, FILE_REVISIONS_TOLD, File, FileId, FileKind, FileRevision, FileSpec, Rotation,
};
use skep_proto::ids::RequestId;
use skep_proto::service::Service;
use skep_proto::spec::{FileUse, ServiceSpec};
use skep_proto::validate;
use tonic::{Code, Status};

use super::rollout::Run;
use super::{Control, refuse, resolve};
use crate::by;
use crate::plan::{Author, revised};
use crate::ring::wall_time;
use crate::state::{Answer, Change, Entry, State, uses};

/// A change that meets another one is tried so often.
const TRIES: usize = 10;

/// A rotation that is asked for.
pub(super) struct Rotate {
    pub(super) request: RequestId,
    pub(super) kind: FileKind,
    pub(super) reference: String,
    pub(super) content: Content,
    pub(super) rotation: Rotation,
    /// In place of those it has.
    pub(super) labels: Option<std::collections::BTreeMap<String, String>>,
    pub(super) run: Run,
}

/// What came of one.
pub(super) struct Rotated {
    pub(super) file: Arc<File>,
    /// Nothing was to be done.
    pub(super) unchanged: bool,
    /// Names of the services that use it.
    pub(super) services: Vec<String>,
}

impl Control {
    /// Makes a secret or config. A repeat of the request gets the same id.
    pub(super) async fn create_stored(
        &self,
        request: RequestId,
        kind: FileKind,
        spec: FileSpec,
        content: Content,
    ) -> Result<FileId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        validate::file(&spec).map_err(|error| refuse::invalid(&error))?;
        fits(kind, &spec.name, &content)?;
        if state.file_named(kind, &spec.name).is_some() {
            return Err(Status::already_exists(format!(
                "a {kind} called \"{0}\" exists already; choose another name, or give it a new content with: \
                 skep {kind} rotate {0} FILE",
                spec.name
            )));
        }
        let (id, now) = (FileId::new(kind, rand::random()), wall_time());
        let first = Rotation::InPlace { signal: None };
        let file = File {
            id,
            version: 0,
            created: now,
            updated: now,
            spec,
            revisions: vec![revision(1, &content, first)],
        };
        let change = Change::PutFile {
            file: Arc::new(file),
            content: Some(content),
        };
        self.commit(request, Answer::File(id), vec![change]).await?;
        answered(&self.ring.stale(), request)?
            .ok_or_else(|| Status::unavailable("the answer is not known here yet; repeat"))
    }

    /// Removes a secret or config that no service uses.
    pub(super) async fn remove_stored(
        &self,
        request: RequestId,
        kind: FileKind,
        reference: &str,
    ) -> Result<FileId, Status> {
        let state = self.read().await?;
        if let Some(id) = answered(&state, request)? {
            return Ok(id);
        }
        let file = resolve::file(&state, kind, reference)?;
        let change = Change::DeleteFile {
            file: file.id,
            version: file.version,
        };
        self.commit(request, Answer::File(file.id), vec![change])
            .await?;
        Ok(file.id)
    }

    /// Gives a secret or config a new content. The same content again changes nothing, save that a rolling rotation
    /// takes up the services that have not got it.
    pub(super) async fn rotate(&self, asked: Rotate) -> Result<Rotated, Status> {
        for _ in 0..TRIES {
            let state = self.read().await?;
            let file = match answered(&state, asked.request)? {
                Some(id) => state.file(id).cloned(),
                None => None,
            };
            let known = file.is_some();
            let file = match file {
                Some(file) => file,
                None => resolve::file(&state, asked.kind, &asked.reference)?,
            };
            fits(asked.kind, &file.spec.name, &asked.content)?;
            let same = state.content(file.id, file.newest()) == Some(&asked.content);
            let labelled = asked
                .labels
                .as_ref()
                .is_none_or(|it| *it == file.spec.labels);
            let as_asked = same && labelled;
            if asked.run == Run::Try {
                return Ok(Rotated {
                    unchanged: as_asked,
                    services: users(&state, file.id),
                    file,
                });
            }
            if !known && !as_asked {
                let change = renewed(&state, &file, &asked, same);
                let answer = Answer::File(file.id);
                match self.commit(asked.request, answer, vec![change]).await {
                    Err(status) if status.code() == Code::Aborted => continue,
                    other => other?,
                };
            }
            let rolled = match asked.rotation {
                Rotation::Rolling => self.roll_out(file.id).await?,
                Rotation::InPlace { .. } => 0,
            };
            let now = self.ring.stale();
            let file = now.file(file.id).cloned().unwrap_or(file);
            return Ok(Rotated {
                unchanged: !known && as_asked && rolled == 0,
                services: users(&now, file.id),
                file,
            });
        }
        Err(Status::aborted(format!(
            "{} \"{}\" changes too fast just now; repeat",
            asked.kind, asked.reference
        )))
    }

    /// Gives every service that uses the file its newest revision; says how many had another.
    async fn roll_out(&self, id: FileId) -> Result<usize, Status> {
        let mut rolled = 0;
        let services: Vec<_> = {
            let state = self.ring.stale();
            state.users_of_file(id).map(|service| service.id).collect()
        };
        for service in services {
            for _ in 0..TRIES {
                let state = self.read().await?;
                let old = state.service(service).filter(|it| it.removed.is_none());
                let Some(new) = old.and_then(|old| repinned(&state, old, id)) else {
                    break;
                };
                let entry = Entry {
                    atomic: true,
                    by: by::asked(),
                    changes: vec![Change::PutService(Arc::new(new))],
                    ..Entry::default()
                };
                let outcome = self.ring.propose(entry).await;
                let outcome = outcome.map_err(|error| refuse::not_committed(&error))?;
                match refuse::check(&outcome) {
                    Err(status) if status.code() == Code::Aborted => continue,
                    other => other?,
                }
                rolled += 1;
                break;
            }
        }
        Ok(rolled)
    }
}

/// The file with another content, or with other labels only.
fn renewed(state: &State, old: &File, asked: &Rotate, same: bool) -> Change {
    let mut file = File {
        updated: wall_time(),
        ..File::clone(old)
    };
    if let Some(labels) = &asked.labels {
        file.spec.labels.clone_from(labels);
    }
    if !same {
        let number = old.newest().saturating_add(1);
        file.revisions
            .push(revision(number, &asked.content, asked.rotation));
        while file.revisions.len() > FILE_REVISIONS_TOLD {
            let oldest = file.revisions.first().map_or(0, |it| it.number);
            if state.content(old.id, oldest).is_some() {
                break;
            }
            file.revisions.remove(0);
        }
    }
    Change::PutFile {
        file: Arc::new(file),
        content: (!same).then(|| asked.content.clone()),
    }
}

fn revision(number: u64, content: &Content, rotation: Rotation) -> FileRevision {
    FileRevision {
        number,
        at: wall_time(),
        by: by::asked(),
        size: u64::try_from(content.bytes().len()).unwrap_or(u64::MAX),
        rotation,
    }
}

fn fits(kind: FileKind, name: &str, content: &Content) -> Result<(), Status> {
    validate::content(kind, name, content.bytes().len()).map_err(|error| refuse::invalid(&error))
}

/// Names of the services that use a file, ascending.
pub(super) fn users(state: &State, id: FileId) -> Vec<String> {
    let users = state.users_of_file(id);
    let mut names: Vec<String> = users.map(|service| service.spec.name.clone()).collect();
    names.sort_unstable();
    names
}

/// The service with its uses of the file at the newest revision; `None` if they have it.
fn repinned(state: &State, old: &Service, id: FileId) -> Option<Service> {
    let file = state.file(id)?;
    let mut spec = ServiceSpec::clone(&old.spec);
    let mut behind = false;
    let mut renew = |used: FileId, pinned: &mut Option<u64>| {
        if used == id && state.resolved(id, *pinned) != Some(file.newest()) {
            *pinned = Some(file.newest());
            behind = true;
        }
    };
    let container = &mut spec.task.container;
    for used in &mut container.secrets {
        renew(used.id.into(), &mut used.revision);
    }
    for used in &mut container.configs {
        renew(used.id.into(), &mut used.revision);
    }
    let author = Author {
        by: by::asked(),
        why: format!("{} \"{}\" was rotated", id.kind(), file.spec.name),
        at: wall_time(),
    };
    behind.then(|| revised(state, old, spec, author))
}

/// Pins each use of a file to what the service had before, or to the newest revision.
pub(super) fn pin(
    state: &State,
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
) -> Result<(), Status> {
    there(state, spec)?;
    let pinned = |id: FileId| {
        let before = old.and_then(|old| uses(&old.task).find(|(used, _)| *used == id));
        let before = before.and_then(|(_, revision)| revision);
        before.or_else(|| state.file(id).map(|file| file.newest()))
    };
    let container = &mut spec.task.container;
    pin_each(&mut container.secrets, state, pinned);
    pin_each(&mut container.configs, state, pinned);
    Ok(())
}

fn pin_each<I: Copy + Into<FileId>>(
    all: &mut [FileUse<I>],
    state: &State,
    pinned: impl Fn(FileId) -> Option<u64>,
) {
    for used in all {
        let id = used.id.into();
        used.revision = pinned(id);
        if let Some(file) = state.file(id) {
            used.name.clone_from(&file.spec.name);
        }
    }
}

/// All that a spec uses is there.
pub(super) fn there(state: &State, spec: &ServiceSpec) -> Result<(), Status> {
    let secrets = spec.task.container.secrets.iter();
    let secrets = secrets.map(|used| (FileId::from(used.id), &used.name));
    let configs = spec.task.container.configs.iter();
    let configs = configs.map(|used| (FileId::from(used.id), &used.name));
    for (id, name) in secrets.chain(configs) {
        if state.file(id).is_none() {
            let kind = id.kind();
            return Err(Status::not_found(format!(
                "--{kind}: {kind} \"{name}\" ({id}) does not exist (any more); see what there is with: skep \
                 {kind} ls, or leave it out with: --{kind}-rm {name}"
            )));
        }
    }
    Ok(())
}

fn answered(state: &State, request: RequestId) -> Result<Option<FileId>, Status> {
    match state.answered(request).map(|answered| &answered.answer) {
        None => Ok(None),
        Some(Answer::File(id)) => Ok(Some(*id)),
        Some(_) => Err(Status::invalid_argument(
            "the request id was used for another command",
        )),
    }
}
