//! Looks at a drill before it begins: what it takes, what it touches, and what speaks against it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skep_proto::drill::{CutPorts, Drill, DrillKind, FUSE, Fill, LABEL, MINIMUM};
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::node::{Node, NodeState};
use skep_proto::service::Service;
use skep_proto::spec::RestartCondition;
use skep_proto::task::{Task, TaskState};
use skep_proto::time::ClusterTime;

use super::drain::left_without_place;
use super::release::waited_for;
use super::{Seen, standing};
use crate::state::State;

/// So many targets are looked at where nobody named one.
const LOOKED_AT: usize = 16;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Which kind of failure.
    pub kind: DrillKind,
    /// Of what; nothing: one is chosen.
    pub target: Option<Target>,
    /// How full a disk is to be.
    pub fill: Fill,
    /// How long it lasts.
    pub lasts: Duration,
    /// The node from which it is asked for: it must go on hearing managers.
    pub asked_on: Option<NodeId>,
    /// The node that leads.
    pub leader: NodeId,
}

/// What fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// This node, or something of it.
    Node(NodeId),
    /// This task.
    Task(TaskId),
    /// A task of this service.
    Service(ServiceId),
}

/// What a drill takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drilled {
    /// Where it happens.
    pub node: NodeId,
    /// The task that is killed.
    pub task: Option<TaskId>,
    /// Both, for people.
    pub target: String,
    /// Names of the tasks that end or fall silent, or go on without their daemon.
    pub tasks: Vec<String>,
    /// Their services.
    pub services: Vec<Touched>,
    /// Why it is refused; empty when it may begin.
    pub refusals: Vec<String>,
}

/// A service that a drill touches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Which.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Tasks that are to run.
    pub desired: u32,
    /// Tasks that run.
    pub running: u32,
    /// Tasks of it that are touched.
    pub touched: u32,
}

/// All that is looked at.
struct Look<'a> {
    state: &'a State,
    seen: &'a Seen,
    now: ClusterTime,
    wish: &'a Wish,
}

/// What this wish takes. `None` where there is nothing it could take.
pub fn drilled(state: &State, seen: &Seen, now: ClusterTime, wish: &Wish) -> Option<Drilled> {
    let look = Look {
        state,
        seen,
        now,
        wish,
    };
    let mut first = None;
    for (node, task) in look.candidates() {
        let found = look.at(node, task);
        if found.refusals.is_empty() {
            return Some(found);
        }
        first = first.or(Some(found));
    }
    first
}

/// Ports by which nodes of this state speak with each other.
pub fn cut_ports(state: &State) -> CutPorts {
    let doors = state.nodes().filter_map(|node| Some(node.door()?.port()));
    let doors: BTreeSet<u16> = doors.collect();
    let overlay = state.cluster().map(|cluster| cluster.spec.data_path_port);
    CutPorts {
        tcp: doors.into_iter().collect(),
        udp: overlay.into_iter().collect(),
    }
}

/// Nodes that have not said yet that what they show of these networks is of now.
pub fn behind(state: &State, seen: &Seen, networks: &BTreeSet<NetworkId>) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for network in networks {
        let revision = state.revision(*network);
        let nodes = waited_for(state, *network).into_iter();
        found.extend(nodes.filter(|node| {
            let up = state.node(*node).is_some_and(|node| is_up(node));
            up && seen.acknowledged(*node, *network) < revision
        }));
    }
    found
}

/// What a drill will do, for people.
pub fn steps(state: &State, wish: &Wish, drilled: &Drilled) -> Vec<String> {
    let node = name(state, drilled.node);
    let ports = cut_ports(state);
    let list = |ports: &[u16]| {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        ports.join(", ")
    };
    let cut = format!(
        "{node} drops what passes between it and other nodes: TCP {} and UDP {}",
        list(&ports.tcp),
        list(&ports.udp)
    );
    let mut steps = vec![format!(
        "{node} accepts the drill and writes that down; {:?} later it begins",
        FUSE
    )];
    let lasts = wish.lasts;
    match wish.kind {
        DrillKind::Task => steps.push(format!("all programs of {} are killed", drilled.target)),
        DrillKind::RestartDaemon => steps.push(format!(
            "the daemon of {node} starts again without a farewell; its containers go on"
        )),
        DrillKind::Node | DrillKind::Link | DrillKind::Leader => steps.push(cut),
        DrillKind::Disk => steps.extend(fills(&node, wish)),
    }
    if wish.kind == DrillKind::Node {
        steps.push(format!("all containers of {node} are killed"));
    }
    if wish.kind.cuts() {
        let down = state.cluster().map(|cluster| cluster.spec.down_after);
        let down = down.unwrap_or_default();
        steps.push(format!(
            "managers see it down after about {down:?} and replace its tasks elsewhere"
        ));
        steps.push(format!(
            "after {lasts:?} {node} lets everything pass again, whatever became of whoever began this; so it \
             does when its daemon ends before"
        ));
    }
    steps
}

