//! The step from one assignment to the next, so that what did not change is not sent again. Pure.
//!
//! It never looks at what a change means. Lists in a view are ascending by id, and a difference keeps them so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::assignment::{AssignedTask, Assignment, Generation};
use crate::ids::{NetworkId, NodeId, ServiceId, TaskId};
use crate::view::{EndpointView, NetworkView, NodeView, PortView, ServiceView, View};

/// From one assignment to the next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Of the assignment it begins at.
    pub base: Generation,
    /// Of the assignment it leads to.
    pub generation: Generation,
    /// Tasks that are new or changed.
    pub put_tasks: Vec<Arc<AssignedTask>>,
    /// Tasks that are not to be on the node any more.
    pub removed_tasks: Vec<TaskId>,
    /// Nodes that are new in the view or changed.
    pub put_nodes: Vec<NodeView>,
    /// Nodes that went out of the view.
    pub removed_nodes: Vec<NodeId>,
    /// Networks that are new in the view or changed.
    pub networks: Vec<NetworkDifference>,
    /// Networks that went out of the view.
    pub removed_networks: Vec<NetworkId>,
    /// All published ports, when any of them changed.
    pub ports: Option<Vec<PortView>>,
    /// UDP port of VXLAN, when it changed.
    pub data_path_port: Option<u16>,
}

/// A network without what is on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkHead {
    /// The network.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Log index of the last change.
    pub revision: u64,
    /// VXLAN network identifier.
    pub vni: u32,
    /// Range in use.
    pub subnet: Ipv4Net,
    /// Kept for the gateway.
    pub gateway: Ipv4Addr,
    /// Largest packet in bytes.
    pub mtu: u16,
    /// No way out through the host.
    pub internal: bool,
    /// The network of published ports.
    pub ingress: bool,
}

impl NetworkHead {
    /// The head of `network`.
    pub fn of(network: &NetworkView) -> Self {
        Self {
            id: network.id,
            name: network.name.clone(),
            revision: network.revision,
            vni: network.vni,
            subnet: network.subnet,
            gateway: network.gateway,
            mtu: network.mtu,
            internal: network.internal,
            ingress: network.ingress,
        }
    }

    /// The network with this head and `endpoints` and `services` on it.
    pub fn with(self, endpoints: Vec<EndpointView>, services: Vec<ServiceView>) -> NetworkView {
        NetworkView {
            id: self.id,
            name: self.name,
            revision: self.revision,
            vni: self.vni,
            subnet: self.subnet,
            gateway: self.gateway,
            mtu: self.mtu,
            internal: self.internal,
            ingress: self.ingress,
            endpoints,
            services,
        }
    }
}

/// From one revision of a network's view to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkDifference {
    /// As it is to be.
    pub head: NetworkHead,
    /// Revision it begins at; `None` for a network that is new to the node.
    pub base: Option<u64>,
    /// Endpoints that are new or changed.
    pub put_endpoints: Vec<EndpointView>,
    /// Endpoints that went.
    pub removed_endpoints: Vec<TaskId>,
    /// Services that are new or changed.
    pub put_services: Vec<ServiceView>,
    /// Services that went.
    pub removed_services: Vec<ServiceId>,
}

/// Why a difference does not fit what the worker holds: it must ask for the whole assignment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DifferenceError {
    /// It begins at another assignment.
    #[error("the difference begins at {base:?}, but {held:?} is held")]
    Base {
        /// Where it begins.
        base: Generation,
        /// What is held.
        held: Generation,
    },
    /// It begins at another revision of a network.
    #[error("the difference of network {network} begins at {base:?}, but {held:?} is held")]
    Revision {
        /// The network.
        network: NetworkId,
        /// Where it begins.
        base: Option<u64>,
        /// What is held.
        held: Option<u64>,
    },
    /// It removes what is not there.
    #[error("the difference removes {what}, which is not held")]
    Unknown {
        /// What was to be removed.
        what: String,
    },
}

/// What an ordered list of a view is ordered by.
trait Keyed: Clone + PartialEq {
    type Key: Ord + Copy + fmt::Display;
    const NAME: &'static str;
    fn key(&self) -> Self::Key;
}

macro_rules! keyed {
    ($item:ty, $key:ty, $field:ident, $name:literal) => {
        impl Keyed for $item {
            type Key = $key;
            const NAME: &'static str = $name;
            fn key(&self) -> $key {
                self.$field
            }
        }
    };
}

keyed!(Arc<AssignedTask>, TaskId, id, "task");
keyed!(NodeView, NodeId, id, "node");
keyed!(NetworkView, NetworkId, id, "network");
keyed!(EndpointView, TaskId, task, "endpoint");
keyed!(ServiceView, ServiceId, id, "service");

/// What leads from `old` to `new`.
pub fn difference(old: &Assignment, new: &Assignment) -> Difference {
    let (put_tasks, removed_tasks) = tasks(&old.tasks, &new.tasks);
    let mut step = Difference {
        base: old.generation,
        generation: new.generation,
        put_tasks,
        removed_tasks,
        ..Difference::default()
    };
    if Arc::ptr_eq(&old.view, &new.view) {
        return step;
    }
    let (old, new) = (old.view.as_ref(), new.view.as_ref());
    (step.put_nodes, step.removed_nodes) = changes(&old.nodes, &new.nodes);
    let before: BTreeMap<_, _> = old.networks.iter().map(|net| (net.id, net)).collect();
    let kept: BTreeSet<_> = new.networks.iter().map(|net| net.id).collect();
    step.networks = new
        .networks
        .iter()
        .filter_map(|net| network_difference(before.get(&net.id).copied(), net))
        .collect();
    step.removed_networks = before.into_keys().filter(|id| !kept.contains(id)).collect();
    step.ports = (old.ports != new.ports).then(|| new.ports.clone());
    step.data_path_port = (old.data_path_port != new.data_path_port).then_some(new.data_path_port);
    step
}

