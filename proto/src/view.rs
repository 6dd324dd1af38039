//! All that netd needs to know on one node: what its networks must look like.
//!
//! A view is computed by managers and sent with the assignment; netd makes the kernel match it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::ids::{NetworkId, NodeId, ServiceId, TaskId};
use crate::spec::{Protocol, PublishMode};

/// The networks of one node. A network is in it while the node holds a task on it; ingress always is, once
/// some service publishes there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// UDP port of VXLAN.
    pub data_path_port: u16,
    /// Every node that carries an endpoint of these networks or accepts for ingress, ascending by id.
    pub nodes: Vec<NodeView>,
    /// Ascending by id.
    pub networks: Vec<NetworkView>,
    /// Published ports, ascending by protocol and port.
    pub ports: Vec<PortView>,
}

/// A node as a network sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// The node.
    pub id: NodeId,
    /// Where its end of the VXLAN tunnel is.
    pub address: IpAddr,
    /// Its small number: part of its gateway MAC addresses on ingress.
    pub number: u16,
    /// Its address on the ingress network, once it has one.
    pub ingress: Option<Ipv4Addr>,
}

/// A network as a node must show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkView {
    /// The network.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Log index of the last change to anything in this view of it: what is acknowledged.
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
    /// Tasks on it anywhere in the cluster, ascending by task.
    pub endpoints: Vec<EndpointView>,
    /// Services on it, ascending by id.
    pub services: Vec<ServiceView>,
}

/// A task on a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointView {
    /// The task.
    pub task: TaskId,
    /// Its service.
    pub service: ServiceId,
    /// Name of its container: SERVICE.SLOT.TASKID.
    pub name: String,
    /// Its address there.
    pub address: Ipv4Addr,
    /// The node that runs it.
    pub node: NodeId,
    /// Whether it is given connections.
    pub state: EndpointState,
}

/// Whether an endpoint is given connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndpointState {
    /// Its address is known, but it is not running yet: no name, no connection.
    Starting,
    /// It answers to names and gets new connections.
    Live,
    /// No new connection; old ones go on.
    Draining,
}

/// A service on a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceView {
    /// The service.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Further names by which it is found on this network.
    pub aliases: Vec<String>,
    /// Its virtual address there.
    pub vip: Option<Ipv4Addr>,
}

/// A published port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortView {
    /// Whose it is.
    pub service: ServiceId,
    /// The transport.
    pub protocol: Protocol,
    /// The port outside.
    pub published: u16,
    /// The port inside the container.
    pub target: u16,
    /// Where it is open.
    pub mode: PublishMode,
}
