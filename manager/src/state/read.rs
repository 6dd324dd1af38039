//! What other rooms read. Pure.
//!
//! Everything is found through an index; nothing here walks a whole table save the iterators that say so.

use std::net::Ipv4Addr;
use std::ops::Bound;
use std::sync::Arc;

use ipnet::Ipv4Net;
use skep_proto::cluster::Cluster;
use skep_proto::ids::{NetworkId, NodeId, RequestId, ServiceId, TaskId};
use skep_proto::image::Image;
use skep_proto::network::Network;
use skep_proto::node::{Availability, Node, NodeState};
use skep_proto::service::Service;
use skep_proto::spec::{Mode, Protocol, PublishMode, TaskSpec};
use skep_proto::task::{Slot, Task, TaskState};
use skep_proto::time::ClusterTime;
use skep_proto::view::EndpointState;

use super::{Answered, Holder, Load, Mark, Meta, Restarts, State, Times};

const LEAST: TaskId = TaskId::new(0);
const MOST: TaskId = TaskId::new(u128::MAX);
const FIRST_SLOT: Slot = Slot::Replica(0);
const LAST_SLOT: Slot = Slot::Node(NodeId::new(u128::MAX));

/// How a task shows on its networks: `None` when it has no address in use there. A task on a node that is
/// not up is not shown: nobody can reach it.
pub fn endpoint_state(task: &Task, node: Option<&Node>) -> Option<EndpointState> {
    let up = node.is_some_and(|node| node.status.state == NodeState::Up);
    if !up || task.node.is_none() || task.attachments.is_empty() || task.status.state.ended() {
        return None;
    }
    Some(match (task.status.state, task.desired) {
        (TaskState::Running, TaskState::Running) => EndpointState::Live,
        (TaskState::Running, desired) if desired > TaskState::Running => EndpointState::Draining,
        _ => EndpointState::Starting,
    })
}

impl State {
    /// Log index of the last entry, cluster time and the like.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Log index of the last entry.
    pub fn applied(&self) -> u64 {
        self.meta.index
    }

    /// The latest time of any entry.
    pub fn time(&self) -> ClusterTime {
        self.meta.time
    }

    /// The cluster's own object, once there is one.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// Whether a task runs on a node that surges: it is ended once its replacement runs, not before. Tasks of
    /// jobs and those that belong to their node have no replacement to wait for.
    pub fn gives_way(&self, task: &Task) -> bool {
        let surges = |id| {
            let node = self.nodes.get(&id);
            node.is_some_and(|node| node.spec.availability == Availability::Surge)
        };
        task.status.state == TaskState::Running
            && task.node.is_some_and(surges)
            && self
                .services
                .get(&task.service)
                .is_some_and(|service| matches!(service.spec.mode, Mode::Replicated { .. }))
    }

    /// All nodes, ascending by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// Nodes that are managers, without those that are to be workers, ascending by id.
    pub fn managers(&self) -> impl Iterator<Item = &Arc<Node>> {
        let managers = self.index.managers.iter();
        managers.filter_map(|id| self.nodes.get(id))
    }

