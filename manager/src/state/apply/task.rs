//! Writes tasks and guards the ladder. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_proto::ids::{NodeId, TaskId};
use skep_proto::node::{Availability, NodeState};
use skep_proto::spec::{TaskSpec, UpdateOrder};
use skep_proto::task::{Task, TaskState, TaskStatus};

use super::check_version;
use crate::state::{
    FAILURES_KEPT, Holder, Mark, Misfit, RESTARTS_KEPT, Restarts, STEADY_AFTER, State, Times,
};

impl State {
    pub(super) fn put_task(&mut self, task: &Arc<Task>) -> Result<(), Misfit> {
        let old = self.tasks.get(&task.id).cloned();
        check_version(
            || name(task.id),
            task.version,
            old.as_ref().map(|old| old.version),
        )?;
        let Some(spec) = self.template(task.service, task.template).cloned() else {
            return Err(Misfit::Missing {
                object: format!("the service or spec of task {}", task.id),
            });
        };
        match old.as_deref() {
            Some(old) => check_climb(old, task)?,
            None => self.check_slot(task)?,
        }
        for at in &task.attachments {
            self.check_address(at.network, at.address, Some(Holder::Task(task.id)))?;
        }
        if let Some(node) = task
            .node
            .filter(|_| old.as_ref().is_none_or(|old| old.node.is_none()))
        {
            self.check_room(node, &spec)?;
        }
        if old.is_none() && task.start_at.is_some() {
            self.note_restart(task);
        }
        self.replace_task(old.as_ref(), Task::clone(task));
        Ok(())
    }

    /// A slot has one task that is to run. Beside it may be one that gives way once the other runs, and an
    /// update that starts first puts one of the new spec beside it.
    fn check_slot(&self, task: &Task) -> Result<(), Misfit> {
        let wanted = |task: &Task| task.desired <= TaskState::Running;
        let others = self.tasks_in(task.service, task.slot);
        let others: Vec<_> = others
            .filter(|other| wanted(other) && !self.gives_way(other))
            .collect();
        let beside = match others.as_slice() {
            [] => return Ok(()),
            [only] => only.template != task.template && self.starts_first(task),
            _ => false,
        };
        if wanted(task) && !beside {
            return Err(Misfit::SlotTaken {
                slot: task.slot.to_string(),
            });
        }
        Ok(())
    }

    fn starts_first(&self, new: &Task) -> bool {
        let service = self.services.get(&new.service);
        service.is_some_and(|service| {
            let update = service.unfinished();
            new.template == service.template
                && update.is_some_and(|update| update.config.order == UpdateOrder::StartFirst)
        })
    }

    /// A task is given only to a node that is up, active and has room.
    fn check_room(&self, id: NodeId, spec: &TaskSpec) -> Result<(), Misfit> {
        let refuses = |reason| Err(Misfit::NodeRefuses { node: id, reason });
        let Some(node) = self.nodes.get(&id) else {
            return refuses("it does not exist");
        };
        if node.status.state != NodeState::Up {
            return refuses("it is not up");
        }
        if node.spec.availability != Availability::Active {
            return refuses("it is not active");
        }
        let free = node.description.resources.less(self.load_of(id).reserved);
        if !free.holds(spec.reservations) {
            return refuses("it has not enough room");
        }
        let lacks = |(kind, amount): (&String, &u64)| {
            let has = node.description.generic.get(kind).copied();
            let free = has
                .unwrap_or_default()
                .saturating_sub(self.generic_taken(id, kind));
            free < *amount
        };
        if spec.generic.iter().any(lacks) {
            return refuses("it has not enough generic resources");
        }
        Ok(())
    }

    pub(super) fn set_desired(&mut self, id: TaskId, desired: TaskState) -> Result<(), Misfit> {
        let old = self.found(id)?;
        if desired < old.desired {
            return Err(Misfit::Backwards {
                task: id,
                from: old.desired,
                to: desired,
            });
        }
        let mut task = Task::clone(&old);
        task.desired = desired;
        self.replace_task(Some(&old), task);
        Ok(())
    }

    pub(super) fn replaced(&mut self, id: TaskId, revision: u64) -> Result<(), Misfit> {
        let old = self.found(id)?;
        let service = self.services.get(&old.service);
        let update = service.and_then(|service| service.update.as_ref());
        let goes_on = update.is_some_and(|update| {
            let given_up = update.replacing.contains(&old.slot);
            let lost_nothing = given_up || old.status.state != TaskState::Running;
            update.state.goes_on() && lost_nothing
        });
        let leads_to = update.map_or(0, |update| update.to);
        if leads_to != revision || !(goes_on || self.successor_runs(&old)) {
            return Err(Misfit::NotReplaced { task: id, revision });
        }
        self.set_desired(id, TaskState::Shutdown.max(old.desired))
    }

