//! What only a simulated leader has: sessions, what is in flight, the time it continues.

use std::collections::{BTreeMap, VecDeque};

use skep_manager::dispatch::assign::assign;
use skep_manager::plan::{Ids, Seen, Session};
use skep_manager::state::{Change, Entry, State};
use skep_proto::assignment::Assignment;
use skep_proto::ids::{NodeId, RequestId, TaskId};
use skep_proto::task::TaskStatus;
use skep_proto::time::{ClusterTime, WallTime};

use super::machine::Beat;

/// A node silent for so many milliseconds is down.
const DOWN_AFTER: u64 = 3000;
/// An assignment that was not acknowledged is sent again after so many milliseconds.
const AGAIN: u64 = 500;

/// A manager that leads.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Which replica it is.
    pub replica: usize,
    /// Its term.
    pub term: u64,
    /// What is live.
    pub seen: Seen,
    /// Makes ids.
    pub ids: Ids,
    /// Proposed and not committed.
    pub flight: VecDeque<Flight>,
    /// Something happened since the last plan.
    pub look: bool,
    /// The last plan asked to look again then.
    pub wake_at: Option<ClusterTime>,
    elected: u64,
    began: ClusterTime,
    heard: BTreeMap<NodeId, Heard>,
    reports: BTreeMap<TaskId, TaskStatus>,
}

#[derive(Clone, Debug, Default)]
struct Heard {
    at: u64,
    boot: u64,
    opened_at: u64,
    sent: Option<(Assignment, u64)>,
    acknowledged: u64,
}

/// An entry on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The entry.
    pub entry: Entry,
    /// When it is committed, in milliseconds.
    pub due: u64,
    /// What proposed it.
    pub kind: Kind,
}

/// What proposed an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The plan.
    Plan,
    /// Workers' reports.
    Report,
    /// A command.
    Command(RequestId),
}

impl Leader {
    /// A new leader: it remembers nothing and gives every node a full deadline.
    pub fn new(replica: usize, term: u64, state: &State, now: u64, ids: Ids) -> Self {
        let heard = |node: NodeId| {
            (
                node,
                Heard {
                    at: now,
                    ..Heard::default()
                },
            )
        };
        Self {
            replica,
            term,
            seen: Seen::default(),
            ids,
            flight: VecDeque::new(),
            look: true,
            wake_at: None,
            elected: now,
            began: state.time(),
            heard: state.nodes().map(|node| heard(node.id)).collect(),
            reports: BTreeMap::new(),
        }
    }

    /// Cluster time, continued from the state it began with, and wall time.
    pub fn time(&self, now: u64) -> (ClusterTime, WallTime) {
        let passed = std::time::Duration::from_millis(now - self.elected);
        (self.began.after(passed), WallTime::from_unix_millis(now))
    }

    /// Whether something of this kind is in flight.
    pub fn proposed(&self, kind: Kind) -> bool {
        self.flight.iter().any(|flight| flight.kind == kind)
    }

    /// A machine was heard.
    pub fn hear(&mut self, beat: Beat, state: &State, now: u64) {
        if state.node(beat.node).is_none() {
            return;
        }
        let heard = self.heard.entry(beat.node).or_default();
        if beat.boot < heard.boot {
            return;
        }
        let live = self.seen.nodes.entry(beat.node).or_default();
        let before = live.clone();
        heard.at = now;
        let new_session = matches!(
            live.session,
            Session::Away | Session::Silent | Session::Left
        );
        if new_session || beat.boot > heard.boot {
            heard.boot = beat.boot;
            heard.opened_at = state.applied();
            heard.sent = None;
            heard.acknowledged = 0;
            live.session = Session::Opening;
        }
        let generation = beat.generation.filter(|it| it.term == self.term);
        heard.acknowledged = generation.map_or(0, |it| it.index);
        if generation.is_some_and(|it| it.index >= heard.opened_at) {
            live.session = Session::Open;
            live.acknowledged = beat.networks.into_iter().collect();
        }
        self.look |= *live != before;
        for (task, status) in beat.statuses {
            let known = state.task(task).map(|task| &task.status);
            if known.is_some_and(|known| {
                !known.state.ended() && status.state >= known.state && *known != status
            }) {
                self.reports.insert(task, status);
            }
        }
    }

    /// Nodes that were silent for too long.
    pub fn watch(&mut self, state: &State, now: u64) {
        for node in state.nodes() {
            let silent = now - self.heard.entry(node.id).or_default().at > DOWN_AFTER;
            let live = self.seen.nodes.entry(node.id).or_default();
            if silent && live.session != Session::Silent {
                live.session = Session::Silent;
                live.acknowledged.clear();
                self.look = true;
            }
        }
    }

    /// One entry with the last state of each task that was reported.
    pub fn gather(&mut self, now: u64) -> Option<Entry> {
        if self.reports.is_empty() || self.proposed(Kind::Report) {
            return None;
        }
        let (time, wall) = self.time(now);
        let reports = std::mem::take(&mut self.reports).into_iter();
        let changes = reports
            .map(|(task, status)| Change::Observed { task, status })
            .collect();
        Some(Entry {
            time,
            wall,
            changes,
            ..Entry::default()
        })
    }

    /// What is to be sent to workers now.
    pub fn dispatch(&mut self, state: &State, now: u64) -> Vec<(NodeId, Assignment)> {
        let mut out = Vec::new();
        for (id, live) in &self.seen.nodes {
            if !matches!(live.session, Session::Opening | Session::Open) {
                continue;
            }
            let heard = self.heard.entry(*id).or_default();
            let again = heard.sent.as_ref().is_some_and(|(sent, at)| {
                heard.acknowledged < sent.generation.index && now - at >= AGAIN
            });
            let seen = heard
                .sent
                .as_ref()
                .map_or(0, |(sent, _)| sent.generation.index);
            if seen == state.applied() && !again {
                continue;
            }
            let new = assign(state, *id, self.term);
            let same = heard
                .sent
                .as_ref()
                .is_some_and(|(sent, _)| sent.tasks == new.tasks && sent.view == new.view);
            if !same || again {
                heard.sent = Some((new.clone(), now));
                out.push((*id, new));
            }
        }
        out
    }
}
