//! A simulated machine: a worker that obeys its assignment through the real `step`, and containers that take
//! time, fail and end by themselves.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::assignment::{AssignedTask, Assignment, Generation};
use skep_proto::file::FileId;
use skep_proto::ids::{NetworkId, NodeId, TaskId};
use skep_proto::task::TaskStatus;
use skep_proto::time::WallTime;
use skep_worker::step::{Action, Cause, Checked, Ending, Local, Moment, Stage, step};

use super::bug::Bug;
use super::rng::Rng;

/// So long, in milliseconds, after its last word a machine lets hear of itself.
const BEAT: u64 = 500;

/// One machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its node.
    pub node: NodeId,
    /// It has power.
    pub alive: bool,
    /// Nothing gets to it or from it.
    pub cut: bool,
    /// How often it was started: words from before are not of this session.
    pub boot: u64,
    /// A bug that is planted in it.
    pub bug: Option<Bug>,
    assignment: Option<Assignment>,
    /// Contents of secrets and configs: in memory.
    contents: BTreeSet<(FileId, u64)>,
    held: BTreeMap<TaskId, Held>,
    next_beat: u64,
}

#[derive(Clone, Debug, Default)]
struct Held {
    local: Local,
    act: Option<(Action, u64)>,
}

/// What a machine says.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Who.
    pub node: NodeId,
    /// Which start of it.
    pub boot: u64,
    /// The assignment it obeys.
    pub generation: Option<Generation>,
    /// What is true of its tasks.
    pub statuses: Vec<(TaskId, TaskStatus)>,
    /// What its networks show.
    pub networks: Vec<(NetworkId, u64)>,
}

impl Machine {
    /// A machine that has just been switched on for the first time.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            alive: true,
            cut: false,
            boot: 1,
            bug: None,
            assignment: None,
            contents: BTreeSet::new(),
            held: BTreeMap::new(),
            next_beat: 0,
        }
    }

    /// Power comes back: containers are gone, the last assignment is on the disk.
    pub fn start(&mut self, now: u64) {
        self.alive = true;
        self.boot += 1;
        self.next_beat = now;
        self.contents.clear();
        for held in self.held.values_mut() {
            held.act = None;
            held.local.stage = match held.local.stage.clone() {
                Stage::Running { .. } => ended(Cause::Lost),
                stage @ (Stage::Ended(_) | Stage::Removed(_)) => stage,
                _ => Stage::Absent,
            };
        }
    }

    /// Takes an assignment, unless it has a newer one.
    pub fn obey(&mut self, new: Assignment, contents: BTreeSet<(FileId, u64)>) {
        let generation = self.assignment.as_ref().map(|old| old.generation);
        if generation.is_none_or(|old| old <= new.generation) {
            self.contents.extend(contents);
            let needed = new.contents();
            self.contents.retain(|key| needed.contains(key));
            self.assignment = Some(new);
            self.next_beat = 0;
        }
    }

    /// Tasks whose container runs.
    pub fn running(&self) -> BTreeSet<TaskId> {
        let runs = |held: &Held| self.alive && matches!(held.local.stage, Stage::Running { .. });
        self.held
            .iter()
            .filter(|(_, held)| runs(held))
            .map(|(id, _)| *id)
            .collect()
    }

    /// What each container that runs shows of secrets and configs.
    pub fn shown(&self) -> BTreeMap<TaskId, BTreeMap<FileId, u64>> {
        let running = self.running();
        let held = self.held.iter().filter(|(id, _)| running.contains(id));
        held.map(|(id, held)| (*id, held.local.files.clone()))
            .collect()
    }

    /// Goes on for a tick; gives its word if it is time.
    pub fn tick(&mut self, now: u64, rng: &mut Rng, faults: bool) -> Option<Beat> {
        if !self.alive {
            return None;
        }
        let statuses = self.go_on(now, rng, faults);
        if now < self.next_beat {
            return None;
        }
        self.next_beat = now + BEAT;
        let networks = self
            .assignment
            .iter()
            .flat_map(|it| it.view.networks.iter());
        Some(Beat {
            node: self.node,
            boot: self.boot,
            generation: self.assignment.as_ref().map(|it| it.generation),
            statuses,
            networks: networks
                .map(|network| (network.id, network.revision))
                .collect(),
        })
    }

    fn go_on(&mut self, now: u64, rng: &mut Rng, faults: bool) -> Vec<(TaskId, TaskStatus)> {
        let Some(assignment) = self.assignment.take() else {
            return Vec::new();
        };
        let named = assignment.tasks.keys().chain(self.held.keys());
        let all: BTreeSet<TaskId> = named.copied().collect();
        let mut statuses = Vec::new();
        for id in all {
            let held = self.held.entry(id).or_default();
            let task = assignment.tasks.get(&id).map(AsRef::as_ref);
            if finish(held, task, now, (rng, faults)) {
                self.next_beat = now;
            }
            held.local.contents.clone_from(&self.contents);
            let moment = Moment(std::time::Duration::from_millis(now));
            let next = step(task, &held.local, moment);
            statuses.extend(next.status.map(|status| (id, status)));
            if next.action == Action::Forget {
                self.held.remove(&id);
            } else if held.act.is_none_or(|(act, _)| act != next.action)
                && !refuses(self.bug, next.action, &held.local.stage)
            {
                held.act = Some((next.action, now + rng.below(200)));
            }
        }
        self.assignment = Some(assignment);
        statuses
    }
}