fn fills(node: &str, wish: &Wish) -> [String; 3] {
    let (Fill { reserve, shared }, lasts) = (wish.fill, wish.lasts);
    [
        format!(
            "{node} fills the file system of its data but for {reserve} bytes, with a file that has no name, and goes \
             on taking what becomes free"
        ),
        match shared {
            true => "it does so also where the system itself is on that file system".to_owned(),
            false => format!(
                "where the system itself is on that file system, {node} refuses the drill before it begins"
            ),
        },
        format!(
            "after {lasts:?} {node} gives all of it back, whatever became of whoever began this; the kernel does so \
             when its daemon ends before"
        ),
    ]
}

impl Look<'_> {
    fn candidates(&self) -> Vec<(NodeId, Option<TaskId>)> {
        let of_task = |task: &Task| task.node.map(|node| (node, Some(task.id)));
        match (self.wish.kind, self.wish.target) {
            (DrillKind::Leader, _) => vec![(self.wish.leader, None)],
            (DrillKind::Task, Some(Target::Task(id))) => {
                let task = self.state.task(id);
                task.and_then(|task| of_task(task)).into_iter().collect()
            }
            (DrillKind::Task, target) => {
                let own = |service: &&Arc<Service>| match target {
                    Some(Target::Service(id)) => service.id == id,
                    _ => service.removed.is_none(),
                };
                let mut services: Vec<&Arc<Service>> = self.state.services().filter(own).collect();
                services.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
                let tasks = services
                    .into_iter()
                    .flat_map(|it| self.state.tasks_of(it.id));
                let running = tasks.filter(|task| runs(task));
                running
                    .filter_map(|task| of_task(task))
                    .take(LOOKED_AT)
                    .collect()
            }
            (_, Some(Target::Node(node))) => vec![(node, None)],
            (_, Some(_)) => Vec::new(),
            (_, None) => self.nodes(),
        }
    }

    /// Nodes that are there, those with the most tasks first.
    fn nodes(&self) -> Vec<(NodeId, Option<TaskId>)> {
        let up = self.state.nodes().filter(|node| is_up(node));
        let mut up: Vec<_> = up
            .map(|node| {
                let tasks = self.state.tasks_on(node.id).filter(|task| runs(task));
                let heard = self.wish.asked_on == Some(node.id) || self.wish.leader == node.id;
                (heard, std::cmp::Reverse(tasks.count()), node.id)
            })
            .collect();
        up.sort_unstable();
        let nodes = up.into_iter().take(LOOKED_AT);
        nodes.map(|(_, _, node)| (node, None)).collect()
    }

    fn at(&self, node: NodeId, task: Option<TaskId>) -> Drilled {
        let tasks: Vec<&Arc<Task>> = match task {
            Some(id) => self.state.task(id).into_iter().collect(),
            None => self.state.tasks_on(node).filter(|it| runs(it)).collect(),
        };
        let mut touched: BTreeMap<ServiceId, u32> = BTreeMap::new();
        for task in &tasks {
            let count = touched.entry(task.service).or_default();
            *count = count.saturating_add(1);
        }
        let names = tasks.iter().map(|task| self.task_name(task)).collect();
        let services = touched.into_iter().filter_map(|(id, touched)| {
            let service = self.state.service(id)?;
            let standing = standing(self.state, service);
            Some(Touched {
                id,
                name: service.spec.name.clone(),
                desired: standing.desired,
                running: standing.running,
                touched,
            })
        });
        let host = name(self.state, node);
        let target = match task.and_then(|id| self.state.task(id)) {
            Some(task) => format!("{} on {host}", self.task_name(task)),
            None => host,
        };
        let mut drilled = Drilled {
            node,
            task,
            target,
            tasks: names,
            services: services.collect(),
            refusals: Vec::new(),
        };
        drilled.refusals = self.refusals(&drilled);
        drilled
    }

    fn refusals(&self, drilled: &Drilled) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(self.state.drill_before(self.now).map(|it| self.before(it)));
        found.extend(self.against_node(drilled.node));
        found.extend(self.against_task(drilled.task));
        if self.wish.kind != DrillKind::Task {
            found.extend(self.quorum(drilled.node));
        }
        for touched in &drilled.services {
            if let Some(service) = self.state.service(touched.id) {
                found.extend(self.against_service(service, touched));
            }
        }
        if self.wish.kind.cuts() {
            let left = left_without_place(self.state, self.seen, self.now, drilled.node);
            found.extend(left.into_iter().take(3).map(|(task, why)| {
                format!("{task} would find no other place: {why}; make room for it first")
            }));
        }
        found
    }

    /// What another drill says against this one.
    fn before(&self, other: &Drill) -> String {
        let left = other.begun_at.after(other.lease).since(self.now);
        let left = left.as_secs().saturating_add(1);
        let Drill {
            kind, target, by, ..
        } = other;
        match other.end {
            None => format!(
                "another drill goes on: {kind} of {target}, begun by {by}; it ends by itself within {left} s, or \
                 with: skep drill stop"
            ),
            Some(_) => format!(
                "{} has not said yet that the drill {kind} of {target} is over there; it ends by itself within \
                 {left} s",
                name(self.state, other.node)
            ),
        }
    }

    fn against_node(&self, node: NodeId) -> Vec<String> {
        let Some(node) = self.state.node(node) else {
            return vec!["its node is not of the cluster any more".to_owned()];
        };
        let host = &node.description.hostname;
        let mut found = Vec::new();
        if !is_up(node) {
            found.push(format!(
                "{host} is {}: only a node that is there can fail",
                node.status.state
            ));
        }
        if never(node.spec.labels.get(LABEL)) {
            found.push(format!("{host} has the label {LABEL}=never"));
        }
        if self.wish.kind != DrillKind::Task && self.wish.asked_on == Some(node.id) {
            found.push(format!(
                "you ask through {host} itself, which could not tell you how it goes: ask on another manager, or \
                 name another node"
            ));
        }
        found
    }

    fn against_task(&self, task: Option<TaskId>) -> Vec<String> {
        let Some(task) = task.and_then(|id| self.state.task(id)) else {
            return Vec::new();
        };
        if runs(task) {
            return Vec::new();
        }
        vec![format!(
            "{} is {}: only a task that runs can fail",
            self.task_name(task),
            task.status.state
        )]
    }

    /// More than half of all managers must go on.
    fn quorum(&self, node: NodeId) -> Option<String> {
        let all = self.state.managers().count();
        let taken = self.state.managers().any(|manager| manager.id == node);
        let up = self.state.managers().filter(|manager| is_up(manager));
        let left = up.filter(|manager| manager.id != node).count();
        let needed = (all / 2).saturating_add(1);
        (taken && left < needed).then(|| {
            format!(
                "{} is a manager: without it {left} of {all} would be left, and the cluster needs {needed} to decide \
                 anything",
                name(self.state, node)
            )
        })
    }

    fn against_service(&self, service: &Service, touched: &Touched) -> Vec<String> {
        let spec = &service.spec;
        let name = &spec.name;
        let mut found = Vec::new();
        if never(spec.labels.get(LABEL)) {
            found.push(format!("service \"{name}\" has the label {LABEL}=never"));
        }
        if self.wish.kind == DrillKind::RestartDaemon {
            return found;
        }
        if spec.mode.is_job() {
            found.push(format!(
                "service \"{name}\" is a job, and its task would begin again: wait for its end"
            ));
            return found;
        }
        let ends = matches!(self.wish.kind, DrillKind::Task | DrillKind::Node);
        if ends && spec.task.restart.condition == RestartCondition::None {
            found.push(format!(
                "service \"{name}\" restarts none of its tasks (--restart-condition none): what is killed would \
                 stay away"
            ));
        }
        if !standing(self.state, service).converged {
            found.push(format!(
                "service \"{name}\" is not whole: {} of {} tasks run, or it is being updated; wait until it is",
                touched.running, touched.desired
            ));
        }
        let minimum = spec.labels.get(MINIMUM).map_or("1", String::as_str);
        let Ok(minimum) = minimum.parse::<u32>() else {
            found.push(format!(
                "service \"{name}\" has the label {MINIMUM}={minimum}, which is no number"
            ));
            return found;
        };
        let left = touched.running.saturating_sub(touched.touched);
        if left < minimum {
            found.push(format!(
                "service \"{name}\" would be left with {left} of {} tasks, and its minimum is {minimum}: scale it, or \
                 allow it with: skep service update --label-add {MINIMUM}={left} {name}",
                touched.running
            ));
        }
        found
    }

    fn task_name(&self, task: &Task) -> String {
        let service = self.state.service(task.service);
        let service = service.map_or("?", |it| it.spec.name.as_str());
        format!("{service}.{}", task.slot)
    }
}

fn name(state: &State, node: NodeId) -> String {
    let found = state.node(node);
    found.map_or_else(|| node.to_string(), |it| it.description.hostname.clone())
}

fn is_up(node: &Node) -> bool {
    node.status.state == NodeState::Up
}

fn runs(task: &Task) -> bool {
    task.status.state == TaskState::Running && task.desired == TaskState::Running
}

fn never(label: Option<&String>) -> bool {
    label.is_some_and(|value| value == "never")
}
