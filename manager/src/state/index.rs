//! Puts an object into its table and keeps every index that speaks of it. Pure.
//!
//! Each function takes the old object out of all indexes and puts the new one in. Nothing is checked here
//! and nothing is marked: `apply` does that before and after.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::network::Network;
use skep_proto::node::{Node, NodeState};
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::task::{Task, TaskState};

use super::{Holder, State, Times};

impl State {
    pub(super) fn index_node(&mut self, id: NodeId, new: Option<Arc<Node>>) {
        if let Some(old) = self.nodes.remove(&id) {
            self.index.down.remove(&id);
            self.index.managers.remove(&id);
            if self.index.numbers.get(&old.number) == Some(&id) {
                self.index.numbers.remove(&old.number);
            }
        }
        if let Some(node) = new {
            if node.status.state == NodeState::Down {
                self.index.down.insert(id);
            }
            if node.manager.is_some() {
                self.index.managers.insert(id);
            }
            if node.number != 0 {
                self.index.numbers.insert(node.number, id);
            }
            self.nodes.insert(id, node);
        }
    }

    pub(super) fn index_gateway(&mut self, node: NodeId, new: Option<Ipv4Addr>) {
        let Some(ingress) = self.ingress().map(|network| network.id) else {
            return;
        };
        if let Some(old) = self.gateways.remove(&node) {
            self.index.addresses.remove(&(ingress, old));
        }
        if let Some(address) = new {
            self.index
                .addresses
                .insert((ingress, address), Holder::Node(node));
            self.gateways.insert(node, address);
        }
    }

    pub(super) fn index_network(&mut self, id: NetworkId, new: Option<Arc<Network>>) {
        if let Some(old) = self.networks.remove(&id) {
            self.index.network_names.remove(&old.spec.name);
            self.index.vnis.remove(&old.vni);
        }
        if let Some(network) = new {
            self.index
                .network_names
                .insert(network.spec.name.clone(), id);
            self.index.vnis.insert(network.vni, id);
            self.networks.insert(id, network);
        }
    }

    pub(super) fn index_service(&mut self, id: ServiceId, new: Option<Arc<Service>>) {
        if let Some(old) = self.services.remove(&id) {
            if self.index.service_names.get(&old.spec.name) == Some(&id) {
                self.index.service_names.remove(&old.spec.name);
            }
            for (network, vip) in &old.vips {
                self.index.addresses.remove(&(*network, *vip));
            }
            for network in networks_of(&old) {
                self.index.by_network.remove(&(network, id));
            }
            for (protocol, port, _) in held_ports(&old) {
                self.index.ports.remove(&(protocol, port, id));
            }
            self.index.removed.remove(&id);
            self.index.updating.remove(&id);
        }
        if let Some(service) = new {
            for (network, vip) in &service.vips {
                self.index
                    .addresses
                    .insert((*network, *vip), Holder::Vip(id));
            }
            for network in networks_of(&service) {
                self.index.by_network.insert((network, id));
            }
            if service.removed.is_some() {
                self.index.removed.insert(id);
            } else {
                self.index
                    .service_names
                    .insert(service.spec.name.clone(), id);
                for (protocol, port, mode) in held_ports(&service) {
                    self.index.ports.insert((protocol, port, id), mode);
                }
                if service.updating().is_some() {
                    self.index.updating.insert(id);
                }
            }
            self.services.insert(id, service);
        }
    }

    pub(super) fn index_task(&mut self, id: TaskId, new: Option<(Arc<Task>, Times)>) {
        if let Some(old) = self.tasks.remove(&id) {
            self.take_out(&old);
        }
        match new {
            Some((task, times)) => {
                self.put_in(&task, times);
                self.times.insert(id, times);
                self.tasks.insert(id, task);
            }
            None => {
                self.times.remove(&id);
            }
        }
    }