    /// Whether a task runs in the slot of `old` that may take its place: of the template in force, of the same
    /// one, or any where `old` gives way to a drain.
    fn successor_runs(&self, old: &Task) -> bool {
        let in_force = self.services.get(&old.service).map(|it| it.template);
        let gives_way = self.gives_way(old);
        self.tasks_in(old.service, old.slot).any(|task| {
            let runs =
                (task.status.state, task.desired) == (TaskState::Running, TaskState::Running);
            let fits =
                gives_way || task.template == old.template || Some(task.template) == in_force;
            task.id != old.id && runs && fits && !self.gives_way(task)
        })
    }

    pub(super) fn observe(&mut self, id: TaskId, status: &TaskStatus) -> Result<(), Misfit> {
        let old = self.found(id)?;
        if status.state < old.status.state || status.state == TaskState::Remove {
            return Err(Misfit::Backwards {
                task: id,
                from: old.status.state,
                to: status.state,
            });
        }
        if old.status == *status {
            return Ok(());
        }
        if old.status.state.ended() {
            return Err(Misfit::SetOnce {
                object: name(id),
                what: "how it ended",
            });
        }
        let mut task = Task::clone(&old);
        task.status = status.clone();
        self.replace_task(Some(&old), task);
        Ok(())
    }

    pub(super) fn drained(&mut self, id: TaskId) -> Result<(), Misfit> {
        let old = self.found(id)?;
        if old.desired <= TaskState::Running {
            return Err(Misfit::NotEnded {
                task: id,
                state: old.status.state,
            });
        }
        let times = Times {
            drained: true,
            ..self.times(id)
        };
        self.write_task(&old, Task::clone(&old), times);
        Ok(())
    }

    pub(super) fn release(&mut self, id: TaskId) -> Result<(), Misfit> {
        let old = self.found(id)?;
        if !old.status.state.ended() {
            return Err(Misfit::NotEnded {
                task: id,
                state: old.status.state,
            });
        }
        let mut task = Task::clone(&old);
        task.attachments.clear();
        self.replace_task(Some(&old), task);
        Ok(())
    }

    pub(super) fn delete_task(&mut self, id: TaskId, version: u64) -> Result<(), Misfit> {
        let old = self.found(id)?;
        check_version(|| name(id), version, Some(old.version))?;
        if old.node.is_some() && !old.status.state.ended() {
            return Err(Misfit::NotEnded {
                task: id,
                state: old.status.state,
            });
        }
        self.index_task(id, None);
        self.touch_endpoints(Some(&old), None);
        if self.tasks_in(old.service, old.slot).next().is_none() {
            self.restarts.remove(&(old.service, old.slot));
        }
        self.mark(Mark::Slot(old.service, old.slot));
        Ok(())
    }

    fn found(&self, id: TaskId) -> Result<Arc<Task>, Misfit> {
        let found = self.tasks.get(&id).cloned();
        found.ok_or_else(|| Misfit::Missing { object: name(id) })
    }

    fn replace_task(&mut self, old: Option<&Arc<Task>>, task: Task) {
        let mut times = self.times(task.id);
        let now = self.meta.time;
        if task.desired > TaskState::Running && times.stopping.is_none() {
            times.stopping = Some(now);
            let node = task.node.and_then(|id| self.nodes.get(&id));
            times.lost = node.is_some_and(|node| node.status.state == NodeState::Down);
        }
        if task.status.state == TaskState::Running && times.running.is_none() {
            times.running = Some(now);
        }
        if task.status.state.ended() && times.ended.is_none() {
            times.ended = Some(now);
            let failed = matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
            // What was asked to stop, or was lost with its node, tells nothing about the service there.
            if failed && times.stopping.is_none() {
                self.note_failure(&task);
            }
        }
        for at in &task.attachments {
            if old.is_none_or(|old| !old.attachments.contains(at)) {
                self.note_given(at.network, at.address);
            }
        }
        match old {
            Some(old) => self.write_task(&old.clone(), task, times),
            None => self.write_new(task, times),
        }
    }

