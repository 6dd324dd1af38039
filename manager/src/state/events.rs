//! What happened, for people: derived from each applied change and kept in a bounded ring. Pure.
//!
//! Every manager derives the same events from the same log, and snapshots hold them, so any manager can be
//! asked and whoever was cut off goes on where it was. Nothing decides by them: `plan` never looks here, and
//! its drafts record none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use skep_proto::cluster::Cluster;
use skep_proto::drill::Drill;
use skep_proto::event::{Action, Event, EventKind};
use skep_proto::file::{File, FileId};
use skep_proto::ids::{DrillId, NetworkId, NodeId, ServiceId, TaskId, TokenId};
use skep_proto::image::Image;
use skep_proto::network::Network;
use skep_proto::node::Node;
use skep_proto::service::Service;
use skep_proto::task::Task;
use skep_proto::token::StoredToken;

use super::{Change, Entry, State};

mod drill;
mod file;
mod node;
mod service;
mod task;
mod token;

/// Most events that are kept: a few megabytes, and some hours of a busy cluster.
pub const EVENTS_KEPT: usize = 16_384;
/// Events are kept no longer than this, by cluster time.
pub const EVENTS_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A point in the order of events: revision and position. All events after it come later.
pub type EventPlace = (u64, u32);

/// The ring.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Journal {
    kept: OrdMap<EventPlace, Arc<Event>>,
    recording: Recording,
}

/// Whether events are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Recording {
    /// In what was committed.
    #[default]
    On,
    /// In drafts.
    Off,
}

/// An object as it was before a change.
pub(super) enum Witness {
    Cluster(Option<Arc<Cluster>>),
    Node(NodeId, Option<Arc<Node>>),
    Service(ServiceId, Option<Arc<Service>>),
    Task(TaskId, Option<Arc<Task>>),
    Network(NetworkId, Option<Arc<Network>>),
    Image(String, Option<Arc<Image>>),
    File(FileId, Option<Arc<File>>),
    Token(TokenId, Option<Arc<StoredToken>>),
    Drill(DrillId, Option<Arc<Drill>>),
}

/// What is told of an object, before it has a place in the order.
struct Note {
    kind: EventKind,
    action: Action,
    id: String,
    attributes: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl Note {
    fn new(kind: EventKind, action: Action, id: impl ToString, name: &str) -> Self {
        Self {
            kind,
            action,
            id: id.to_string(),
            attributes: BTreeMap::from([("name".to_owned(), name.to_owned())]),
            labels: BTreeMap::new(),
        }
    }

    fn labels(mut self, labels: &BTreeMap<String, String>) -> Self {
        self.labels.clone_from(labels);
        self
    }

    /// Tells `value`, unless it is empty.
    fn tell(mut self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        if !value.is_empty() {
            self.attributes.insert(name.to_owned(), value);
        }
        self
    }

    /// Tells `NAME.old` and `NAME.new` where they differ.
    fn turned(self, name: &str, old: impl ToString, new: impl ToString) -> Self {
        let (old, new) = (old.to_string(), new.to_string());
        if old == new {
            return self;
        }
        let mut note = self;
        note.attributes.insert(format!("{name}.old"), old);
        note.attributes.insert(format!("{name}.new"), new);
        note
    }
}

impl State {
    /// A state to plan on: it records no events.
    pub fn draft(&self) -> Self {
        let mut draft = self.clone();
        draft.journal = Journal {
            kept: OrdMap::new(),
            recording: Recording::Off,
        };
        draft
    }

    /// Events after `place`, in their order.
    pub fn events_after(&self, place: EventPlace) -> impl Iterator<Item = &Arc<Event>> {
        let after = (std::ops::Bound::Excluded(place), std::ops::Bound::Unbounded);
        self.journal.kept.range(after).map(|(_, event)| event)
    }

    /// The event that happened last.
    pub fn newest_event(&self) -> Option<&Arc<Event>> {
        self.journal.kept.get_max().map(|(_, event)| event)
    }

    /// Revision of the last event that is not kept any more; 0 before the first.
    pub fn events_gone(&self) -> u64 {
        self.meta.events_gone
    }

    /// What `change` is about, as it is now; `None` where there is nothing to tell or nothing is recorded.
    pub(super) fn witness(&self, change: &Change) -> Option<Witness> {
        if self.journal.recording == Recording::Off {
            return None;
        }
        let task = |id: &TaskId| Witness::Task(*id, self.tasks.get(id).cloned());
        let node = |id: &NodeId| Witness::Node(*id, self.nodes.get(id).cloned());
        let service = |id: &ServiceId| Witness::Service(*id, self.services.get(id).cloned());
        let network = |id: &NetworkId| Witness::Network(*id, self.networks.get(id).cloned());
        let image = |name: &String| Witness::Image(name.clone(), self.images.get(name).cloned());
        let file = |id: &FileId| Witness::File(*id, self.files.get(id).cloned());
        let token = |id: &TokenId| Witness::Token(*id, self.tokens.get(id).cloned());
        Some(match change {
            Change::PutCluster(_) => Witness::Cluster(self.cluster.clone()),
            Change::PutNode(it) => node(&it.id),
            Change::DeleteNode { node: id, .. } | Change::Turned { node: id, .. } => node(id),
            Change::PutService(it) => service(&it.id),
            Change::DeleteService { service: id, .. } | Change::Progressed { service: id, .. } => {
                service(id)
            }
            Change::PutTask(it) => task(&it.id),
            Change::DeleteTask { task: id, .. } | Change::Observed { task: id, .. } => task(id),
            Change::PutNetwork(it) => network(&it.id),
            Change::DeleteNetwork { network: id, .. } => network(id),
            Change::PutFile { file: it, .. } => file(&it.id),
            Change::DeleteFile { file: id, .. } => file(id),
            Change::PutToken(it) => token(&it.token.id),
            Change::DeleteToken { token: id, .. } => token(id),
            Change::PutDrill(it) => Witness::Drill(it.id, self.drills.get(&it.id).cloned()),
            Change::PutImage(it) => image(&it.name),
            Change::DeleteImage { name } => image(name),
            // What the others change is nothing that is told.
            _ => return None,
        })
    }

