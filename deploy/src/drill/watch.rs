//! Reads pictures of a cluster that suffers a drill. Pure.
//!
//! A picture is judged, not an event: some may be missed, as when the leader changes, and the next one says what
//! became of it. Times are milliseconds of the watcher's own clock: a leader's clock is read by the picture that
//! took the least time to arrive.

use std::collections::{BTreeMap, BTreeSet};

use skep_proto::drill::{DrillKind, Obeyed};

use super::report::{Measured, Moment, ServiceReport};

/// Moments that are kept; later ones are counted only.
const MOMENTS: usize = 120;

/// The cluster at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// When it arrived.
    pub arrived: u64,
    /// When it was made, by the clock of the leader that made it.
    pub made: u64,
    /// That leader.
    pub leader: String,
    /// What the node said of the drill.
    pub obeyed: Option<Obeyed>,
    /// Somebody has ended the drill.
    pub ended: bool,
    /// Its node counts as up.
    pub node_up: bool,
    /// Its session is open.
    pub node_present: bool,
    /// The task that is killed has ended.
    pub task_ended: bool,
    /// Services that it may touch.
    pub services: Vec<ServicePicture>,
    /// Nodes with names and addresses of before.
    pub behind: BTreeSet<String>,
}

/// A service at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServicePicture {
    /// Its name.
    pub name: String,
    /// Tasks that run on nodes that are there.
    pub running: u32,
    /// Tasks that are to run.
    pub desired: u32,
}

/// How far a drill is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Its node has not accepted it.
    Asked,
    /// It has, and nobody has seen a failure.
    Accepted,
    /// The failure is seen.
    Detected,
    /// What was lost runs elsewhere, and all nodes know where.
    Recovered,
    /// The failure is undone besides, and everything is there.
    Back,
}

/// All that was seen of one drill.
#[derive(Clone, Debug)]
pub struct Watch {
    kind: DrillKind,
    /// From the acceptance to the failure, while its node has not said it exactly.
    fuse: u64,
    /// Of each leader: how far its clock is behind the watcher's, at most.
    clocks: BTreeMap<String, i128>,
    first_leader: String,
    last: Option<Picture>,
    accepted: Option<u64>,
    detected: Option<u64>,
    replaced: Option<u64>,
    names: Option<u64>,
    leader: Option<u64>,
    returned: Option<u64>,
    lowest: BTreeMap<String, (u32, u32)>,
    moments: Vec<(u64, String)>,
}

impl Watch {
    /// Begins before the failure, with the leader of then.
    pub fn new(kind: DrillKind, fuse: u64, leader: &str) -> Self {
        Self {
            kind,
            fuse,
            clocks: BTreeMap::new(),
            first_leader: leader.to_owned(),
            last: None,
            accepted: None,
            detected: None,
            replaced: None,
            names: None,
            leader: None,
            returned: None,
            lowest: BTreeMap::new(),
            moments: Vec::new(),
        }
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        match () {
            () if self.accepted.is_none() => Stage::Asked,
            () if self.detected.is_none() => Stage::Accepted,
            () if self.recovered().is_none() => Stage::Detected,
            () if self.returned.is_none() => Stage::Recovered,
            () => Stage::Back,
        }
    }

    /// Why the failure could not be made, if its node said so.
    pub fn refused(&self) -> Option<&str> {
        let undone = self.last.as_ref()?.obeyed.as_ref()?.undone.as_ref()?;
        Some(undone.error.as_str()).filter(|error| !error.is_empty())
    }

    /// Its node said that it could not make the failure: nothing was changed.
    pub fn never(&self) -> bool {
        let lasted = |undone: &skep_proto::drill::Undone| undone.failed_after < undone.undone_after;
        self.refused().is_some() && self.undone().is_some_and(|undone| !lasted(undone))
    }

