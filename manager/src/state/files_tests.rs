//! What a state promises about secrets and configs.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test ends where an expectation is broken"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_proto::file::{Content, File, FileId, FileKind, FileRevision, FileSpec, Rotation};
use skep_proto::ids::{SecretId, ServiceId, TaskId};
use skep_proto::service::Service;
use skep_proto::spec::{ContainerSpec, FileUse, ServiceSpec, TaskSpec};
use skep_proto::task::{Slot, Task, TaskState, TaskStatus};
use skep_proto::time::{ClusterTime, WallTime};

use super::{Change, Entry, Misfit, State};

const SECRET: SecretId = SecretId::new(9);
const FILE: FileId = FileId::Secret(SECRET);
const WEB: ServiceId = ServiceId::new(1);
const PLACE: Rotation = Rotation::InPlace { signal: None };

fn file(state: &State, rotation: Rotation, text: &str) -> Change {
    let old = state.file(FILE);
    let revision = FileRevision {
        number: old.map_or(1, |old| old.newest() + 1),
        at: WallTime::default(),
        by: String::new(),
        size: u64::try_from(text.len()).unwrap(),
        rotation,
    };
    let fresh = || File {
        id: FILE,
        version: 0,
        created: WallTime::default(),
        updated: WallTime::default(),
        spec: FileSpec {
            name: "key".into(),
            labels: BTreeMap::new(),
        },
        revisions: Vec::new(),
    };
    let mut file = old.map_or_else(fresh, |old| File::clone(old));
    file.revisions.push(revision);
    Change::PutFile {
        file: Arc::new(file),
        content: Some(Content::new(text.as_bytes().to_vec())),
    }
}

fn spec(revision: u64) -> TaskSpec {
    let mut container = ContainerSpec::new("web:1");
    container.secrets = vec![FileUse {
        id: SECRET,
        name: "key".into(),
        target: "/run/secrets/key".into(),
        uid: 0,
        gid: 0,
        mode: 0o444,
        revision: Some(revision),
    }];
    TaskSpec::new(container)
}

fn service(version: u64, templates: &[(u64, u64)]) -> Change {
    let specs = templates
        .iter()
        .map(|(number, pinned)| (*number, Arc::new(spec(*pinned))));
    let (newest, pinned) = templates.last().unwrap();
    Change::PutService(Arc::new(Service {
        id: WEB,
        version,
        created: WallTime::default(),
        updated: WallTime::default(),
        spec: Arc::new(ServiceSpec::new("web", spec(*pinned))),
        revision: *newest,
        template: *newest,
        templates: specs.collect(),
        vips: BTreeMap::new(),
        ports: Vec::new(),
        removed: None,
        auth: None,
        history: Vec::new(),
        update: None,
    }))
}

fn task(id: u128, template: u64) -> Change {
    Change::PutTask(Arc::new(Task {
        id: TaskId::new(id),
        version: 0,
        service: WEB,
        template,
        slot: Slot::Replica(1),
        node: None,
        desired: TaskState::Running,
        status: TaskStatus::of(TaskState::New, WallTime::default()),
        created: ClusterTime::ZERO,
        start_at: None,
        attachments: Vec::new(),
    }))
}

struct World(State);

impl World {
    fn new() -> Self {
        let mut world = Self(State::default());
        world.rotate(PLACE, "one");
        world
    }

    fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        let entry = Entry {
            changes: vec![change],
            ..Entry::default()
        };
        let outcome = self.0.apply(self.0.applied() + 1, &entry);
        let first = outcome.dropped.into_iter().next();
        first.map_or(Ok(()), |dropped| Err(dropped.reason))
    }

    fn rotate(&mut self, rotation: Rotation, text: &str) {
        let change = file(&self.0, rotation, text);
        self.apply(change).unwrap();
    }

    fn version(&self) -> u64 {
        self.0.service(WEB).map_or(0, |service| service.version)
    }

    fn kept(&self) -> Vec<u64> {
        self.0.contents_of(FILE).map(|(number, _)| number).collect()
    }

    fn let_go(&mut self, revision: u64) -> Result<(), Misfit> {
        self.apply(Change::DropContent {
            file: FILE,
            revision,
        })
    }

    fn given(&self, template: u64) -> u64 {
        let spec = self.0.template(WEB, template).unwrap();
        self.0.given(spec)[0].revision
    }
}

#[test]
fn what_is_replaced_in_place_is_used_by_nobody_any_more() {
    let mut world = World::new();
    world.apply(service(0, &[(1, 1)])).unwrap();
    world.apply(task(1, 1)).unwrap();
    world.let_go(1).unwrap_err();
    world.rotate(PLACE, "two");
    assert_eq!((world.given(1), world.kept()), (2, vec![1, 2]));
    assert_eq!(world.0.superseded().collect::<Vec<_>>(), [(FILE, 1)]);
    world.let_go(1).unwrap();
    assert_eq!(world.kept(), [2]);
    assert_eq!(world.0.superseded().count(), 0);
    world.let_go(2).unwrap_err();
}

