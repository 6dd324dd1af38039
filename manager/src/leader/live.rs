//! What the leader remembers of what is live: sessions, deadlines, acknowledgements, images. Told again
//! whenever a session opens; nothing here is decided on, `plan` only waits on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skep_proto::ids::{NetworkId, NodeId};
use skep_proto::image::Digest;
use skep_proto::node::NodeState;
use skep_proto::spec::Protocol;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::plan::{self, Seen, SeenNode};
use crate::state::State;

/// A daemon that stops to restart gets so long to come back.
pub const RESTART_GRACE: Duration = Duration::from_secs(60);

/// The live memory. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// Ends when this manager stops leading; absent while it does not lead.
    scope: Option<CancellationToken>,
    sessions_opened: u64,
    nodes: BTreeMap<NodeId, NodeLive>,
}

struct NodeLive {
    /// The open session, and how it is ended.
    session: Option<(u64, CancellationToken)>,
    /// It has acknowledged a whole assignment in this session.
    ready: bool,
    /// It said that it leaves for good.
    left: bool,
    /// Silent from then on.
    deadline: Instant,
    /// Revisions that are programmed.
    networks: BTreeMap<NetworkId, u64>,
    images: BTreeSet<Digest>,
    /// Published ports that another program on the node holds.
    taken_ports: Vec<(Protocol, u16)>,
}

