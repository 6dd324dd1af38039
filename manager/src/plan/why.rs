//! Says why a task does not run: every node with every filter that refuses it, and the smallest change that
//! would place it. Pure.

use std::sync::Arc;

use skep_proto::constraint::{Constraint, Key, Operator};
use skep_proto::ids::NodeId;
use skep_proto::node::{Node, NodeState};
use skep_proto::service::Service;
use skep_proto::spec::TaskSpec;
use skep_proto::task::{Slot, Task, TaskState};
use skep_proto::time::ClusterTime;

use super::filter::{self, Unfit};
use super::restart;
use crate::state::State;

/// Why a task does not run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Why {
    /// One sentence.
    pub reason: String,
    /// Of a task that waits for a node: every node that it could ever have, with every filter that refuses it.
    pub nodes: Vec<Refused>,
    /// What would place it, all of these together; empty where nothing has to be done.
    pub changes: Vec<String>,
}

/// A node and what keeps the task from it; nothing if it would be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Which node.
    pub node: NodeId,
    /// Every filter that refuses the task there, with its figures.
    pub by: Vec<String>,
}

/// Why `task` does not run, at a time.
pub fn why(state: &State, task: &Task, now: ClusterTime) -> Why {
    let Some(service) = state.service(task.service) else {
        return Why::default();
    };
    let waits = task.node.is_none()
        && task.desired <= TaskState::Running
        && task.status.state == TaskState::Pending;
    let spec = service.templates.get(&task.template);
    match spec.filter(|_| waits) {
        Some(spec) => no_node(state, service, spec, task),
        None => Why {
            reason: elsewhere(state, service, task, now),
            ..Why::default()
        },
    }
}

fn no_node(state: &State, service: &Service, spec: &TaskSpec, task: &Task) -> Why {
    let asked: Vec<&Arc<Node>> = match task.slot {
        Slot::Node(home) if service.spec.mode.is_global() => state.node(home).into_iter().collect(),
        _ => state.nodes().collect(),
    };
    let found: Vec<(&Arc<Node>, Vec<Unfit>)> = asked
        .into_iter()
        .map(|node| (node, filter::all_unfit(state, service, spec, node)))
        .collect();
    let place = Place {
        state,
        service,
        spec,
    };
    let nodes = found.iter().map(|(node, unfit)| Refused {
        node: node.id,
        by: unfit.iter().map(|it| place.said(node, it)).collect(),
    });
    let nodes: Vec<Refused> = nodes.collect();
    let best = found.iter().min_by_key(|(node, unfit)| {
        (
            unfit.iter().map(cost).fold(0u32, u32::saturating_add),
            node.id,
        )
    });
    let (reason, changes) = match best {
        None => (
            "there is no node that could have it".to_owned(),
            vec!["let a node join: skep swarm join-token worker".to_owned()],
        ),
        Some((_, unfit)) if unfit.is_empty() => (
            "a node would take it: it is about to be placed".to_owned(),
            Vec::new(),
        ),
        Some((node, unfit)) => (
            format!("no node takes it: {} refused", plural(found.len(), "node")),
            unfit.iter().map(|it| place.change(node, it)).collect(),
        ),
    };
    Why {
        reason,
        nodes,
        changes,
    }
}

/// What it takes to get a filter out of the way; smaller is less.
fn cost(unfit: &Unfit) -> u32 {
    match unfit {
        Unfit::NotActive => 1,
        Unfit::Constraint(text) => match text.parse::<Constraint>().map(|it| it.key) {
            Ok(Key::Label(_)) => 1,
            _ => 4,
        },
        Unfit::MaxPerNode(_) => 2,
        Unfit::Port(_) => 3,
        Unfit::Cpu | Unfit::Memory | Unfit::Generic(_) => 4,
        Unfit::NotUp => 6,
        Unfit::Volume(_) => 8,
        Unfit::Platform(_) => 20,
    }
}

struct Place<'a> {
    state: &'a State,
    service: &'a Service,
    spec: &'a TaskSpec,
}

