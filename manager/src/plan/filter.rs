//! Says whether a node may have a task, and if not, why. Pure.
//!
//! Some filters look at the machine only and hold for as long as the node is as it is; the others look at
//! what runs there and are asked again after each placement.

use std::collections::BTreeMap;

use skep_proto::node::{Availability, Node, NodeState};
use skep_proto::service::{PortBinding, Service};
use skep_proto::spec::{MountSource, Platform, PublishMode, TaskSpec};

use crate::state::State;

/// Why a node may not have a task; in the order in which filters are asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unfit {
    /// It is not up.
    NotUp,
    /// It is paused or drained.
    NotActive,
    /// A constraint, as written.
    Constraint(String),
    /// The image is built for none of what the node runs: its platforms.
    Platform(String),
    /// Too little processor time is free.
    Cpu,
    /// Too little memory is free.
    Memory,
    /// Too little of another thing is free: its kind.
    Generic(String),
    /// It has as many tasks of the service as it may have.
    MaxPerNode(u32),
    /// A published port is in use there.
    Port(u16),
    /// Another node has the volume that the task is to stay with.
    Volume(String),
}

impl Unfit {
    /// As it stands in a sentence about nodes.
    pub fn text(&self) -> String {
        match self {
            Self::NotUp => "not up".to_owned(),
            Self::NotActive => "paused or drained".to_owned(),
            Self::Constraint(text) => format!("{text} not met"),
            Self::Platform(wanted) => format!("cannot run {wanted}"),
            Self::Cpu => "insufficient cpu".to_owned(),
            Self::Memory => "insufficient memory".to_owned(),
            Self::Generic(kind) => format!("insufficient {kind}"),
            Self::MaxPerNode(most) => format!("max replicas per node ({most}) reached"),
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
    unready(node)
        .or_else(|| unsuitable(spec, node))
        .or_else(|| occupied(state, service, spec, node))
        .or_else(|| lacks_volume(state, service, spec, node))
}

/// Every filter that keeps tasks of this spec from `node`.
pub(super) fn all_unfit(
    state: &State,
    service: &Service,
    spec: &TaskSpec,
    node: &Node,
) -> Vec<Unfit> {
    let mut found: Vec<Unfit> = unready(node).into_iter().collect();
    found.extend(unmet(spec, node).map(Unfit::Constraint));
    found.extend(wrong_platform(spec, node));
    found.extend(short_of(state, spec, node));
    found.extend(too_many(state, service, spec, node));
    found.extend(ports_in_use(state, service, node).map(Unfit::Port));
    found.extend(lacks_volume(state, service, spec, node));
    found
}

/// A node that takes no task at all now.
fn unready(node: &Node) -> Option<Unfit> {
    if node.status.state != NodeState::Up {
        return Some(Unfit::NotUp);
    }
    (node.spec.availability != Availability::Active).then_some(Unfit::NotActive)
}

/// A machine on which this spec is not to run, however empty it is.
pub(super) fn unsuitable(spec: &TaskSpec, node: &Node) -> Option<Unfit> {
    let constraint = unmet(spec, node).next().map(Unfit::Constraint);
    constraint.or_else(|| wrong_platform(spec, node))
}

/// What of the node is taken by other tasks.
pub(super) fn occupied(
    state: &State,
    service: &Service,
    spec: &TaskSpec,
    node: &Node,
) -> Option<Unfit> {
    short_of(state, spec, node)
        .next()
        .or_else(|| too_many(state, service, spec, node))
        .or_else(|| ports_in_use(state, service, node).next().map(Unfit::Port))
}

fn unmet(spec: &TaskSpec, node: &Node) -> impl Iterator<Item = String> {
    let unmet = spec.constraints.iter().filter(|it| !it.met_by(node));
    unmet.map(ToString::to_string)
}

fn wrong_platform(spec: &TaskSpec, node: &Node) -> Option<Unfit> {
    let (os, arch) = (&node.description.os, &node.description.arch);
    let fits = |platform: &Platform| platform.fits(os, arch);
    if spec.platforms.is_empty() || spec.platforms.iter().any(fits) {
        return None;
    }
    let wanted: Vec<String> = spec.platforms.iter().map(ToString::to_string).collect();
    Some(Unfit::Platform(wanted.join(", ")))
}

fn short_of(state: &State, spec: &TaskSpec, node: &Node) -> impl Iterator<Item = Unfit> {
    let has = node.description.resources;
    let free = has.less(state.load_of(node.id).reserved);
    let cpu = (free.nano_cpus < spec.reservations.nano_cpus).then_some(Unfit::Cpu);
    let memory = (free.memory < spec.reservations.memory).then_some(Unfit::Memory);
    let generic = spec.generic.iter().filter(|(kind, amount)| {
        let has = node.description.generic.get(*kind).copied();
        let taken = state.generic_taken(node.id, kind);
        has.unwrap_or_default().saturating_sub(taken) < **amount
    });
    let generic = generic.map(|(kind, _)| Unfit::Generic(kind.clone()));
    cpu.into_iter().chain(memory).chain(generic)
}

fn too_many(state: &State, service: &Service, spec: &TaskSpec, node: &Node) -> Option<Unfit> {
    let most = spec.max_per_node?;
    (state.spread_of(service.id, node.id) >= most).then_some(Unfit::MaxPerNode(most))
}

/// A sticky volume is waited for once some node has it, be that node up or down. A task that belongs to its
/// node has no other place to stay with.
fn lacks_volume(state: &State, service: &Service, spec: &TaskSpec, node: &Node) -> Option<Unfit> {
    if service.spec.mode.is_global() {
        return None;
    }
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

/// A host port is open once per node; an ingress port is open on every node.
fn ports_in_use(state: &State, service: &Service, node: &Node) -> impl Iterator<Item = u16> {
    let ports: Vec<&PortBinding> = service
        .ports
        .iter()
        .filter(|port| port.mode == PublishMode::Host)
        .collect();
    let here: Vec<_> = if ports.is_empty() {
        Vec::new()
    } else {
        let here = state.tasks_on(node.id);
        let here = here.filter(|task| !task.status.state.ended());
        here.filter_map(|task| state.service(task.service))
            .collect()
    };
    let open = move |port: &PortBinding| {
        let same = |other: &PortBinding| {
            (other.protocol, other.published) == (port.protocol, port.published)
        };
        here.iter().any(|service| service.ports.iter().any(same))
    };
    let in_use = ports.into_iter().filter(move |port| open(port));
    in_use.map(|port| port.published)
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