/// What leads from `old` to `new`; `None` when there is nothing to say.
pub fn network_difference(
    old: Option<&NetworkView>,
    new: &NetworkView,
) -> Option<NetworkDifference> {
    if old == Some(new) {
        return None;
    }
    let endpoints = old.map_or(&[][..], |old| &old.endpoints);
    let services = old.map_or(&[][..], |old| &old.services);
    let (put_endpoints, removed_endpoints) = changes(endpoints, &new.endpoints);
    let (put_services, removed_services) = changes(services, &new.services);
    Some(NetworkDifference {
        head: NetworkHead::of(new),
        base: old.map(|old| old.revision),
        put_endpoints,
        removed_endpoints,
        put_services,
        removed_services,
    })
}

/// Takes the step `difference`. When it does not fit, `assignment` stays as it is.
///
/// # Errors
/// When the step begins elsewhere or removes what is not there.
pub fn apply_difference(
    assignment: &mut Assignment,
    difference: Difference,
) -> Result<(), DifferenceError> {
    if difference.base != assignment.generation {
        return Err(DifferenceError::Base {
            base: difference.base,
            held: assignment.generation,
        });
    }
    let mut tasks = assignment.tasks.clone();
    for id in difference.removed_tasks {
        tasks.remove(&id).ok_or_else(|| DifferenceError::Unknown {
            what: format!("task {id}"),
        })?;
    }
    tasks.extend(difference.put_tasks.into_iter().map(|task| (task.id, task)));
    let old = assignment.view.as_ref();
    let networks = networks(
        &old.networks,
        difference.networks,
        &difference.removed_networks,
    )?;
    let view = View {
        data_path_port: difference.data_path_port.unwrap_or(old.data_path_port),
        nodes: merged(&old.nodes, difference.put_nodes, &difference.removed_nodes)?,
        networks,
        ports: difference.ports.unwrap_or_else(|| old.ports.clone()),
    };
    *assignment = Assignment {
        generation: difference.generation,
        tasks,
        view: Arc::new(view),
    };
    Ok(())
}

fn tasks(
    old: &BTreeMap<TaskId, Arc<AssignedTask>>,
    new: &BTreeMap<TaskId, Arc<AssignedTask>>,
) -> (Vec<Arc<AssignedTask>>, Vec<TaskId>) {
    let same = |task: &Arc<AssignedTask>| {
        old.get(&task.id)
            .is_some_and(|held| Arc::ptr_eq(held, task) || held == task)
    };
    let put = new.values().filter(|task| !same(task)).cloned().collect();
    let removed = old.keys().filter(|id| !new.contains_key(*id)).copied();
    (put, removed.collect())
}

fn changes<T: Keyed>(old: &[T], new: &[T]) -> (Vec<T>, Vec<T::Key>) {
    let before: BTreeMap<_, _> = old.iter().map(|item| (item.key(), item)).collect();
    let kept: BTreeSet<_> = new.iter().map(Keyed::key).collect();
    let put = new
        .iter()
        .filter(|item| before.get(&item.key()) != Some(item))
        .cloned()
        .collect();
    let removed = before.into_keys().filter(|key| !kept.contains(key));
    (put, removed.collect())
}

fn merged<T: Keyed>(old: &[T], put: Vec<T>, removed: &[T::Key]) -> Result<Vec<T>, DifferenceError> {
    let mut items: BTreeMap<_, _> = old.iter().map(|item| (item.key(), item.clone())).collect();
    for key in removed {
        items.remove(key).ok_or_else(|| DifferenceError::Unknown {
            what: format!("{} {key}", T::NAME),
        })?;
    }
    items.extend(put.into_iter().map(|item| (item.key(), item)));
    Ok(items.into_values().collect())
}

fn networks(
    old: &[NetworkView],
    steps: Vec<NetworkDifference>,
    removed: &[NetworkId],
) -> Result<Vec<NetworkView>, DifferenceError> {
    let held: BTreeMap<_, _> = old.iter().map(|net| (net.id, net)).collect();
    let mut put = Vec::with_capacity(steps.len());
    for step in steps {
        let held = held.get(&step.head.id).copied();
        let revision = held.map(|net| net.revision);
        if revision != step.base {
            return Err(DifferenceError::Revision {
                network: step.head.id,
                base: step.base,
                held: revision,
            });
        }
        let endpoints = merged(
            held.map_or(&[][..], |net| &net.endpoints),
            step.put_endpoints,
            &step.removed_endpoints,
        )?;
        let services = merged(
            held.map_or(&[][..], |net| &net.services),
            step.put_services,
            &step.removed_services,
        )?;
        put.push(step.head.with(endpoints, services));
    }
    merged(old, put, removed)
}

#[cfg(test)]
mod tests;