    /// Nodes that are down, ascending by id.
    pub fn down_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.index.down.iter().filter_map(|id| self.nodes.get(id))
    }

    /// The node with this small number.
    pub fn node_numbered(&self, number: u16) -> Option<NodeId> {
        self.index.numbers.get(&number).copied()
    }

    /// A node's address on ingress.
    pub fn gateway(&self, node: NodeId) -> Option<Ipv4Addr> {
        self.gateways.get(&node).copied()
    }

    /// A service, removed ones too.
    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    /// All services, removed ones too, ascending by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The service of this name that is not removed.
    pub fn service_named(&self, name: &str) -> Option<&Arc<Service>> {
        self.index
            .service_names
            .get(name)
            .and_then(|id| self.services.get(id))
    }

    /// Services that were removed and of which something is left.
    pub fn removed_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.index
            .removed
            .iter()
            .filter_map(|id| self.services.get(id))
    }

    /// Services whose update goes on, ascending by id.
    pub fn updating(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.index
            .updating
            .iter()
            .filter_map(|id| self.services.get(id))
    }

    /// The task spec of a service at a revision.
    pub fn template(&self, service: ServiceId, revision: u64) -> Option<&Arc<TaskSpec>> {
        self.services.get(&service)?.templates.get(&revision)
    }

    /// Services on a network, removed ones too, ascending by id.
    pub fn services_on(&self, network: NetworkId) -> impl Iterator<Item = &Arc<Service>> {
        let (least, most) = (ServiceId::new(0), ServiceId::new(u128::MAX));
        let range = self
            .index
            .by_network
            .range((network, least)..=(network, most));
        range.filter_map(|(_, id)| self.services.get(id))
    }

    /// Services that hold this published port, and how.
    pub fn port_holders(
        &self,
        protocol: Protocol,
        port: u16,
    ) -> impl Iterator<Item = (ServiceId, PublishMode)> + '_ {
        let (least, most) = (ServiceId::new(0), ServiceId::new(u128::MAX));
        let range = self
            .index
            .ports
            .range((protocol, port, least)..=(protocol, port, most));
        range.map(|((_, _, id), mode)| (*id, *mode))
    }

    /// All published ports that are held.
    pub fn ports(&self) -> impl Iterator<Item = (Protocol, u16, ServiceId, PublishMode)> + '_ {
        self.index
            .ports
            .iter()
            .map(|((protocol, port, id), mode)| (*protocol, *port, *id, *mode))
    }

    /// A task.
    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(&id)
    }

    /// All tasks, ascending by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// When what happened to a task.
    pub fn times(&self, task: TaskId) -> Times {
        self.times.get(&task).copied().unwrap_or_default()
    }

    /// Tasks of a service, ascending by slot, then id.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        let range = (service, FIRST_SLOT, LEAST)..=(service, LAST_SLOT, MOST);
        self.index
            .by_service
            .range(range)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Tasks in a slot, ascending by id.
    pub fn tasks_in(&self, service: ServiceId, slot: Slot) -> impl Iterator<Item = &Arc<Task>> {
        let range = (service, slot, LEAST)..=(service, slot, MOST);
        self.index
            .by_service
            .range(range)
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Slots of a service that have a task that is to run, ascending.
    pub fn filled(&self, service: ServiceId) -> impl Iterator<Item = Slot> + '_ {
        let range = (service, FIRST_SLOT)..=(service, LAST_SLOT);
        self.index.filled.range(range).map(|((_, slot), _)| *slot)
    }

    /// Slots of a service that have several tasks that are to run, ascending.
    pub fn doubled(&self, service: ServiceId) -> impl Iterator<Item = Slot> + '_ {
        let range = (service, FIRST_SLOT)..=(service, LAST_SLOT);
        self.index.doubled.range(range).map(|(_, slot)| *slot)
    }

    /// Slots of a service that have a task that is to run and has ended, ascending.
    pub fn over(&self, service: ServiceId) -> impl Iterator<Item = Slot> + '_ {
        let range = (service, FIRST_SLOT, LEAST)..=(service, LAST_SLOT, MOST);
        self.index.over.range(range).map(|(_, slot, _)| *slot)
    }

    /// Slots of a service that have a task that has been told to end, ascending.
    pub fn leaving(&self, service: ServiceId) -> impl Iterator<Item = Slot> + '_ {
        let range = (service, FIRST_SLOT, LEAST)..=(service, LAST_SLOT, MOST);
        self.index.leaving.range(range).map(|(_, slot, _)| *slot)
    }

    /// Slots of a service with a task that gives way to another, in no order and perhaps more than once.
    pub fn giving_way(&self, service: ServiceId) -> impl Iterator<Item = Slot> + '_ {
        let there = self.index.surging.iter().flat_map(|id| self.tasks_on(*id));
        let gives = move |task: &&Arc<Task>| task.service == service && self.gives_way(task);
        there.filter(gives).map(|task| task.slot)
    }

    /// Slots of a service from `first` on that have a task, ascending.
    pub fn slots_from(&self, service: ServiceId, first: Slot) -> impl Iterator<Item = Slot> + '_ {
        let range = (service, first, LEAST)..=(service, LAST_SLOT, MOST);
        self.index.by_service.range(range).map(|(_, slot, _)| *slot)
    }

    /// Tasks that were given to a node, ended ones too, ascending by id.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        let range = self.index.by_node.range((node, LEAST)..=(node, MOST));
        range.filter_map(|((_, id), _)| self.tasks.get(id))
    }

    /// What the tasks of a node that have not ended take.
    pub fn load_of(&self, node: NodeId) -> Load {
        self.index.loads.get(&node).copied().unwrap_or_default()
    }

    /// What the tasks of a node that have not ended reserve of a kind of other things.
    pub fn generic_taken(&self, node: NodeId, kind: &str) -> u64 {
        // Few specs name such things: the key is made only for those that do.
        let key = (node, kind.to_owned());
        self.index.generic.get(&key).copied().unwrap_or_default()
    }

    /// Services with one task on each node, removed ones too, ascending by id.
    pub fn global_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.index
            .global
            .iter()
            .filter_map(|id| self.services.get(id))
    }

    /// How many tasks of a service a node has that have not ended and are not to end.
    pub fn spread_of(&self, service: ServiceId, node: NodeId) -> u32 {
        self.index
            .spread
            .get(&(service, node))
            .copied()
            .unwrap_or_default()
    }

    /// Tasks that wait for a node, ascending by service, spec revision and id.
    pub fn pending(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.index
            .pending
            .iter()
            .filter_map(|(_, _, id)| self.tasks.get(id))
    }

    /// Tasks that are to run at a time, also those that ended before it, ascending by it.
    pub fn delayed(&self) -> impl Iterator<Item = (ClusterTime, &Arc<Task>)> {
        let found = self.index.delayed.iter();
        found.filter_map(|(at, id)| Some((*at, self.tasks.get(id)?)))
    }

    /// Tasks that are made ready and wait for the end of the one before in their slot.
    pub fn held(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.index.held.iter().filter_map(|id| self.tasks.get(id))
    }

    /// Tasks that are to stop and may not be sent the stop signal yet.
    pub fn draining(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.index
            .draining
            .iter()
            .filter_map(|id| self.tasks.get(id))
    }

    /// Tasks that ended and still hold addresses.
    pub fn releasing(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.index
            .releasing
            .iter()
            .filter_map(|id| self.tasks.get(id))
    }

    /// New attempts in a slot.
    pub fn restarts(&self, service: ServiceId, slot: Slot) -> Option<&Arc<Restarts>> {
        self.restarts.get(&(service, slot))
    }

    /// When a service last failed on a node, ascending; the last five.
    pub fn failures(&self, service: ServiceId, node: NodeId) -> &[ClusterTime] {
        self.failures
            .get(&(service, node))
            .map_or(&[], |times| times.as_slice())
    }

    /// A network.
    pub fn network(&self, id: NetworkId) -> Option<&Arc<Network>> {
        self.networks.get(&id)
    }

    /// All networks, ascending by id.
    pub fn networks(&self) -> impl Iterator<Item = &Arc<Network>> {
        self.networks.values()
    }

    /// The network of this name.
    pub fn network_named(&self, name: &str) -> Option<&Arc<Network>> {
        self.index
            .network_names
            .get(name)
            .and_then(|id| self.networks.get(id))
    }

    /// The network of published ports.
    pub fn ingress(&self) -> Option<&Arc<Network>> {
        self.networks.values().find(|network| network.spec.ingress)
    }

    /// The network with this VXLAN identifier.
    pub fn network_numbered(&self, vni: u32) -> Option<NetworkId> {
        self.index.vnis.get(&vni).copied()
    }

    /// Log index of the last change to anything in a network's view.
    pub fn revision(&self, network: NetworkId) -> u64 {
        self.revisions.get(&network).copied().unwrap_or_default()
    }

    /// Ranges of all networks.
    pub fn subnets(&self) -> impl Iterator<Item = Ipv4Net> + '_ {
        self.networks.values().map(|network| network.subnet)
    }

    /// Addresses held on a network, ascending.
    pub fn addresses(&self, network: NetworkId) -> impl Iterator<Item = (Ipv4Addr, Holder)> + '_ {
        let range = (network, Ipv4Addr::UNSPECIFIED)..=(network, Ipv4Addr::BROADCAST);
        self.index
            .addresses
            .range(range)
            .map(|((_, address), holder)| (*address, *holder))
    }

    /// Who holds an address.
    pub fn holder(&self, network: NetworkId, address: Ipv4Addr) -> Option<Holder> {
        self.index.addresses.get(&(network, address)).copied()
    }

    /// An image by its name with tag.
    pub fn image(&self, name: &str) -> Option<&Arc<Image>> {
        self.images.get(name)
    }

    /// All images, ascending by name.
    pub fn images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.values()
    }

    /// A request that was applied in the last ten minutes.
    pub fn answered(&self, request: RequestId) -> Option<&Answered> {
        self.requests.get(&request)
    }

    /// What changed, with the log index of its last change.
    pub fn marks(&self) -> impl Iterator<Item = (Mark, u64)> + '_ {
        self.marks.iter().map(|(mark, index)| (*mark, *index))
    }

    /// As [`State::marks`], those after `last` only, ascending.
    pub fn marks_after(&self, last: Option<Mark>) -> impl Iterator<Item = (Mark, u64)> + '_ {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let marks = self.marks.range((from, Bound::Unbounded));
        marks.map(|(mark, index)| (*mark, *index))
    }

    /// The last mark of a slot that a service can have.
    pub fn last_slot_mark(service: ServiceId) -> Mark {
        Mark::Slot(service, LAST_SLOT)
    }

    /// How a task shows on its networks.
    pub fn endpoint(&self, task: &Task) -> Option<EndpointState> {
        endpoint_state(
            task,
            task.node
                .and_then(|id| self.nodes.get(&id))
                .map(Arc::as_ref),
        )
    }
}
