//! A whole cluster in one thread, from one seed.
//!
//! Managers are replicas that apply one committed log, one of them leads; machines run the real `step`.
//! Messages are lost, repeated and late, machines die and return, links are cut, leaders change, commands
//! are sent again. Then faults end, and the world has a bounded time to settle. After each entry all checks
//! run. Nothing here asks a clock or draws from anything but the seed.

pub mod bug;
mod chaos;
mod files;
mod leader;
mod machine;
pub mod rng;
mod user;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use skep_manager::plan::{Ids, Scope, plan_within};
use skep_manager::state::{Change, Entry, Misfit, Outcome, State};
use skep_proto::assignment::Assignment;
use skep_proto::ids::NodeId;
use skep_proto::service::UpdateState;

use crate::builders;
use crate::check::{self, Broken, Check};
use bug::Bug;
use files::Held;
use leader::{Flight, Kind, Leader};
use machine::{Beat, Machine};
use rng::Rng;
use user::User;

/// Milliseconds of a tick.
const TICK: u64 = 100;
/// Ticks with faults.
const FAULTS: u64 = 250;
/// Ticks in which a healed world has to settle.
const SETTLE: u64 = 600;
/// Machines.
const MACHINES: u8 = 4;
/// Managers.
const REPLICAS: usize = 3;

/// How much happened, so that a test can tell that something did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Entries committed.
    pub entries: u64,
    /// Commands answered.
    pub answered: u64,
    /// Leaders that were lost.
    pub leaders_lost: u64,
    /// Machines that lost power.
    pub deaths: u64,
    /// Links that were cut.
    pub cuts: u64,
    /// Tasks made.
    pub tasks: u64,
    /// Changes that no longer fit.
    pub dropped: u64,
    /// Turns of updates.
    pub updates: u64,
    /// Updates that came to their end.
    pub completed: u64,
    /// Updates that went back.
    pub rollbacks: u64,
    /// Secrets and configs that were rotated.
    pub rotations: u64,
}

struct World {
    now: u64,
    rng: Rng,
    bug: Option<Bug>,
    faults: bool,
    log: Vec<Entry>,
    replicas: Vec<State>,
    leader: Option<Leader>,
    elect_at: u64,
    term: u64,
    machines: BTreeMap<NodeId, Machine>,
    mail: BTreeMap<(u64, u64), Mail>,
    posted: u64,
    user: User,
    summary: Summary,
    broken: Vec<Broken>,
    /// States up to this index were checked; the other replicas have to be equal to them.
    checked: u64,
}

#[derive(Clone)]
enum Mail {
    ToLeader(Beat),
    /// What it is to do, and contents of secrets and configs.
    ToMachine(NodeId, Assignment, BTreeSet<Held>),
}

/// Lives one world.
///
/// # Errors
/// The invariants that broke first.
pub fn live(seed: u64, bug: Option<Bug>) -> Result<Summary, Vec<Broken>> {
    World::new(seed, bug).live()
}

/// Lives one world in which services use secrets and configs, which are rotated.
///
/// # Errors
/// As [`live`].
pub fn live_with_files(seed: u64, bug: Option<Bug>) -> Result<Summary, Vec<Broken>> {
    let mut world = World::new(seed, bug);
    world.user.files = true;
    world.log.push(Entry {
        changes: files::at_first().collect(),
        ..Entry::default()
    });
    world.live()
}