impl Place<'_> {
    /// A filter with its figures.
    fn said(&self, node: &Node, unfit: &Unfit) -> String {
        let free = node
            .description
            .resources
            .less(self.state.load_of(node.id).reserved);
        let wants = self.spec.reservations;
        match unfit {
            Unfit::NotUp if node.status.message.is_empty() => "not up".to_owned(),
            Unfit::NotUp => format!("not up: {}", node.status.message),
            Unfit::NotActive if node.spec.availability.drains() => "drained".to_owned(),
            Unfit::NotActive => "paused".to_owned(),
            Unfit::Cpu => format!(
                "insufficient cpu: it reserves {}, {} of {} are free",
                cores(wants.nano_cpus),
                cores(free.nano_cpus),
                cores(node.description.resources.nano_cpus)
            ),
            Unfit::Memory => format!(
                "insufficient memory: it reserves {}, {} of {} are free",
                mebibytes(wants.memory),
                mebibytes(free.memory),
                mebibytes(node.description.resources.memory)
            ),
            Unfit::Generic(kind) => {
                let (has, free) = self.generic(node, kind);
                let wants = self.spec.generic.get(kind).copied().unwrap_or_default();
                format!("insufficient {kind}: it reserves {wants}, {free} of {has} are free")
            }
            Unfit::Port(port) => match self.holder(node, *port) {
                Some(holder) => format!("port {port} in use by service \"{holder}\""),
                None => unfit.text(),
            },
            Unfit::Volume(volume) => match self.owner(volume) {
                Some(owner) => format!("sticky volume {volume} is on {owner}"),
                None => unfit.text(),
            },
            Unfit::Constraint(_) | Unfit::Platform(_) | Unfit::MaxPerNode(_) => unfit.text(),
        }
    }

    /// What would get a filter out of the way on a node.
    fn change(&self, node: &Node, unfit: &Unfit) -> String {
        let name = &node.description.hostname;
        let service = &self.service.spec.name;
        let free = node
            .description
            .resources
            .less(self.state.load_of(node.id).reserved);
        match unfit {
            Unfit::NotUp => {
                format!("bring {name} up again: start its daemon, or look at its network")
            }
            Unfit::NotActive => {
                format!("let {name} have tasks: skep node update --availability active {name}")
            }
            Unfit::Constraint(text) => self.meet(name, text),
            Unfit::Platform(wanted) => format!("let a node join that runs {wanted}"),
            Unfit::Cpu => format!(
                "free processor time on {name}, or reserve at most {}: skep service update --reserve-cpu {} \
                 {service}",
                cores(free.nano_cpus),
                cores(free.nano_cpus)
            ),
            Unfit::Memory => format!(
                "free memory on {name}, or reserve at most {}: skep service update --reserve-memory {}m \
                 {service}",
                mebibytes(free.memory),
                free.memory >> 20
            ),
            Unfit::Generic(kind) => {
                let (_, free) = self.generic(node, kind);
                format!("free {kind} on {name}, or reserve at most {free} of it")
            }
            Unfit::MaxPerNode(most) => format!(
                "let a node have more of them: skep service update --replicas-max-per-node {} {service}",
                most.saturating_add(1)
            ),
            Unfit::Port(port) => match self.holder(node, *port) {
                Some(holder) => format!(
                    "end what holds port {port} on {name} (service \"{holder}\"), or publish another port"
                ),
                None => format!("publish another port than {port}"),
            },
            Unfit::Volume(volume) => format!(
                "let the node that has volume {volume} take it, or move the volume to {name}: remove it there \
                 and make it here"
            ),
        }
    }

    /// Host name of a node that has a volume.
    fn owner(&self, volume: &String) -> Option<&str> {
        let mut nodes = self.state.nodes();
        let owner = nodes.find(|node| node.description.volumes.contains(volume))?;
        Some(&owner.description.hostname)
    }

    fn meet(&self, node: &str, text: &str) -> String {
        let service = &self.service.spec.name;
        let drop = format!("skep service update --constraint-rm '{text}' {service}");
        let Ok(constraint) = text.parse::<Constraint>() else {
            return drop;
        };
        let first = constraint.value.split(',').next().unwrap_or_default();
        let add = |value: &str, label: &str| {
            format!("label {node}: skep node update --label-add {label}={value} {node}")
        };
        match (&constraint.key, constraint.operator) {
            (Key::Label(label), Operator::Equal | Operator::In) => add(first, label),
            (Key::Label(label), Operator::Exists) => add("1", label),
            (Key::Label(label), Operator::NotEqual) => {
                format!("take a label away: skep node update --label-rm {label} {node}")
            }
            _ => format!("drop the constraint: {drop}"),
        }
    }

    /// What a node has of a kind, and what of it is free.
    fn generic(&self, node: &Node, kind: &str) -> (u64, u64) {
        let has = node.description.generic.get(kind).copied();
        let has = has.unwrap_or_default();
        let taken = self.state.generic_taken(node.id, kind);
        (has, has.saturating_sub(taken))
    }

    /// Name of the service that holds a port on a node.
    fn holder(&self, node: &Node, port: u16) -> Option<String> {
        let here = self.state.tasks_on(node.id);
        let here = here.filter(|task| !task.status.state.ended());
        let mut services = here.filter_map(|task| self.state.service(task.service));
        let holds = |it: &&Arc<Service>| it.ports.iter().any(|binding| binding.published == port);
        services.find(holds).map(|it| it.spec.name.clone())
    }
}

/// Of a task that does not wait for a node.
fn elsewhere(state: &State, service: &Service, task: &Task, now: ClusterTime) -> String {
    let status = &task.status;
    let said = if status.error.is_empty() {
        status.message.as_str()
    } else {
        status.error.as_str()
    };
    let because = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    if status.state.ended() {
        let next = match task.desired {
            desired if desired > TaskState::Running => {
                "another task has its place or none is wanted"
            }
            _ if service.spec.mode.is_job() && status.state == TaskState::Complete => "it is done",
            _ if restart::tries_again(state, service, task) => "it is about to be tried again",
            _ => "its restart policy allows no further attempt",
        };
        return format!("it is {}{because}; {next}", status.state);
    }
    if task.desired > TaskState::Running {
        return format!("it is to end and is {} still{because}", status.state);
    }
    if let Some(start) = task.start_at.filter(|_| task.desired == TaskState::Ready) {
        let failed = state
            .restarts(task.service, task.slot)
            .map_or(0, |it| it.failed);
        let wait = start.since(now);
        return format!(
            "it is to start in {wait:?}: the delay after {} in a row",
            plural(usize::try_from(failed).unwrap_or(usize::MAX), "failure")
        );
    }
    if status.state == TaskState::New {
        return format!("it has no address yet{because}");
    }
    let node = task.node.and_then(|id| state.node(id));
    match node {
        Some(node) if node.status.state != NodeState::Up => format!(
            "its node {} is {}: {}",
            node.description.hostname, node.status.state, node.status.message
        ),
        Some(_) if status.state == TaskState::Running => "it runs".to_owned(),
        Some(node) => format!(
            "its node {} is at it, the task is {}{because}",
            node.description.hostname, status.state
        ),
        None => format!("it is {}{because}", status.state),
    }
}

fn plural(count: usize, word: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {word}{s}")
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Cores with up to two decimals.
fn cores(nano: u64) -> String {
    let hundredths = nano / 10_000_000;
    let (whole, part) = (hundredths / 100, hundredths % 100);
    if part == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{part:02}")
    }
}