#[test]
fn a_rolling_rotation_keeps_the_old_content_until_its_last_task_ended() {
    let mut world = World::new();
    world.apply(service(0, &[(1, 1)])).unwrap();
    world.apply(task(1, 1)).unwrap();
    world.rotate(Rotation::Rolling, "two");
    assert_eq!(world.given(1), 1);
    world
        .apply(service(world.version(), &[(1, 1), (2, 2)]))
        .unwrap();
    assert_eq!((world.given(1), world.given(2)), (1, 2));
    assert_eq!(world.0.tasks_with(FILE, 1), 1);
    world.let_go(1).unwrap_err();
    world
        .apply(Change::SetDesired {
            task: TaskId::new(1),
            desired: TaskState::Shutdown,
        })
        .unwrap();
    world.let_go(1).unwrap();
    assert_eq!(world.given(1), 2, "what is gone is replaced by the newest");
}

#[test]
fn a_file_in_use_is_not_removed_and_its_service_is_named() {
    let mut world = World::new();
    world.apply(service(0, &[(1, 1)])).unwrap();
    let delete = |world: &World| Change::DeleteFile {
        file: FILE,
        version: world.0.file(FILE).unwrap().version,
    };
    let error = world.apply(delete(&world)).unwrap_err().to_string();
    assert!(
        error.contains("secret \"key\"") && error.contains("service \"web\""),
        "{error}"
    );
    // What only tasks that ended name is free.
    let mut other = Service::clone(world.0.service(WEB).unwrap());
    let mut free = TaskSpec::clone(&other.templates[&1]);
    free.container.secrets.clear();
    other.templates.insert(2, Arc::new(free));
    other.template = 2;
    world.apply(task(1, 1)).unwrap();
    world.apply(Change::PutService(Arc::new(other))).unwrap();
    assert_eq!(
        world.0.users_of_file(FILE).count(),
        1,
        "a task has it still"
    );
    let shutdown = |id| Change::SetDesired {
        task: TaskId::new(id),
        desired: TaskState::Shutdown,
    };
    world.apply(shutdown(1)).unwrap();
    assert_eq!(world.0.users_of_file(FILE).count(), 0);
    let mut back = Service::clone(world.0.service(WEB).unwrap());
    back.template = 1;
    world.apply(Change::PutService(Arc::new(back))).unwrap();
    world.apply(delete(&world)).unwrap_err();
    let mut removed = Service::clone(world.0.service(WEB).unwrap());
    removed.removed = Some(ClusterTime::ZERO);
    world.apply(Change::PutService(Arc::new(removed))).unwrap();
    world.apply(delete(&world)).unwrap();
    assert!(world.0.file(FILE).is_none() && world.kept().is_empty());
    assert!(world.0.file_named(FileKind::Secret, "key").is_none());
}

#[test]
fn a_service_cannot_name_what_is_not_there() {
    let mut world = World(State::default());
    let error = world.apply(service(0, &[(1, 1)])).unwrap_err();
    assert!(matches!(error, Misfit::Missing { .. }), "{error}");
}

#[test]
fn a_revision_is_made_once_with_its_content() {
    let mut world = World::new();
    let Change::PutFile { file, content } = file(&world.0, PLACE, "two") else {
        unreachable!()
    };
    let put = |file: File, content: Option<Content>| Change::PutFile {
        file: Arc::new(file),
        content,
    };
    world.apply(put(File::clone(&file), None)).unwrap_err();
    let mut other = File::clone(&file);
    other.revisions[1].number = 4;
    world.apply(put(other, content.clone())).unwrap_err();
    let mut other = File::clone(&file);
    other.revisions[0].size = 7;
    world.apply(put(other, content.clone())).unwrap_err();
    let mut other = File::clone(&file);
    other.spec.name = "other".into();
    world.apply(put(other, content.clone())).unwrap_err();
    let mut other = File::clone(&file);
    other.id = FileId::new(FileKind::Secret, 10);
    other.version = 0;
    other.revisions.remove(0);
    let error = world.apply(put(other, content.clone())).unwrap_err();
    assert!(!matches!(error, Misfit::Stale { .. }), "{error}");
    world.apply(put(File::clone(&file), content)).unwrap();
    let again = Arc::clone(world.0.file(FILE).unwrap());
    world.apply(put(File::clone(&again), None)).unwrap();
}

#[test]
fn a_state_with_files_comes_back_from_its_pieces() {
    let mut world = World::new();
    world.apply(service(0, &[(1, 1)])).unwrap();
    world.apply(task(1, 1)).unwrap();
    world.rotate(Rotation::Rolling, "two");
    let again = State::from_objects(world.0.objects());
    assert_eq!(again, world.0);
}
