//! Says whether a node may have a task, and if not, why. Pure.

use std::collections::BTreeMap;

use skep_proto::node::{Availability, Node, NodeState};
use skep_proto::service::{PortBinding, Service};
use skep_proto::spec::{MountSource, PublishMode, TaskSpec};

use crate::state::State;

/// Why a node may not have a task; in the order in which filters are asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Unfit {
    /// It is not up.
    NotUp,
    /// It is paused or drained.
    NotActive,
    /// A constraint, as written.
    Constraint(String),
    /// Too little processor time is free.
    Cpu,
    /// Too little memory is free.
    Memory,
    /// A published port is in use there.
    Port(u16),
    /// Another node has the volume that the task is to stay with.
    Volume(String),
}

impl Unfit {
    fn text(&self) -> String {
        match self {
            Self::NotUp => "not up".to_owned(),
            Self::NotActive => "paused or drained".to_owned(),
            Self::Constraint(text) => format!("{text} not met"),
            Self::Cpu => "insufficient cpu".to_owned(),
            Self::Memory => "insufficient memory".to_owned(),
            Self::Port(port) => format!("port {port} in use"),
            Self::Volume(volume) => format!("sticky volume {volume} not there"),
        }
    }
}

/// The first filter that keeps tasks of this spec from `node`.
pub(super) fn unfit(
    state: &State,
    service: &Service,
    spec: &TaskSpec,
    node: &Node,
) -> Option<Unfit> {
    if node.status.state != NodeState::Up {
        return Some(Unfit::NotUp);
    }
    if node.spec.availability != Availability::Active {
        return Some(Unfit::NotActive);
    }
    if let Some(unmet) = spec
        .constraints
        .iter()
        .find(|constraint| !constraint.met_by(node))
    {
        return Some(Unfit::Constraint(unmet.to_string()));
    }
    short_of_room(state, spec, node)
        .or_else(|| port_in_use(state, service, node))
        .or_else(|| lacks_volume(state, spec, node))
}

/// A sticky volume is waited for once some node has it, be that node up or down.
fn lacks_volume(state: &State, spec: &TaskSpec, node: &Node) -> Option<Unfit> {
    let has = |node: &Node, name: &String| node.description.volumes.contains(name);
    spec.container.mounts.iter().find_map(|mount| {
        let MountSource::Volume(volume) = &mount.source else {
            return None;
        };
        let name = volume.name.as_ref().filter(|_| volume.sticky)?;
        let elsewhere = !has(node, name) && state.nodes().any(|other| has(other, name));
        elsewhere.then(|| Unfit::Volume(name.clone()))
    })
}

fn short_of_room(state: &State, spec: &TaskSpec, node: &Node) -> Option<Unfit> {
    let free = node
        .description
        .resources
        .less(state.load_of(node.id).reserved);
    if free.nano_cpus < spec.reservations.nano_cpus {
        return Some(Unfit::Cpu);
    }
    (free.memory < spec.reservations.memory).then_some(Unfit::Memory)
}

/// A host port is open once per node; an ingress port is open on every node.
fn port_in_use(state: &State, service: &Service, node: &Node) -> Option<Unfit> {
    let mut ports = service
        .ports
        .iter()
        .filter(|port| port.mode == PublishMode::Host)
        .peekable();
    ports.peek()?;
    let here = state
        .tasks_on(node.id)
        .filter(|task| !task.status.state.ended());
    let here: Vec<_> = here
        .filter_map(|task| state.service(task.service))
        .collect();
    let open = |port: &PortBinding| {
        let same = |other: &PortBinding| {
            (other.protocol, other.published) == (port.protocol, port.published)
        };
        here.iter().any(|service| service.ports.iter().any(same))
    };
    ports
        .find(|port| open(port))
        .map(|port| Unfit::Port(port.published))
}

/// One sentence that names every filter and how many nodes it turned away.
pub(super) fn explain(turned_away: &BTreeMap<Unfit, usize>) -> String {
    if turned_away.is_empty() {
        return "no suitable node (the cluster has no nodes)".to_owned();
    }
    let reasons = turned_away.iter().map(|(unfit, count)| {
        let nodes = if *count == 1 { "node" } else { "nodes" };
        format!("{} on {count} {nodes}", unfit.text())
    });
    format!(
        "no suitable node ({})",
        reasons.collect::<Vec<_>>().join("; ")
    )
}
