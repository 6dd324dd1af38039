//! Secrets and configs of the simulated world: two of them, which some services use and which are rotated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_manager::state::{Change, State};
use skep_proto::assignment::Assignment;
use skep_proto::file::{Content, File, FileId, FileRevision, FileSpec, Rotation};
use skep_proto::ids::{ConfigId, SecretId};
use skep_proto::spec::{FileUse, TaskSpec};
use skep_proto::time::WallTime;

use super::bug::Bug;
use super::rng::Rng;

/// A content, by file and revision.
pub type Held = (FileId, u64);

const KEY: SecretId = SecretId::new(1);
const PAGE: ConfigId = ConfigId::new(2);

/// All files of the world.
pub const FILES: [FileId; 2] = [FileId::Secret(KEY), FileId::Config(PAGE)];

fn revision(number: u64, rotation: Rotation) -> FileRevision {
    FileRevision {
        number,
        at: WallTime::default(),
        by: String::new(),
        size: 8,
        rotation,
    }
}

fn content(number: u64) -> Content {
    Content::new(number.to_be_bytes().to_vec())
}

/// What makes them.
pub fn at_first() -> impl Iterator<Item = Change> {
    FILES.into_iter().map(|id| {
        let first = Rotation::InPlace { signal: None };
        Change::PutFile {
            file: Arc::new(File {
                id,
                version: 0,
                created: WallTime::default(),
                updated: WallTime::default(),
                spec: FileSpec {
                    name: format!("f{id}"),
                    labels: BTreeMap::new(),
                },
                revisions: vec![revision(1, first)],
            }),
            content: Some(content(1)),
        }
    })
}

/// Gives some services one of them, or both.
pub fn give(task: &mut TaskSpec, state: &State, rng: &mut Rng) {
    let container = &mut task.container;
    if rng.in_thousand(300) {
        container.secrets = vec![used(state, KEY, "/key")];
    }
    if rng.in_thousand(200) {
        container.configs = vec![used(state, PAGE, "/page")];
    }
}

fn used<I: Copy + Into<FileId>>(state: &State, id: I, target: &str) -> FileUse<I> {
    FileUse {
        id,
        name: "f".into(),
        target: target.into(),
        uid: 0,
        gid: 0,
        mode: 0o444,
        revision: state.file(id.into()).map(|file| file.newest()),
    }
}

/// A new revision of a file.
pub fn rotated(state: &State, id: FileId, rotation: Rotation) -> Option<Change> {
    let old = state.file(id)?;
    let number = old.newest() + 1;
    let mut file = File::clone(old);
    file.revisions.push(revision(number, rotation));
    Some(Change::PutFile {
        file: Arc::new(file),
        content: Some(content(number)),
    })
}

/// The spec with its uses at the newest revisions.
pub fn repin(task: &mut TaskSpec, state: &State) {
    let newest = |id: FileId| state.file(id).map(|file| file.newest());
    for used in &mut task.container.secrets {
        used.revision = newest(used.id.into());
    }
    for used in &mut task.container.configs {
        used.revision = newest(used.id.into());
    }
}

/// Contents that go out with an assignment.
pub fn sent(bug: Option<Bug>, state: &State, assignment: &Assignment) -> BTreeSet<Held> {
    let mut contents = assignment.contents();
    if bug == Some(Bug::SecretsEverywhere) {
        let all = FILES.iter().filter_map(|id| state.file(*id));
        contents.extend(all.map(|file| (file.id, file.newest())));
    }
    contents.retain(|(id, revision)| state.content(*id, *revision).is_some());
    contents
}