fn refuses(bug: Option<Bug>, action: Action, stage: &Stage) -> bool {
    match bug {
        Some(Bug::ReplacedKeepsRunning) => {
            matches!(action, Action::SignalStop(_) | Action::Kill)
        }
        Some(Bug::NeverStarts) => action == Action::Start,
        Some(Bug::NeverReplaces) => action == Action::Give && *stage != Stage::Created,
        _ => false,
    }
}

/// Carries out what was begun, if it is done by now; says whether something changed.
fn finish(
    held: &mut Held,
    task: Option<&AssignedTask>,
    now: u64,
    (rng, faults): (&mut Rng, bool),
) -> bool {
    if let Stage::Running { .. } = held.local.stage
        && faults
        && rng.in_thousand(4)
    {
        let code = if rng.in_thousand(500) { 0 } else { 1 };
        turn(held, ended(Cause::Exited(code)), now);
        return true;
    }
    let Some((act, due)) = held.act else {
        return false;
    };
    if due > now {
        return false;
    }
    held.act = None;
    let stage = match act {
        Action::FetchImage if faults && rng.in_thousand(20) => ended(Cause::CouldNotBegin),
        Action::FetchImage => Stage::Fetched,
        Action::Attach => Stage::Attached,
        Action::Create => {
            held.local.files.clear();
            Stage::Created
        }
        Action::Give => {
            let files = task.into_iter().flat_map(|task| &task.files);
            let here = files.filter(|it| held.local.contents.contains(&(it.file, it.revision)));
            held.local.files = here.map(|it| (it.file, it.revision)).collect();
            return true;
        }
        Action::Start => {
            held.local.health = Checked::Never;
            Stage::Running { pid: 7 }
        }
        Action::Cancel => ended(Cause::Cancelled),
        Action::Settle => {
            held.local.settled = true;
            return true;
        }
        Action::SignalStop(_) => {
            held.local.stopped = Some(Moment(std::time::Duration::from_millis(now)));
            if rng.in_thousand(300) {
                return false;
            }
            ended(Cause::Exited(143))
        }
        Action::Kill => {
            held.local.killed = true;
            ended(Cause::Exited(137))
        }
        Action::Remove => match held.local.stage.clone() {
            Stage::Ended(ending) => Stage::Removed(ending),
            _ => Stage::Removed(Ending {
                cause: Cause::Cancelled,
                error: String::new(),
            }),
        },
        Action::LearnCheck | Action::Test | Action::Wait(_) | Action::Rest | Action::Forget => {
            return false;
        }
    };
    turn(held, stage, now);
    true
}

fn turn(held: &mut Held, stage: Stage, now: u64) {
    held.act = None;
    held.local.stage = stage;
    held.local.since = WallTime::from_unix_millis(now);
}

fn ended(cause: Cause) -> Stage {
    Stage::Ended(Ending {
        cause,
        error: String::new(),
    })
}