impl World {
    fn live(mut self) -> Result<Summary, Vec<Broken>> {
        let world = &mut self;
        for _ in 0..FAULTS {
            world.suffer();
            world.tick();
            world.verdict()?;
        }
        world.heal();
        for tick in 0..SETTLE {
            world.tick();
            world.verdict()?;
            if tick % 20 == 19 && world.ends().is_empty() {
                break;
            }
        }
        world.broken = world.ends();
        world.verdict()?;
        Ok(world.summary)
    }

    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let nodes = (1..=MACHINES).map(builders::node);
        let machine = |number| {
            let mut machine = Machine::new(NodeId::new(u128::from(number)));
            machine.bug = bug;
            (machine.node, machine)
        };
        let mut changes = vec![Change::PutCluster(Arc::new(builders::cluster()))];
        changes.extend(nodes.map(|node| Change::PutNode(Arc::new(node))));
        let mut world = Self {
            now: 0,
            rng: Rng::new(seed),
            bug,
            faults: true,
            log: Vec::new(),
            replicas: vec![State::default(); REPLICAS],
            leader: None,
            elect_at: 0,
            term: 0,
            machines: (1..=MACHINES).map(machine).collect(),
            mail: BTreeMap::new(),
            posted: 0,
            user: User::default(),
            summary: Summary::default(),
            broken: Vec::new(),
            checked: 0,
        };
        world.log.push(Entry {
            changes,
            ..Entry::default()
        });
        world
    }

    fn verdict(&mut self) -> Result<(), Vec<Broken>> {
        if self.broken.is_empty() {
            Ok(())
        } else {
            Err(std::mem::take(&mut self.broken))
        }
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.elect();
        self.deliver();
        if let Some(mut leader) = self.leader.take() {
            self.lead(&mut leader);
            self.leader = Some(leader);
        }
        self.follow();
        self.run_machines();
    }

    fn elect(&mut self) {
        if self.leader.is_some() || self.now < self.elect_at {
            return;
        }
        let replica = self.rng.index(REPLICAS);
        self.term += 1;
        self.catch_up(replica, usize::MAX);
        let ids = Ids::new(self.rng.id());
        let state = &self.replicas[replica];
        self.leader = Some(Leader::new(replica, self.term, state, self.now, ids));
    }

    fn lead(&mut self, leader: &mut Leader) {
        leader.watch(&self.replicas[leader.replica], self.now);
        while leader
            .flight
            .front()
            .is_some_and(|flight| flight.due <= self.now)
        {
            let Some(flight) = leader.flight.pop_front() else {
                break;
            };
            self.commit(leader, flight);
        }
        self.serve_user(leader);
        if let Some(entry) = leader.gather(self.now) {
            self.propose(leader, entry, Kind::Report);
        }
        self.plan(leader);
        for (node, assignment) in leader.dispatch(&self.replicas[leader.replica], self.now) {
            let state = &self.replicas[leader.replica];
            let contents = files::sent(self.bug, state, &assignment);
            let check = check::no_secret_reaches_a_node_without_need(state, node, &contents);
            self.note(15, check);
            self.post(node, Mail::ToMachine(node, assignment, contents));
        }
    }

    fn serve_user(&mut self, leader: &mut Leader) {
        let state = self.replicas[leader.replica].clone();
        let Some(asked) = self
            .user
            .asked
            .as_mut()
            .filter(|asked| asked.send_at <= self.now)
        else {
            return;
        };
        asked.send_at = self.now + 1000;
        let request = asked.request;
        if state.answered(request).is_some() {
            return self.user.answer(request);
        }
        if leader.proposed(Kind::Command(request)) {
            return;
        }
        match user::entry(asked, &state, leader.time(self.now)) {
            Some(entry) => {
                self.propose(leader, entry, Kind::Command(request));
                if self.bug == Some(Bug::ToldTooEarly) {
                    self.user.answer(request);
                }
            }
            None => self.user.refuse(request, None, self.now),
        }
    }

    fn plan(&mut self, leader: &mut Leader) {
        let state = &self.replicas[leader.replica];
        let (time, wall) = leader.time(self.now);
        let due = leader.wake_at.is_some_and(|at| at <= time);
        if leader.proposed(Kind::Plan) || !(leader.look || due) {
            return;
        }
        leader.look = false;
        let ids = leader.ids.clone();
        let plan = plan_within(
            Scope::Marked,
            state,
            &leader.seen,
            (time, wall),
            &mut leader.ids,
        );
        let same =
            check::same_input_gives_the_same_plan(&plan, state, &leader.seen, (time, wall), &ids);
        let plan = bug::plan(self.bug, state, plan);
        leader.wake_at = plan.wake_at;
        if plan.changes.is_empty() {
            leader.seen.looked = plan.looked.unwrap_or(leader.seen.looked);
        } else {
            self.propose(leader, plan.into_entry(time, wall), Kind::Plan);
        }
        self.note(9, same);
    }

    fn propose(&mut self, leader: &mut Leader, entry: Entry, kind: Kind) {
        let slow = if self.faults { self.rng.below(400) } else { 0 };
        let last = leader.flight.back().map_or(0, |flight| flight.due);
        leader.flight.push_back(Flight {
            entry,
            due: last.max(self.now + slow),
            kind,
        });
    }

    fn commit(&mut self, leader: &mut Leader, flight: Flight) {
        let outcome = self.append(leader.replica, flight.entry);
        leader.look = true;
        self.summary.dropped += outcome.dropped.len() as u64;
        let Kind::Command(request) = flight.kind else {
            return;
        };
        let answer_lost = self.faults && self.rng.in_thousand(200);
        let misfit: Option<&Misfit> = outcome.dropped.first().map(|dropped| &dropped.reason);
        if misfit.is_some() {
            self.user.refuse(request, misfit, self.now);
        } else if !answer_lost {
            self.user.answer(request);
        }
    }

    /// Commits an entry and applies it on one replica, with all checks.
    fn append(&mut self, replica: usize, entry: Entry) -> Outcome {
        self.log.push(entry);
        self.summary.entries += 1;
        self.catch_up(replica, usize::MAX)
    }

    /// Applies so many entries of the log on a replica.
    fn catch_up(&mut self, replica: usize, most: usize) -> Outcome {
        let mut outcome = Outcome::default();
        let from = usize::try_from(self.replicas[replica].applied()).unwrap();
        for position in from..self.log.len().min(from.saturating_add(most)) {
            let before = self.replicas[replica].clone();
            let index = position as u64 + 1;
            let bug = self.bug.filter(|bug| *bug != Bug::UnknownTaskPanics);
            let state = &mut self.replicas[replica];
            outcome = bug::apply(bug, replica, state, index, &self.log[position]);
            if index > self.checked {
                self.checked = index;
                let after = self.replicas[replica].clone();
                self.check_states(&before, &after);
            }
        }
        outcome
    }

    fn check_states(&mut self, before: &State, after: &State) {
        let newest = |state: &State| state.files().map(|file| file.newest()).sum::<u64>();
        self.summary.rotations += newest(after).saturating_sub(newest(before).max(2));
        if after.tasks().count() > before.tasks().count() {
            self.summary.tasks += 1;
        }
        self.note(1, check::observed_state_never_moves_back(before, after));
        self.note(2, check::a_task_never_changes_node(before, after));
        self.note(3, check::one_task_per_slot_is_to_run(before, after));
        self.note(4, check::nothing_is_held_twice(after));
        self.note(5, check::no_placement_exceeds_a_node(after));
        self.note(6, check::unfit_nodes_get_no_new_task(before, after));
        self.note(7, check::a_removed_service_leaves_nothing(after));
        self.note(14, check::updates_keep_what_they_promise(before, after));
        self.count_updates(before, after);
    }

    fn count_updates(&mut self, before: &State, after: &State) {
        for service in after.services() {
            let Some(update) = &service.update else {
                continue;
            };
            let old = before.service(service.id).and_then(|it| it.update.as_ref());
            if old.is_none_or(|old| (old.to, old.state) != (update.to, update.state)) {
                self.summary.updates += 1;
                self.summary.rollbacks += u64::from(update.state == UpdateState::RollbackStarted);
                self.summary.completed += u64::from(update.state.finished());
            }
        }
    }

    fn note(&mut self, number: u8, check: Check) {
        self.broken.extend(check::holds(number, check).err());
    }

    /// Followers apply some of the log; now and then one loads a snapshot instead, or gets nonsense.
    fn follow(&mut self) {
        for replica in 0..REPLICAS {
            let most = self.rng.index(4);
            self.catch_up(replica, most);
            if self.rng.in_thousand(20) {
                self.note(
                    11,
                    check::indexes_follow_from_objects(&self.replicas[replica]),
                );
                let loaded = State::from_objects(self.replicas[replica].objects());
                self.replicas[replica] = loaded;
            }
        }
        for other in 1..REPLICAS {
            if self.replicas[0].applied() == self.replicas[other].applied() {
                let (one, other) = (&self.replicas[0], &self.replicas[other]);
                self.note(11, check::replicas_agree(one, other));
            }
        }
        if self.rng.in_thousand(100) {
            self.scramble();
        }
    }

    /// Changes of any time in any order, on a copy.
    fn scramble(&mut self) {
        let mut changes = Vec::new();
        for _ in 0..20 {
            let position = self.rng.index(self.log.len());
            let of = &self.log[position].changes;
            changes.extend(self.rng.pick(of).cloned());
        }
        let entry = Entry {
            changes,
            ..Entry::default()
        };
        let bug = self.bug.filter(|bug| *bug == Bug::UnknownTaskPanics);
        let replica = self.rng.index(REPLICAS);
        let apply = |state: &mut State, index: u64, entry: &Entry| {
            bug::apply(bug, replica, state, index, entry)
        };
        let check = check::apply_never_panics(&self.replicas[replica], &entry, apply);
        self.note(10, check);
    }

    fn run_machines(&mut self) {
        let mut beats: VecDeque<Beat> = VecDeque::new();
        for machine in self.machines.values_mut() {
            beats.extend(machine.tick(self.now, &mut self.rng, self.faults));
        }
        for beat in beats {
            self.post(beat.node, Mail::ToLeader(beat));
        }
    }

    /// Everything that has to hold once a healed world has settled.
    fn ends(&mut self) -> Vec<Broken> {
        for replica in 0..REPLICAS {
            self.catch_up(replica, usize::MAX);
        }
        let Some(leader) = &self.leader else {
            return Vec::new();
        };
        let state = &self.replicas[leader.replica];
        // A machine that was removed while it was away is refused, not told through an assignment.
        let members = self.machines.values();
        let members = members.filter(|it| state.node(it.node).is_some());
        let members: Vec<&Machine> = members.collect();
        let running = members.iter().map(|it| (it.node, it.running())).collect();
        let shown = members.iter().flat_map(|it| it.shown()).collect();
        let time = leader.time(self.now);
        let plan = plan_within(
            Scope::Full,
            state,
            &leader.seen,
            time,
            &mut leader.ids.clone(),
        );
        let plan = bug::plan(self.bug, state, plan);
        self.summary.answered = self.user.answered;
        let checks = [
            (3, check::only_what_is_wanted_runs(state, &running)),
            (6, check::what_runs_is_where_it_may(state)),
            (7, check::removed_services_are_gone(state)),
            (8, check::a_settled_plan_is_empty(&plan)),
            (
                11,
                check::replicas_agree(&self.replicas[0], &self.replicas[1]),
            ),
            (
                11,
                check::replicas_agree(&self.replicas[0], &self.replicas[2]),
            ),
            (11, check::indexes_follow_from_objects(state)),
            (12, check::every_service_reaches_its_replicas(state)),
            (12, check::every_update_comes_to_an_end(state)),
            (15, check::what_runs_has_its_files(state, &shown)),
            (15, check::old_contents_are_gone(state)),
            (13, check::acknowledged_is_kept(state, &self.user.told)),
        ];
        checks
            .into_iter()
            .filter_map(|(number, check)| check::holds(number, check).err())
            .collect()
    }
}
