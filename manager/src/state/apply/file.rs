//! Writes secrets and configs, and guards what still uses them. Pure.

use std::sync::Arc;

use skep_proto::file::{Content, File, FileId, FileRevision};

use super::check_version;
use crate::state::{Misfit, State};

impl State {
    /// `content` is that of the newest revision, when it is new.
    pub(super) fn put_file(
        &mut self,
        file: &Arc<File>,
        content: Option<&Content>,
    ) -> Result<(), Misfit> {
        let old = self.files.get(&file.id).cloned();
        let object = || name(file);
        check_version(object, file.version, old.as_ref().map(|old| old.version))?;
        self.check_file(file, old.as_deref(), content)?;
        let mut new = File::clone(file);
        new.version = self.meta.index;
        let (id, newest) = (file.id, file.newest());
        self.index_file(id, Some(Arc::new(new)));
        if let Some(content) = content {
            self.index_content(id, newest, Some(content.clone()));
        }
        Ok(())
    }

    fn check_file(
        &self,
        file: &File,
        old: Option<&File>,
        content: Option<&Content>,
    ) -> Result<(), Misfit> {
        let set_once = |what| {
            Err(Misfit::SetOnce {
                object: name(file),
                what,
            })
        };
        let before = old.map_or(&[][..], |old| &old.revisions);
        let newest = before.last().map_or(0, |it| it.number);
        let mut expected = newest;
        for revision in &file.revisions {
            let known = before.iter().find(|it| it.number == revision.number);
            if known.is_some_and(|known| known != revision) {
                return set_once("what a revision was");
            }
            if known.is_none() {
                expected = expected.saturating_add(1);
                if revision.number != expected {
                    return set_once("the order of revisions");
                }
            }
        }
        if !file.revisions.is_sorted_by(|a, b| a.number < b.number) {
            return set_once("the order of revisions");
        }
        let grown = file.newest() > newest;
        if file.newest() < newest || expected > newest.saturating_add(1) || file.newest() == 0 {
            return set_once("the order of revisions");
        }
        let size = content.map(|content| content.bytes().len());
        let told = file.revisions.last().map(|it| it.size);
        if grown != content.is_some()
            || (grown && size.and_then(|size| u64::try_from(size).ok()) != told)
        {
            return set_once("the content of a revision");
        }
        if old.is_some_and(|old| old.spec.name != file.spec.name) {
            return set_once("the name");
        }
        let forgotten = |kept: &FileRevision| {
            let gone = file.revisions.iter().all(|it| it.number != kept.number);
            gone && self.content(file.id, kept.number).is_some()
        };
        if before.iter().any(forgotten) {
            return set_once("a revision whose content is kept");
        }
        let kind = file.id.kind();
        match self.file_named(kind, &file.spec.name) {
            Some(other) if other.id != file.id => Err(Misfit::NameTaken {
                kind: match kind {
                    skep_proto::file::FileKind::Secret => "secret",
                    skep_proto::file::FileKind::Config => "config",
                },
                name: file.spec.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn delete_file(&mut self, id: FileId, version: u64) -> Result<(), Misfit> {
        let file = self.files.get(&id).cloned();
        let file = file.ok_or_else(|| missing(id))?;
        check_version(|| name(&file), version, Some(file.version))?;
        let users: Vec<String> = self
            .users_of_file(id)
            .map(|service| format!("\"{}\"", service.spec.name))
            .collect();
        if !users.is_empty() {
            let plural = if users.len() == 1 {
                "service"
            } else {
                "services"
            };
            return Err(Misfit::InUse {
                object: name(&file),
                user: format!("{plural} {}", users.join(", ")),
            });
        }
        let contents: Vec<u64> = self.contents_of(id).map(|(revision, _)| revision).collect();
        for revision in contents {
            self.index_content(id, revision, None);
        }
        self.index_file(id, None);
        Ok(())
    }

    /// Lets an old content go.
    pub(super) fn drop_content(&mut self, id: FileId, revision: u64) -> Result<(), Misfit> {
        let there = self.content(id, revision).is_some();
        let file = self.files.get(&id).filter(|_| there).cloned();
        let file = file.ok_or_else(|| missing(id))?;
        if self.content_used(id, revision) {
            return Err(Misfit::InUse {
                object: format!("revision {revision} of {}", name(&file)),
                user: "a task".to_owned(),
            });
        }
        self.index_content(id, revision, None);
        Ok(())
    }
}

fn name(file: &File) -> String {
    format!("{} \"{}\"", file.id.kind(), file.spec.name)
}

pub(super) fn missing(id: FileId) -> Misfit {
    Misfit::Missing {
        object: format!("{id:?}"),
    }
}