    fn write_new(&mut self, mut task: Task, times: Times) {
        task.version = self.meta.index;
        self.mark(Mark::Slot(task.service, task.slot));
        let task = Arc::new(task);
        self.touch_endpoints(None, Some(&task));
        self.index_task(task.id, Some((task, times)));
    }

    fn write_task(&mut self, old: &Task, mut task: Task, times: Times) {
        task.version = self.meta.index;
        self.mark(Mark::Slot(task.service, task.slot));
        let task = Arc::new(task);
        self.touch_endpoints(Some(old), Some(&task));
        self.index_task(task.id, Some((task, times)));
    }

    /// The networks on which the task shows otherwise than before have a new revision.
    fn touch_endpoints(&mut self, old: Option<&Task>, new: Option<&Task>) {
        let shown = |task: Option<&Task>| {
            task.and_then(|task| self.endpoint(task))
                .map(|state| (state, task.map(|t| t.node)))
        };
        let same_place = old.map(|task| &task.attachments) == new.map(|task| &task.attachments);
        let (before, after) = (shown(old), shown(new));
        if before == after && (same_place || before.is_none()) {
            return;
        }
        let both = old
            .into_iter()
            .chain(new)
            .flat_map(|task| task.attachments.iter());
        let networks: BTreeSet<_> = both.map(|at| at.network).collect();
        for network in networks {
            self.touch(network);
        }
    }

    fn note_failure(&mut self, task: &Task) {
        let Some(node) = task.node else { return };
        if !self.nodes.contains_key(&node) {
            return;
        }
        let mut times = self.failures(task.service, node).to_vec();
        times.push(self.meta.time);
        if times.len() > FAILURES_KEPT {
            times.remove(0);
        }
        self.failures.insert((task.service, node), Arc::new(times));
    }

    fn note_restart(&mut self, task: &Task) {
        let key = (task.service, task.slot);
        let known = self
            .restarts
            .get(&key)
            .filter(|found| found.template == task.template);
        let mut restarts = known.map_or_else(Restarts::default, |found| Restarts::clone(found));
        let earlier = self.tasks_in(task.service, task.slot);
        let earlier = earlier.filter(|it| it.id != task.id && it.template == task.template);
        let last = earlier.max_by_key(|it| (it.created, it.id));
        restarts.failed = last.map_or(0, |last| self.failures_in_row(last));
        restarts.template = task.template;
        restarts.total = restarts.total.saturating_add(1);
        restarts.times.push(self.meta.time);
        if restarts.times.len() > RESTARTS_KEPT {
            restarts.times.remove(0);
        }
        self.restarts.insert(key, Arc::new(restarts));
    }
}

impl State {
    /// Attempts of its spec in its slot that failed in a row up to this one; 0 if it did not fail, or only
    /// after it had been there for long.
    pub fn failures_in_row(&self, task: &Task) -> u32 {
        let failed = matches!(task.status.state, TaskState::Failed | TaskState::Rejected);
        let begun = task.start_at.unwrap_or(task.created);
        let ended = self.times(task.id).ended;
        if !failed || ended.is_none_or(|ended| ended.since(begun) >= STEADY_AFTER) {
            return 0;
        }
        let before = self.restarts(task.service, task.slot);
        let before = before.filter(|it| it.template == task.template);
        before.map_or(0, |it| it.failed).saturating_add(1)
    }
}

/// A task keeps what it is, its node once it has one, and never goes down.
fn check_climb(old: &Task, new: &Task) -> Result<(), Misfit> {
    let same = (
        old.service,
        old.slot,
        old.template,
        old.created,
        old.start_at,
    ) == (
        new.service,
        new.slot,
        new.template,
        new.created,
        new.start_at,
    );
    let set_once = |what| {
        Err(Misfit::SetOnce {
            object: name(old.id),
            what,
        })
    };
    if !same {
        return set_once("what it is");
    }
    if old.status.state.ended() && old.status != new.status {
        return set_once("how it ended");
    }
    if old.node.is_some() && old.node != new.node {
        return set_once("the node");
    }
    if new.status.state < old.status.state {
        let (from, to) = (old.status.state, new.status.state);
        return Err(Misfit::Backwards {
            task: old.id,
            from,
            to,
        });
    }
    if new.desired < old.desired {
        return Err(Misfit::Backwards {
            task: old.id,
            from: old.desired,
            to: new.desired,
        });
    }
    if !old.attachments.is_empty() && old.attachments != new.attachments {
        return set_once("the addresses");
    }
    Ok(())
}

fn name(id: TaskId) -> String {
    format!("task {id}")
}
