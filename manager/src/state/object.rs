//! A state piece by piece, for snapshots: out with `objects`, in with `from_objects`. Pure.
//!
//! Indexes are not among the pieces; they are built again.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use skep_proto::cluster::Cluster;
use skep_proto::drill::Drill;
use skep_proto::event::Event;
use skep_proto::file::{Content, File, FileId};
use skep_proto::ids::{NetworkId, NodeId, RequestId, ServiceId};
use skep_proto::image::Image;
use skep_proto::network::Network;
use skep_proto::node::Node;
use skep_proto::service::Service;
use skep_proto::task::{Slot, Task};
use skep_proto::time::ClusterTime;
use skep_proto::token::StoredToken;

use super::{Answered, Mark, Restarts, State, Times};

/// What a state knows of itself besides its tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Log index of the last entry.
    pub index: u64,
    /// The latest time of any entry.
    pub time: ClusterTime,
    /// A plan has looked at all changes up to this index.
    pub looked: u64,
    /// The VXLAN identifier given last; 0 before the first.
    pub last_vni: u32,
    /// The range given last from the pool.
    pub last_subnet: Option<Ipv4Net>,
    /// The node number given last.
    pub last_number: u16,
    /// Revision of the last event that is not kept any more; 0 before the first.
    pub events_gone: u64,
}

/// A piece of a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Object {
    /// Comes first.
    Meta(Meta),
    /// The cluster's own object.
    Cluster(Arc<Cluster>),
    /// A node.
    Node(Arc<Node>),
    /// A node's address on ingress; comes after the networks.
    Gateway(NodeId, Ipv4Addr),
    /// A secret or config; comes before services.
    File(Arc<File>),
    /// A content that is kept, with its revision; comes after its file.
    Content(FileId, u64, Content),
    /// A service; comes before its tasks.
    Service(Arc<Service>),
    /// A task and when what happened to it.
    Task(Arc<Task>, Times),
    /// A network.
    Network(Arc<Network>),
    /// Log index of the last change in a network's view.
    Revision(NetworkId, u64),
    /// A token.
    Token(Arc<StoredToken>),
    /// An image name.
    Image(Arc<Image>),
    /// A request that was applied.
    Request(RequestId, Answered),
    /// New attempts in a slot.
    Restarts(ServiceId, Slot, Arc<Restarts>),
    /// When a service failed on a node.
    Failures(ServiceId, NodeId, Arc<Vec<ClusterTime>>),
    /// What no plan has looked at yet.
    Mark(Mark, u64),
    /// A drill.
    Drill(Arc<Drill>),
    /// Something that happened.
    Event(Arc<Event>),
}

impl State {
    /// All pieces, in an order that `from_objects` takes.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        let times = |task: &Arc<Task>| self.times.get(&task.id).copied().unwrap_or_default();
        std::iter::once(Object::Meta(self.meta))
            .chain(self.cluster.iter().cloned().map(Object::Cluster))
            .chain(self.nodes.values().cloned().map(Object::Node))
            .chain(self.networks.values().cloned().map(Object::Network))
            .chain(
                self.gateways
                    .iter()
                    .map(|(id, at)| Object::Gateway(*id, *at)),
            )
            .chain(
                self.revisions
                    .iter()
                    .map(|(id, index)| Object::Revision(*id, *index)),
            )
            .chain(self.files.values().cloned().map(Object::File))
            .chain(
                self.contents()
                    .map(|(id, revision, it)| Object::Content(id, revision, it.clone())),
            )
            .chain(self.services.values().cloned().map(Object::Service))
            .chain(
                self.tasks
                    .values()
                    .map(move |task| Object::Task(task.clone(), times(task))),
            )
            .chain(self.tokens.values().cloned().map(Object::Token))
            .chain(self.images.values().cloned().map(Object::Image))
            .chain(
                self.requests
                    .iter()
                    .map(|(id, it)| Object::Request(*id, it.clone())),
            )
            .chain(
                self.restarts
                    .iter()
                    .map(|(key, it)| Object::Restarts(key.0, key.1, it.clone())),
            )
            .chain(
                self.failures
                    .iter()
                    .map(|(key, it)| Object::Failures(key.0, key.1, it.clone())),
            )
            .chain(
                self.marks
                    .iter()
                    .map(|(mark, index)| Object::Mark(*mark, *index)),
            )
            .chain(self.drills.values().cloned().map(Object::Drill))
            .chain(self.events().cloned().map(Object::Event))
    }

    /// The state with these pieces. Objects keep their versions; indexes are built.
    pub fn from_objects(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut state = Self::default();
        for object in objects {
            state.load(object);
        }
        state
    }

    fn load(&mut self, object: Object) {
        match object {
            Object::Meta(meta) => self.meta = meta,
            Object::Cluster(cluster) => self.cluster = Some(cluster),
            Object::Node(node) => self.index_node(node.id, Some(node)),
            Object::Gateway(node, address) => self.index_gateway(node, Some(address)),
            Object::Network(network) => self.index_network(network.id, Some(network)),
            Object::Revision(network, index) => {
                self.revisions.insert(network, index);
            }
            Object::File(file) => self.index_file(file.id, Some(file)),
            Object::Content(id, revision, it) => self.index_content(id, revision, Some(it)),
            Object::Service(service) => self.index_service(service.id, Some(service)),
            Object::Task(task, times) => self.index_task(task.id, Some((task, times))),
            Object::Token(stored) => self.index_token(stored.token.id, Some(stored)),
            Object::Image(image) => {
                self.images.insert(image.name.clone(), image);
            }
            Object::Request(id, answered) => {
                self.index.requests.insert((answered.at, id));
                self.requests.insert(id, answered);
            }
            Object::Restarts(service, slot, restarts) => {
                self.restarts.insert((service, slot), restarts);
            }
            Object::Failures(service, node, times) => {
                self.failures.insert((service, node), times);
            }
            Object::Mark(mark, index) => {
                self.marks.insert(mark, index);
            }
            Object::Drill(drill) => {
                self.drills.insert(drill.id, drill);
            }
            Object::Event(event) => self.load_event(event),
        }
    }
}