/// An open session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its node.
    pub node: NodeId,
    /// Its number, never used again while this manager leads.
    pub number: u64,
    /// Ends when another session of the node takes its place, or the manager stops leading.
    pub ended: CancellationToken,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Live {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Begins anew, as a leader does: every node that is not down gets a full deadline.
    pub fn begin(&self, state: &State, scope: CancellationToken, now: Instant, full: Duration) {
        let mut inner = self.inner();
        inner.scope = Some(scope);
        inner.nodes.clear();
        for node in state
            .nodes()
            .filter(|node| node.status.state != NodeState::Down)
        {
            inner
                .nodes
                .insert(node.id, NodeLive::silent_after(now + full));
        }
        drop(inner);
        self.wake();
    }

    /// Forgets everything: this manager leads no more.
    pub fn end(&self) {
        let mut inner = self.inner();
        inner.scope = None;
        inner.nodes.clear();
        drop(inner);
        self.wake();
    }

    /// Waits until this manager stops leading; at once if it does not lead.
    pub async fn ended(&self) {
        let scope = self.inner().scope.clone();
        if let Some(scope) = scope {
            scope.cancelled().await;
        }
    }

    /// Wakes whenever anything here changed.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Opens a session of `node`, in place of an older one; `None` if this manager does not lead.
    pub fn open(&self, node: NodeId, now: Instant, full: Duration) -> Option<Session> {
        let mut inner = self.inner();
        let ended = inner.scope.as_ref()?.child_token();
        inner.sessions_opened += 1;
        let number = inner.sessions_opened;
        let entry = inner
            .nodes
            .entry(node)
            .or_insert_with(|| NodeLive::silent_after(now + full));
        if let Some((_, older)) = entry.session.replace((number, ended.clone())) {
            older.cancel();
        }
        entry.deadline = now + full;
        (entry.ready, entry.left) = (false, false);
        drop(inner);
        self.wake();
        Some(Session {
            node,
            number,
            ended,
        })
    }

    /// Something was heard in a session: its node is there for another `full`.
    pub fn heard(&self, session: &Session, now: Instant, full: Duration) {
        self.in_session(session, |entry| {
            entry.deadline = now + full;
            false
        });
    }

    /// The session is over; its node keeps what is left of its deadline, or gets `grace` if it stopped in
    /// order to start again.
    pub fn close(&self, session: &Session, now: Instant, grace: Option<Duration>) {
        self.in_session(session, |entry| {
            entry.session = None;
            if let Some(grace) = grace {
                entry.deadline = entry.deadline.max(now + grace);
            }
            true
        });
    }

    /// The node has acknowledged a whole assignment: it may count as up.
    pub fn ready(&self, session: &Session) {
        self.in_session(session, |entry| !std::mem::replace(&mut entry.ready, true));
    }

    /// The node leaves for good: it is down at once.
    pub fn left(&self, session: &Session) {
        self.in_session(session, |entry| !std::mem::replace(&mut entry.left, true));
    }

    /// The node has programmed these revisions.
    pub fn acknowledged(&self, session: &Session, networks: &[(NetworkId, u64)]) {
        self.in_session(session, |entry| {
            let mut news = false;
            for (network, revision) in networks {
                news |= entry.networks.insert(*network, *revision) != Some(*revision);
            }
            news
        });
    }

    /// The node holds these images whole.
    pub fn images(&self, session: &Session, images: BTreeSet<Digest>) {
        self.in_session(session, |entry| {
            let news = entry.images != images;
            entry.images = images;
            news
        });
    }

    /// Another program on the node holds these published ports.
    pub fn taken_ports(&self, session: &Session, ports: Vec<(Protocol, u16)>) {
        self.in_session(session, |entry| {
            entry.taken_ports = ports;
            true
        });
    }

    /// Nodes on which another program holds a published port.
    pub fn port_taken_on(&self, protocol: Protocol, port: u16) -> Vec<NodeId> {
        let inner = self.inner();
        let taken =
            |(_, entry): &(&NodeId, &NodeLive)| entry.taken_ports.contains(&(protocol, port));
        inner
            .nodes
            .iter()
            .filter(taken)
            .map(|(node, _)| *node)
            .collect()
    }

    /// Does `act` if the session is still its node's own; wakes watchers if it says so.
    fn in_session(&self, session: &Session, act: impl FnOnce(&mut NodeLive) -> bool) {
        let mut inner = self.inner();
        let entry = inner.nodes.get_mut(&session.node);
        let own = entry.filter(|entry| {
            entry
                .session
                .as_ref()
                .is_some_and(|(number, _)| *number == session.number)
        });
        let news = own.is_some_and(act);
        drop(inner);
        if news {
            self.wake();
        }
    }

    /// Ends the session of a node that is no longer of the cluster, and forgets the node.
    pub fn forget(&self, node: NodeId) {
        let gone = self.inner().nodes.remove(&node);
        if let Some((_, session)) = gone.and_then(|gone| gone.session) {
            session.cancel();
        }
    }

    /// Ends every session: workers open new ones at once and are told the settings of now.
    pub fn open_anew(&self) {
        for entry in self.inner().nodes.values() {
            if let Some((_, session)) = &entry.session {
                session.cancel();
            }
        }
    }

    /// Whether a session of the node is open.
    pub fn present(&self, node: NodeId) -> bool {
        self.inner()
            .nodes
            .get(&node)
            .is_some_and(|entry| entry.session.is_some())
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        let inner = self.inner();
        let open = inner.nodes.values().filter(|entry| entry.session.is_some());
        open.count()
    }

    /// Nodes that have a live memory here.
    pub fn known(&self) -> Vec<NodeId> {
        self.inner().nodes.keys().copied().collect()
    }

    /// When the next node falls silent, if nothing is heard.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let inner = self.inner();
        inner
            .nodes
            .values()
            .map(|entry| entry.deadline)
            .filter(|deadline| *deadline > now)
            .min()
    }

    /// What `plan` may wait on, as of `now`. `looked` is the index up to which this leader's plans have looked.
    pub fn seen(&self, now: Instant, looked: u64) -> Seen {
        let inner = self.inner();
        let nodes = inner
            .nodes
            .iter()
            .map(|(node, entry)| (*node, entry.seen(now)))
            .collect();
        Seen { nodes, looked }
    }

    /// Nodes that hold an image whole.
    pub fn holders(&self, digest: Digest) -> Vec<NodeId> {
        let inner = self.inner();
        let holds = |(_, entry): &(&NodeId, &NodeLive)| entry.images.contains(&digest);
        inner
            .nodes
            .iter()
            .filter(holds)
            .map(|(node, _)| *node)
            .collect()
    }
}

impl NodeLive {
    fn silent_after(deadline: Instant) -> Self {
        Self {
            session: None,
            ready: false,
            left: false,
            deadline,
            networks: BTreeMap::new(),
            images: BTreeSet::new(),
            taken_ports: Vec::new(),
        }
    }

    fn seen(&self, now: Instant) -> SeenNode {
        let session = match (&self.session, self.ready) {
            _ if self.left => plan::Session::Left,
            _ if self.deadline <= now => plan::Session::Silent,
            (Some(_), true) => plan::Session::Open,
            (Some(_), false) => plan::Session::Opening,
            (None, _) => plan::Session::Away,
        };
        SeenNode {
            session,
            acknowledged: self.networks.clone(),
            images: self.images.clone(),
        }
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
