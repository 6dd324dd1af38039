//! Secrets and configs: their tables and indexes, and what is asked of them. Pure.
//!
//! Contents stand in a table of their own, by file and revision: an object is small, a content is not. Of each file
//! the newest content is kept, and older ones while something may still be given them.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::assignment::AssignedFile;
use skep_proto::file::{Content, File, FileId, FileKind};
use skep_proto::ids::ServiceId;
use skep_proto::service::Service;
use skep_proto::spec::TaskSpec;
use skep_proto::task::{Task, TaskState};

use super::State;

const LEAST: ServiceId = ServiceId::new(0);
const MOST: ServiceId = ServiceId::new(u128::MAX);

impl State {
    /// A secret or config.
    pub fn file(&self, id: FileId) -> Option<&Arc<File>> {
        self.files.get(&id)
    }

    /// All secrets and configs, ascending by id.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.values()
    }

    /// The secret or config of this name.
    pub fn file_named(&self, kind: FileKind, name: &str) -> Option<&Arc<File>> {
        let id = self.index.file_names.get(&(kind, name.to_owned()))?;
        self.files.get(id)
    }

    /// A content, while it is kept.
    pub fn content(&self, id: FileId, revision: u64) -> Option<&Content> {
        self.contents.get(&(id, revision))
    }

    /// Contents of a file that are kept, ascending by revision.
    pub fn contents_of(&self, id: FileId) -> impl Iterator<Item = (u64, &Content)> {
        let range = self.contents.range((id, 0)..=(id, u64::MAX));
        range.map(|((_, revision), content)| (*revision, content))
    }

    /// All contents that are kept.
    pub(super) fn contents(&self) -> impl Iterator<Item = (FileId, u64, &Content)> {
        let all = self.contents.iter();
        all.map(|((id, revision), content)| (*id, *revision, content))
    }

    /// Contents that are kept and not the newest of their file.
    pub fn superseded(&self) -> impl Iterator<Item = (FileId, u64)> + '_ {
        self.index.superseded.iter().copied()
    }

    /// Services that use a file and are not removed, ascending by id: by the spec in force, by one that an update may
    /// go back to, or by one of which a task is to run.
    pub fn users_of_file(&self, id: FileId) -> impl Iterator<Item = &Arc<Service>> {
        let names = move |spec: &TaskSpec| uses(spec).any(|(used, _)| used == id);
        self.all_users(id)
            .filter(move |service| service.removed.is_none() && self.may_run(service, names))
    }

    /// Whether a spec of a service of which tasks are to run, or may be made, is so.
    fn may_run(&self, service: &Service, is: impl Fn(&TaskSpec) -> bool) -> bool {
        let standing = service.templates.get(&service.template);
        let to_come = standing.map(AsRef::as_ref).into_iter();
        let mut to_come = to_come
            .chain(way_back(service))
            .filter(|_| service.removed.is_none());
        let of_live = |number: u64| {
            let mut tasks = self.tasks_of(service.id);
            tasks.any(|task| task.template == number && lives(task))
        };
        to_come.any(&is)
            || service
                .templates
                .iter()
                .any(|(number, spec)| is(spec) && of_live(*number))
    }

    fn all_users(&self, id: FileId) -> impl Iterator<Item = &Arc<Service>> {
        let range = self.index.by_file.range((id, LEAST)..=(id, MOST));
        range.filter_map(|(_, service)| self.services.get(service))
    }

    /// The revision that a use which begins at `pinned` has now.
    pub fn resolved(&self, id: FileId, pinned: Option<u64>) -> Option<u64> {
        let file = self.files.get(&id)?;
        Some(file.resolve(pinned, |revision| self.content(id, revision).is_some()))
    }

    /// What a task of this spec is given, ascending by id; what is not there any more is left out.
    pub fn given(&self, spec: &TaskSpec) -> Vec<AssignedFile> {
        let mut given: Vec<AssignedFile> = uses(spec)
            .filter_map(|(id, pinned)| {
                let file = self.files.get(&id)?;
                let revision = self.resolved(id, pinned)?;
                Some(AssignedFile {
                    file: id,
                    revision,
                    signal: file.signalled(revision),
                })
            })
            .collect();
        given.sort_by_key(|it| it.file);
        given.dedup_by_key(|it| it.file);
        given
    }

    /// Whether a task has this content, or may be made with it: one that is to run has it, or the spec that is in
    /// force, or the one that an update may go back to.
    pub fn content_used(&self, id: FileId, revision: u64) -> bool {
        let has = |spec: &TaskSpec| {
            uses(spec)
                .any(|(used, pinned)| used == id && self.resolved(id, pinned) == Some(revision))
        };
        self.all_users(id).any(|service| self.may_run(service, has))
    }

    /// Tasks that are to run and have this content.
    pub fn tasks_with(&self, id: FileId, revision: u64) -> usize {
        let with = |task: &&Arc<Task>| {
            let spec = self.template(task.service, task.template);
            let given = spec.map(|spec| self.given(spec)).unwrap_or_default();
            let has = |it: &AssignedFile| (it.file, it.revision) == (id, revision);
            lives(task) && given.iter().any(has)
        };
        let services = self.all_users(id);
        services
            .map(|service| self.tasks_of(service.id).filter(with).count())
            .fold(0, usize::saturating_add)
    }

    pub(super) fn index_file(&mut self, id: FileId, new: Option<Arc<File>>) {
        if let Some(old) = self.files.remove(&id) {
            let key = (id.kind(), old.spec.name.clone());
            self.index.file_names.remove(&key);
        }
        if let Some(file) = new {
            let newest = file.newest();
            let older: Vec<u64> = self
                .contents_of(id)
                .map(|(revision, _)| revision)
                .filter(|revision| *revision < newest)
                .collect();
            for revision in older {
                self.index.superseded.insert((id, revision));
            }
            let key = (id.kind(), file.spec.name.clone());
            self.index.file_names.insert(key, id);
            self.files.insert(id, file);
        }
    }

    pub(super) fn index_content(&mut self, id: FileId, revision: u64, new: Option<Content>) {
        let key = (id, revision);
        match new {
            Some(content) => {
                let newest = self.files.get(&id).map(|file| file.newest());
                if newest.is_some_and(|newest| revision < newest) {
                    self.index.superseded.insert(key);
                }
                self.contents.insert(key, content);
            }
            None => {
                self.index.superseded.remove(&key);
                self.contents.remove(&key);
            }
        }
    }
}

/// A task that is to run, or runs.
fn lives(task: &Task) -> bool {
    task.desired <= TaskState::Running && !task.status.state.ended()
}

/// What an update that is not at its end may go back to.
fn way_back(service: &Service) -> Option<&TaskSpec> {
    let from = service.unfinished()?.from;
    Some(&service.kept(from)?.spec.task)
}

/// Files that a task spec names, and the revision each use begins at.
pub fn uses(spec: &TaskSpec) -> impl Iterator<Item = (FileId, Option<u64>)> + '_ {
    let secrets = spec.container.secrets.iter();
    let secrets = secrets.map(|used| (FileId::from(used.id), used.revision));
    let configs = spec.container.configs.iter();
    secrets.chain(configs.map(|used| (FileId::from(used.id), used.revision)))
}

/// Files that a service uses, or may again by itself.
pub(super) fn files_of(service: &Service) -> BTreeSet<FileId> {
    let specs = service.templates.values().map(AsRef::as_ref);
    let specs = specs.chain(way_back(service));
    specs.flat_map(uses).map(|(id, _)| id).collect()
}