    fn take_out(&mut self, old: &Task) {
        let index = &mut self.index;
        index.by_service.remove(&(old.service, old.slot, old.id));
        index.pending.remove(&old.id);
        index.held.remove(&old.id);
        index.draining.remove(&old.id);
        index.releasing.remove(&old.id);
        if let Some(at) = old.start_at {
            index.delayed.remove(&(at, old.id));
        }
        for attachment in &old.attachments {
            index
                .addresses
                .remove(&(attachment.network, attachment.address));
        }
        let Some(node) = old.node else { return };
        let reserved = index.by_node.remove(&(node, old.id)).unwrap_or_default();
        if takes_room(old) {
            self.count(node, reserved, Direction::Down);
        }
        if spreads(old) {
            self.count_spread(old.service, node, Direction::Down);
        }
    }

    fn put_in(&mut self, task: &Task, times: Times) {
        let reserved = self.reservations(task);
        let index = &mut self.index;
        index.by_service.insert((task.service, task.slot, task.id));
        let ended = task.status.state.ended();
        if task.node.is_none() && task.desired <= TaskState::Running && !ended {
            index.pending.insert(task.id);
        }
        if task.desired == TaskState::Ready && task.start_at.is_none() && !ended {
            index.held.insert(task.id);
        }
        if task.desired > TaskState::Running && !ended && task.node.is_some() && !times.drained {
            index.draining.insert(task.id);
        }
        if ended && !task.attachments.is_empty() {
            index.releasing.insert(task.id);
        }
        if let Some(at) = task
            .start_at
            .filter(|_| task.desired == TaskState::Ready && !ended)
        {
            index.delayed.insert((at, task.id));
        }
        for attachment in &task.attachments {
            let key = (attachment.network, attachment.address);
            index.addresses.insert(key, Holder::Task(task.id));
        }
        let Some(node) = task.node else { return };
        index.by_node.insert((node, task.id), reserved);
        if takes_room(task) {
            self.count(node, reserved, Direction::Up);
        }
        if spreads(task) {
            self.count_spread(task.service, node, Direction::Up);
        }
    }

    fn count(&mut self, node: NodeId, reserved: Resources, way: Direction) {
        let mut load = self.load_of(node);
        match way {
            Direction::Up => {
                load.tasks = load.tasks.saturating_add(1);
                load.reserved = load.reserved.plus(reserved);
            }
            Direction::Down => {
                load.tasks = load.tasks.saturating_sub(1);
                load.reserved = load.reserved.less(reserved);
            }
        }
        if load.tasks == 0 {
            self.index.loads.remove(&node);
        } else {
            self.index.loads.insert(node, load);
        }
    }

    fn count_spread(&mut self, service: ServiceId, node: NodeId, way: Direction) {
        let spread = self.spread_of(service, node);
        let spread = match way {
            Direction::Up => spread.saturating_add(1),
            Direction::Down => spread.saturating_sub(1),
        };
        if spread == 0 {
            self.index.spread.remove(&(service, node));
        } else {
            self.index.spread.insert((service, node), spread);
        }
    }

    /// What `task` reserves on its node.
    fn reservations(&self, task: &Task) -> Resources {
        self.template(task.service, task.template)
            .map(|spec| spec.reservations)
            .unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// Whether `task` takes room on its node: it has not ended.
fn takes_room(task: &Task) -> bool {
    !task.status.state.ended()
}

/// Whether `task` counts where a service is spread over nodes: one that gives way to another does not.
fn spreads(task: &Task) -> bool {
    takes_room(task) && task.desired <= TaskState::Running
}

/// Networks that any of the service's templates names, and those where it has a virtual address.
pub(super) fn networks_of(service: &Service) -> BTreeSet<NetworkId> {
    let templates = service
        .templates
        .values()
        .flat_map(|spec| spec.networks.iter());
    templates
        .map(|used| used.network)
        .chain(service.vips.keys().copied())
        .collect()
}

/// Ports a service holds: those its spec names and those it was given.
pub(super) fn held_ports(service: &Service) -> Vec<(Protocol, u16, PublishMode)> {
    let named = service.spec.ports.iter();
    let named = named.filter_map(|port| Some((port.protocol, port.published?, port.mode)));
    let given = service
        .ports
        .iter()
        .map(|port| (port.protocol, port.published, port.mode));
    named.chain(given).collect()
}
