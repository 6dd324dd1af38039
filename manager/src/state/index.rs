//! Puts an object into its table and keeps every index that speaks of it. Pure.
//!
//! Each function takes the old object out of all indexes and puts the new one in. Nothing is checked here
//! and nothing is marked: `apply` does that before and after.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};
use skep_proto::network::Network;
use skep_proto::node::{Availability, Node, NodeState};
use skep_proto::resources::Resources;
use skep_proto::service::Service;
use skep_proto::spec::{Protocol, PublishMode};
use skep_proto::task::{Slot, Task, TaskState};
use skep_proto::time::ClusterTime;

use super::files::files_of;
use super::{Holder, State, Times};

impl State {
    pub(super) fn index_node(&mut self, id: NodeId, new: Option<Arc<Node>>) {
        if let Some(old) = self.nodes.remove(&id) {
            self.index.down.remove(&id);
            self.index.surging.remove(&id);
            self.index.managers.remove(&id);
            if self.index.numbers.get(&old.number) == Some(&id) {
                self.index.numbers.remove(&old.number);
            }
        }
        if let Some(node) = new {
            if node.status.state == NodeState::Down {
                self.index.down.insert(id);
            }
            if node.spec.availability == Availability::Surge {
                self.index.surging.insert(id);
            }
            if node.manages() {
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
            for file in files_of(&old) {
                self.index.by_file.remove(&(file, id));
            }
            for (protocol, port, _) in held_ports(&old) {
                self.index.ports.remove(&(protocol, port, id));
            }
            self.index.removed.remove(&id);
            self.index.updating.remove(&id);
            self.index.global.remove(&id);
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
            for file in files_of(&service) {
                self.index.by_file.insert((file, id));
            }
            if service.spec.mode.is_global() {
                self.index.global.insert(id);
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

    /// Only what changes is written: a task's way up the ladder touches few of the indexes.
    pub(super) fn index_task(&mut self, id: TaskId, new: Option<(Arc<Task>, Times)>) {
        let old = self.tasks.get(&id).cloned();
        let old_times = self.times(id);
        let was = old.as_deref().map(|task| Waits::of(task, old_times));
        let is = new.as_ref().map(|(task, times)| Waits::of(task, *times));
        self.index_waits(id, was.unwrap_or_default(), is.unwrap_or_default());
        let (one, other) = (old.as_deref(), new.as_ref().map(|(task, _)| task.as_ref()));
        self.index_slot(one, other);
        self.index_attempts(one, other);
        self.index_addresses(one, other);
        self.index_room(one, other);
        self.index_spread(one, other);
        match new {
            Some((task, times)) => {
                if times != old_times {
                    self.times.insert(id, times);
                }
                self.tasks.insert(id, task);
            }
            None => {
                self.times.remove(&id);
                self.tasks.remove(&id);
            }
        }
    }

    fn index_waits(&mut self, id: TaskId, was: Waits, is: Waits) {
        let index = &mut self.index;
        for (set, was, is) in [
            (&mut index.held, was.held, is.held),
            (&mut index.draining, was.draining, is.draining),
            (&mut index.releasing, was.releasing, is.releasing),
        ] {
            if was && !is {
                set.remove(&id);
            } else if is && !was {
                set.insert(id);
            }
        }
        if was.pending != is.pending {
            if let Some((service, template)) = was.pending {
                index.pending.remove(&(service, template, id));
            }
            if let Some((service, template)) = is.pending {
                index.pending.insert((service, template, id));
            }
        }
        if was.delayed != is.delayed {
            if let Some(at) = was.delayed {
                index.delayed.remove(&(at, id));
            }
            if let Some(at) = is.delayed {
                index.delayed.insert((at, id));
            }
        }
    }

    fn index_slot(&mut self, old: Option<&Task>, new: Option<&Task>) {
        let key = |task: &Task| (task.service, task.slot, task.id);
        let (was, is) = (old.map(key), new.map(key));
        if was != is {
            if let Some(key) = was {
                self.index.by_service.remove(&key);
            }
            if let Some(key) = is {
                self.index.by_service.insert(key);
            }
        }
    }

    /// Of each slot: how many of its tasks are to run, which of them have ended, which have been told to.
    fn index_attempts(&mut self, old: Option<&Task>, new: Option<&Task>) {
        let key = |task: &Task| (task.service, task.slot, task.id);
        let wanted = |task: &&Task| task.desired <= TaskState::Running;
        let over = |task: &&Task| wanted(task) && task.status.state.ended();
        let (was, is) = (old.filter(wanted), new.filter(wanted));
        if was.is_some() != is.is_some() {
            let way = if is.is_some() {
                Direction::Up
            } else {
                Direction::Down
            };
            if let Some(task) = is.or(was) {
                self.count_wanted((task.service, task.slot), way);
            }
        }
        let index = &mut self.index;
        for (set, was, is) in [
            (&mut index.over, old.filter(over), new.filter(over)),
            (
                &mut index.leaving,
                old.filter(|task| !wanted(task)),
                new.filter(|task| !wanted(task)),
            ),
        ] {
            match (was, is) {
                (Some(task), None) => set.remove(&key(task)),
                (None, Some(task)) => set.insert(key(task)),
                _ => None,
            };
        }
    }

    fn count_wanted(&mut self, slot: (ServiceId, Slot), way: Direction) {
        let before = self.index.filled.get(&slot).copied().unwrap_or_default();
        let now = match way {
            Direction::Up => before.saturating_add(1),
            Direction::Down => before.saturating_sub(1),
        };
        if now == 0 {
            self.index.filled.remove(&slot);
        } else {
            self.index.filled.insert(slot, now);
        }
        if now > 1 {
            self.index.doubled.insert(slot);
        } else {
            self.index.doubled.remove(&slot);
        }
    }

    fn index_addresses(&mut self, old: Option<&Task>, new: Option<&Task>) {
        if old.map(|task| &task.attachments) == new.map(|task| &task.attachments) {
            return;
        }
        for at in old.into_iter().flat_map(|task| task.attachments.iter()) {
            self.index.addresses.remove(&(at.network, at.address));
        }
        for (task, at) in new
            .into_iter()
            .flat_map(|task| task.attachments.iter().map(move |at| (task.id, at)))
        {
            let key = (at.network, at.address);
            self.index.addresses.insert(key, Holder::Task(task));
        }
    }

    /// What a task takes on its node: nothing once it has ended.
    fn index_room(&mut self, old: Option<&Task>, new: Option<&Task>) {
        let there = |task: Option<&Task>| task.and_then(|task| Some((task.node?, task.id)));
        let (was_at, is_at) = (there(old), there(new));
        let takes = |task: Option<&Task>| task.filter(|task| takes_room(task)).is_some();
        let taken = was_at.and_then(|key| self.index.by_node.get(&key).copied());
        let same = was_at == is_at && takes(old) == takes(new);
        if same {
            return;
        }
        if let (Some(old), Some((node, _))) = (old.filter(|task| takes_room(task)), was_at) {
            self.count(old, node, taken.unwrap_or_default(), Direction::Down);
        }
        if was_at != is_at
            && let Some(key) = was_at
        {
            self.index.by_node.remove(&key);
        }
        let Some((new, key)) = new.zip(is_at) else {
            return;
        };
        let reserved = match taken.filter(|_| was_at == is_at) {
            Some(reserved) => reserved,
            None => {
                let reserved = self.reservations(new);
                self.index.by_node.insert(key, reserved);
                reserved
            }
        };
        if takes_room(new) {
            self.count(new, key.0, reserved, Direction::Up);
        }
    }

    fn index_spread(&mut self, old: Option<&Task>, new: Option<&Task>) {
        let key = |task: &Task| Some((task.service, task.node.filter(|_| spreads(task))?));
        let (was, is) = (old.and_then(key), new.and_then(key));
        if was == is {
            return;
        }
        if let Some((service, node)) = was {
            self.count_spread(service, node, Direction::Down);
        }
        if let Some((service, node)) = is {
            self.count_spread(service, node, Direction::Up);
        }
    }

    fn count(&mut self, task: &Task, node: NodeId, reserved: Resources, way: Direction) {
        self.count_generic(task, node, way);
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

    fn count_generic(&mut self, task: &Task, node: NodeId, way: Direction) {
        let Some(spec) = self.template(task.service, task.template).cloned() else {
            return;
        };
        for (kind, amount) in &spec.generic {
            let taken = self.generic_taken(node, kind);
            let taken = match way {
                Direction::Up => taken.saturating_add(*amount),
                Direction::Down => taken.saturating_sub(*amount),
            };
            let key = (node, kind.clone());
            if taken == 0 {
                self.index.generic.remove(&key);
            } else {
                self.index.generic.insert(key, taken);
            }
        }
    }

    /// What `task` reserves on its node.
    fn reservations(&self, task: &Task) -> Resources {
        self.template(task.service, task.template)
            .map(|spec| spec.reservations)
            .unwrap_or_default()
    }
}

/// What a task waits for: in which of the small indexes it stands.
#[derive(Clone, Copy, Default)]
struct Waits {
    /// Its service and spec revision.
    pending: Option<(ServiceId, u64)>,
    held: bool,
    draining: bool,
    releasing: bool,
    delayed: Option<ClusterTime>,
}

impl Waits {
    fn of(task: &Task, times: Times) -> Self {
        let ended = task.status.state.ended();
        let to_run = task.desired <= TaskState::Running;
        Self {
            pending: (task.node.is_none() && to_run && !ended)
                .then_some((task.service, task.template)),
            held: task.desired == TaskState::Ready && task.start_at.is_none() && !ended,
            draining: !to_run && !ended && task.node.is_some() && !times.drained,
            releasing: ended && !task.attachments.is_empty(),
            delayed: task.start_at.filter(|_| task.desired == TaskState::Ready),
        }
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
