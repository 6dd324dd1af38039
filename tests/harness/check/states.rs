//! Checks of one state, or of a state and the one after it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use skep_manager::state::State;
use skep_proto::ids::NetworkId;
use skep_proto::node::{Availability, NodeState};
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{Protocol, PublishMode};

use super::Check;

/// 1. Observed state never moves back.
///
/// # Errors
/// Names the task.
pub fn observed_state_never_moves_back(before: &State, after: &State) -> Check {
    for task in after.tasks() {
        let Some(old) = before.task(task.id) else {
            continue;
        };
        if task.status.state < old.status.state {
            let (from, to) = (old.status.state, task.status.state);
            return Err(format!("task {} went from {from} to {to}", task.id));
        }
    }
    Ok(())
}

/// 2. A task never changes node.
///
/// # Errors
/// Names the task.
pub fn a_task_never_changes_node(before: &State, after: &State) -> Check {
    for task in after.tasks() {
        let old = before.task(task.id).and_then(|old| old.node);
        if old.is_some() && old != task.node {
            return Err(format!(
                "task {} went from {old:?} to {:?}",
                task.id, task.node
            ));
        }
    }
    Ok(())
}

/// 4. No address, VIP or published port is held twice. (Nor a range, a VXLAN identifier, a node number.)
///
/// # Errors
/// Names what is held and its holders.
pub fn nothing_is_held_twice(state: &State) -> Check {
    let mut held = BTreeMap::new();
    for network in state.networks() {
        hold(
            &mut held,
            (network.id, network.gateway),
            "its gateway".into(),
        )?;
        if let Some(other) = state.networks().find(|other| {
            let overlap = other.subnet.contains(&network.subnet.network());
            other.id != network.id && (overlap || other.vni == network.vni)
        }) {
            return Err(format!("{} and {} overlap", network.subnet, other.subnet));
        }
    }
    for service in state.services() {
        for (network, vip) in &service.vips {
            hold(
                &mut held,
                (*network, *vip),
                format!("service {}", service.id),
            )?;
        }
    }
    for task in state.tasks() {
        for at in &task.attachments {
            hold(
                &mut held,
                (at.network, at.address),
                format!("task {}", task.id),
            )?;
        }
    }
    let mut numbers = BTreeMap::new();
    for node in state.nodes() {
        if let (Some(ingress), Some(address)) = (state.ingress(), state.gateway(node.id)) {
            hold(
                &mut held,
                (ingress.id, address),
                format!("node {}", node.id),
            )?;
        }
        if node.number != 0 {
            hold(&mut numbers, node.number, format!("node {}", node.id))?;
        }
    }
    ports_are_held_once(state)
}

fn ports_are_held_once(state: &State) -> Check {
    let mut ingress: BTreeMap<(Protocol, u16), &Service> = BTreeMap::new();
    for service in state.services().filter(|service| service.removed.is_none()) {
        for port in service
            .ports
            .iter()
            .filter(|port| port.mode == PublishMode::Ingress)
        {
            if let Some(other) = ingress.insert((port.protocol, port.published), service) {
                let (one, other) = (&service.spec.name, &other.spec.name);
                return Err(format!(
                    "port {} is held by {one} and {other}",
                    port.published
                ));
            }
        }
    }
    for service in state.services().filter(|service| service.removed.is_none()) {
        for port in service
            .ports
            .iter()
            .filter(|port| port.mode == PublishMode::Host)
        {
            if ingress.contains_key(&(port.protocol, port.published)) {
                return Err(format!(
                    "port {} is of ingress and of a host",
                    port.published
                ));
            }
        }
    }
    Ok(())
}

fn hold<K: Ord + std::fmt::Debug + Copy>(
    held: &mut BTreeMap<K, String>,
    key: K,
    who: String,
) -> Check {
    match held.insert(key, who.clone()) {
        Some(other) => Err(format!("{key:?} is held by {other} and {who}")),
        None => Ok(()),
    }
}

/// 5. No placement makes reservations exceed a node.
///
/// # Errors
/// Names the node.
pub fn no_placement_exceeds_a_node(state: &State) -> Check {
    let mut reserved: BTreeMap<_, Resources> = BTreeMap::new();
    for task in state.tasks().filter(|task| !task.status.state.ended()) {
        let spec = state.template(task.service, task.template);
        if let (Some(node), Some(spec)) = (task.node, spec) {
            let sum = reserved.entry(node).or_default();
            *sum = sum.plus(spec.reservations);
        }
    }
    for (id, sum) in reserved {
        let Some(node) = state.node(id) else { continue };
        if !node.description.resources.holds(sum) {
            return Err(format!(
                "node {id} has {:?}, reserved {sum:?}",
                node.description.resources
            ));
        }
    }
    Ok(())
}

/// 6. A drained or down node gets no new task.
///
/// # Errors
/// Names node and task.
pub fn unfit_nodes_get_no_new_task(before: &State, after: &State) -> Check {
    for task in after.tasks() {
        let Some(id) = task.node else { continue };
        if before.task(task.id).is_some_and(|old| old.node.is_some()) {
            continue;
        }
        let fit = after.node(id).is_some_and(|node| {
            node.status.state == NodeState::Up && node.spec.availability == Availability::Active
        });
        if !fit {
            return Err(format!("task {} was given to {id}", task.id));
        }
    }
    Ok(())
}

/// 7. A removed service ends with no task, no address, no attachment.
///
/// # Errors
/// Names what is left of a service that is not there.
pub fn a_removed_service_leaves_nothing(state: &State) -> Check {
    if let Some(task) = state
        .tasks()
        .find(|task| state.service(task.service).is_none())
    {
        return Err(format!("task {} has no service", task.id));
    }
    let vips = state
        .services()
        .flat_map(|it| it.vips.iter().map(|(net, vip)| (*net, *vip)));
    let tasks = state.tasks().flat_map(|task| task.attachments.iter());
    let ingress = state.ingress().map(|network| network.id);
    let gateways = state
        .nodes()
        .filter_map(|node| Some((ingress?, state.gateway(node.id)?)));
    let named: BTreeSet<(NetworkId, Ipv4Addr)> = vips
        .chain(tasks.map(|at| (at.network, at.address)))
        .chain(gateways)
        .collect();
    for network in state.networks() {
        let mut held = state
            .addresses(network.id)
            .map(|(address, _)| (network.id, address));
        if let Some(held) = held.find(|held| !named.contains(held)) {
            return Err(format!("{held:?} is held by nothing"));
        }
    }
    Ok(())
}

/// 11. Every replica agrees after the same log.
///
/// # Errors
/// Names the log index.
pub fn replicas_agree(one: &State, other: &State) -> Check {
    if one.applied() == other.applied() && one != other {
        return Err(format!("two replicas differ at {}", one.applied()));
    }
    Ok(())
}

/// A snapshot of a state loads as the same state: indexes are a function of the objects.
///
/// # Errors
/// Names the log index.
pub fn indexes_follow_from_objects(state: &State) -> Check {
    if State::from_objects(state.objects()) == *state {
        return Ok(());
    }
    Err(format!(
        "the state at {} does not load from its own objects",
        state.applied()
    ))
}