    /// Records what became of what was witnessed.
    pub(super) fn record(&mut self, before: Witness, entry: &Entry) {
        let notes = match before {
            Witness::Cluster(old) => cluster(old.as_deref(), self.cluster.as_deref()),
            Witness::Node(id, old) => {
                node::notes(old.as_deref(), self.nodes.get(&id).map(|it| &**it))
            }
            Witness::Service(id, old) => {
                service::notes(old.as_deref(), self.services.get(&id).map(|it| &**it))
            }
            Witness::Task(id, old) => {
                self.task_notes(old.as_deref(), self.tasks.get(&id).map(|it| &**it))
            }
            Witness::Network(id, old) => {
                network(old.as_deref(), self.networks.get(&id).map(|it| &**it))
            }
            Witness::File(id, old) => {
                file::notes(old.as_deref(), self.files.get(&id).map(|it| &**it))
            }
            Witness::Token(id, old) => {
                token::notes(old.as_deref(), self.tokens.get(&id).map(|it| &**it))
            }
            Witness::Drill(id, old) => {
                drill::notes(old.as_deref(), self.drills.get(&id).map(|it| &**it))
            }
            Witness::Image(name, old) => {
                image(old.as_deref(), self.images.get(&name).map(|it| &**it))
            }
        };
        for note in notes {
            self.keep(note, entry);
        }
    }

    fn keep(&mut self, note: Note, entry: &Entry) {
        let revision = self.meta.index;
        let last = self.journal.kept.get_max().map(|(place, _)| *place);
        let position = match last {
            Some((same, position)) if same == revision => position.saturating_add(1),
            _ => 0,
        };
        let event = Event {
            revision,
            position,
            time: self.meta.time,
            at: entry.wall,
            by: entry.by.clone(),
            kind: note.kind,
            action: note.action,
            id: note.id,
            attributes: note.attributes,
            labels: note.labels,
        };
        self.load_event(Arc::new(event));
        while let Some((place, oldest)) = self.journal.kept.get_min() {
            let young = self.meta.time.since(oldest.time) <= EVENTS_AGE;
            if young && self.journal.kept.len() <= EVENTS_KEPT {
                return;
            }
            let place = *place;
            self.meta.events_gone = place.0;
            self.journal.kept.remove(&place);
        }
    }

    pub(super) fn load_event(&mut self, event: Arc<Event>) {
        self.journal
            .kept
            .insert((event.revision, event.position), event);
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.journal.kept.values()
    }
}

fn cluster(old: Option<&Cluster>, new: Option<&Cluster>) -> Vec<Note> {
    let Some(new) = new else { return Vec::new() };
    let id = new.id.to_string();
    let note = |action| Note::new(EventKind::Cluster, action, &id, "default");
    let Some(old) = old else {
        return vec![note(Action::Create)];
    };
    // Secrets are never told, only that they are others.
    let changed = [
        ("settings", old.spec != new.spec),
        ("worker join token", old.tokens.worker != new.tokens.worker),
        (
            "manager join token",
            old.tokens.manager != new.tokens.manager,
        ),
        (
            "root certificate",
            old.authority.certificate != new.authority.certificate,
        ),
    ];
    let changed: Vec<&str> = changed
        .iter()
        .filter(|(_, is)| *is)
        .map(|(what, _)| *what)
        .collect();
    let update = note(Action::Update)
        .tell("changed", changed.join(", "))
        .turned("featurelevel", old.feature_level, new.feature_level);
    // Its name is always told.
    if update.attributes.len() > 1 {
        vec![update]
    } else {
        Vec::new()
    }
}

fn network(old: Option<&Network>, new: Option<&Network>) -> Vec<Note> {
    let note = |action, it: &Network| {
        Note::new(EventKind::Network, action, it.id, &it.spec.name)
            .labels(&it.spec.labels)
            .tell("driver", "overlay")
            .tell("subnet", it.subnet)
    };
    match (old, new) {
        (None, Some(new)) => vec![note(Action::Create, new)],
        (Some(old), None) => vec![note(Action::Remove, old)],
        (Some(old), Some(new)) if old.spec != new.spec => vec![note(Action::Update, new)],
        _ => Vec::new(),
    }
}

fn image(old: Option<&Image>, new: Option<&Image>) -> Vec<Note> {
    let note = |action, it: &Image| {
        Note::new(EventKind::Image, action, &it.name, &it.name).tell("digest", it.digest)
    };
    match (old, new) {
        (None, Some(new)) => vec![note(Action::Tag, new)],
        (Some(old), None) => vec![note(Action::Untag, old)],
        (Some(old), Some(new)) if old.digest != new.digest => {
            vec![note(Action::Tag, new).turned("digest", old.digest, new.digest)]
        }
        _ => Vec::new(),
    }
}