    /// Somebody else has ended the drill.
    pub fn ended(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.ended)
    }

    /// When the failure was, by the watcher's clock.
    pub fn failed_at(&self) -> Option<u64> {
        let after = self.undone().map_or(self.fuse, |undone| {
            u64::try_from(undone.failed_after.as_millis()).unwrap_or(u64::MAX)
        });
        Some(self.accepted?.saturating_add(after))
    }

    /// Somebody who asks by another way saw this manager lead at this time of the watcher's clock.
    pub fn led_by(&mut self, leader: &str, at: u64) {
        if leader != self.first_leader && self.leader.is_none() {
            self.leader = Some(at);
            self.note(at, format!("{leader} leads"));
        }
    }

    /// Takes the next picture.
    pub fn see(&mut self, picture: Picture) {
        let at = self.clock(&picture);
        if let Some(obeyed) = picture.obeyed.as_ref().filter(|_| self.accepted.is_none()) {
            let accepted = self.by_first_clock(obeyed.accepted.unix_millis(), at);
            self.accepted = Some(accepted);
            self.note(accepted, "the node accepts the drill".to_owned());
        }
        self.note_turns(&picture, at);
        for service in &picture.services {
            let low = self.lowest.entry(service.name.clone());
            let low = low.or_insert((service.running, service.desired));
            *low = (low.0.min(service.running), service.desired);
        }
        self.last = Some(picture);
        self.judge(at);
    }

    fn judge(&mut self, at: u64) {
        let Some(now) = self.last.clone().filter(|_| self.accepted.is_some()) else {
            return;
        };
        let leader = now.leader.clone();
        self.led_by(&leader, at);
        let whole = now.services.iter().all(|it| it.running >= it.desired);
        let there = match self.kind {
            DrillKind::Task => now.task_ended,
            DrillKind::RestartDaemon => !now.node_present,
            DrillKind::Node | DrillKind::Link | DrillKind::Leader => !now.node_up,
            DrillKind::Disk => !now.node_up || !now.node_present || !whole,
        };
        if self.detected.is_none() && there {
            self.detected = Some(at);
        }
        if self.detected.is_none() && self.undone().is_some() {
            self.unseen(at);
        }
        if self.detected.is_none() {
            return;
        }
        let present = self.kind != DrillKind::RestartDaemon || now.node_present;
        if self.replaced.is_none() && whole && present {
            self.replaced = Some(at);
            self.note(at, "everything that is to run runs".to_owned());
        }
        if self.replaced.is_some() && self.names.is_none() && now.behind.is_empty() && whole {
            self.names = Some(at);
            self.note(
                at,
                "all nodes have the names and addresses of now".to_owned(),
            );
        }
        let back = now.node_up && now.node_present && whole && now.behind.is_empty();
        if self.returned.is_none() && self.undone().is_some() && self.names.is_some() && back {
            self.returned = Some(at);
            self.note(at, "the node is back, and nothing is missing".to_owned());
        }
    }

    /// It is over, and nobody saw it.
    fn unseen(&mut self, at: u64) {
        match self.kind {
            // A daemon may be back before anybody saw that it was away.
            DrillKind::RestartDaemon => self.detected = Some(at),
            // A full disk need not harm anybody: then there was nothing to recover from.
            DrillKind::Disk => {
                let failed = self.failed_at();
                (self.detected, self.replaced, self.names) = (failed, failed, failed);
                self.note(at, "nothing suffered from it".to_owned());
            }
            _ => {}
        }
    }

    /// When all was well again but the node itself.
    fn recovered(&self) -> Option<u64> {
        let names = self.names?;
        match self.kind {
            DrillKind::Leader => Some(names.max(self.leader?)),
            _ => Some(names),
        }
    }

    fn undone(&self) -> Option<&skep_proto::drill::Undone> {
        self.last.as_ref()?.obeyed.as_ref()?.undone.as_ref()
    }

    /// What was measured, from the failure on.
    pub fn measured(&self) -> Measured {
        let zero = self.failed_at();
        let since = |at: Option<u64>| Some(at?.saturating_sub(zero?));
        // A task that was killed is not undone: it is replaced.
        let lasts = self.kind != DrillKind::Task;
        let lasted = self.undone().filter(|_| lasts).map(|undone| {
            let lasted = undone.undone_after.saturating_sub(undone.failed_after);
            u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX)
        });
        Measured {
            detected_ms: since(self.detected),
            leader_ms: since(self.leader),
            replaced_ms: since(self.replaced),
            names_ms: since(self.names),
            recovered_ms: since(self.recovered()),
            lasted_ms: lasted,
            returned_ms: since(self.returned),
        }
    }

    /// Each service, with the fewest tasks that ran.
    pub fn services(&self) -> Vec<ServiceReport> {
        let all = self.lowest.iter();
        all.map(|(name, (lowest, desired))| ServiceReport {
            name: name.clone(),
            desired: *desired,
            lowest: *lowest,
        })
        .collect()
    }

    /// What happened, in its order, from the failure on.
    pub fn moments(&self) -> Vec<Moment> {
        let zero = i128::from(self.failed_at().unwrap_or_default());
        let mut all = self.moments.clone();
        if let Some(failed) = self.failed_at() {
            all.push((failed, "the failure".to_owned()));
            if let Some(lasted) = self.measured().lasted_ms.filter(|lasted| *lasted > 0) {
                all.push((
                    failed.saturating_add(lasted),
                    "the failure is undone".to_owned(),
                ));
            }
        }
        all.sort_by_key(|(at, _)| *at);
        let told = all.into_iter().map(|(at, what)| Moment {
            at_ms: i64::try_from(i128::from(at) - zero).unwrap_or(i64::MAX),
            what,
        });
        told.collect()
    }

    fn note_turns(&mut self, now: &Picture, at: u64) {
        let Some(before) = self.last.take() else {
            return;
        };
        if before.node_present != now.node_present {
            self.note(
                at,
                match now.node_present {
                    true => "the node's session is open".to_owned(),
                    false => "the node's session is closed".to_owned(),
                },
            );
        }
        if before.node_up != now.node_up {
            self.note(
                at,
                match now.node_up {
                    true => "the node counts as up".to_owned(),
                    false => "the node counts as down".to_owned(),
                },
            );
        }
        if !before.task_ended && now.task_ended {
            self.note(at, "the task has ended".to_owned());
        }
        for service in &now.services {
            let same = |it: &&ServicePicture| it.name == service.name;
            let running = before.services.iter().find(same).map(|it| it.running);
            if running.is_some_and(|running| running != service.running) {
                let (name, running, desired) = (&service.name, service.running, service.desired);
                self.note(at, format!("{name}: {running} of {desired} tasks run"));
            }
        }
        self.last = Some(before);
    }

    fn note(&mut self, at: u64, what: String) {
        if self.moments.len() < MOMENTS {
            self.moments.push((at, what));
        }
    }

    /// When a picture was made, by the watcher's clock.
    fn clock(&mut self, picture: &Picture) -> u64 {
        let behind = i128::from(picture.arrived) - i128::from(picture.made);
        let least = self.clocks.entry(picture.leader.clone()).or_insert(behind);
        *least = (*least).min(behind);
        let at = i128::from(picture.made).saturating_add(*least);
        u64::try_from(at).unwrap_or_default()
    }

    /// A time of the leader that was there at the beginning; no later than `seen`.
    fn by_first_clock(&self, made: u64, seen: u64) -> u64 {
        let behind = self.clocks.get(&self.first_leader).copied();
        let at = i128::from(made).saturating_add(behind.unwrap_or_default());
        u64::try_from(at).unwrap_or_default().min(seen)
    }
}
