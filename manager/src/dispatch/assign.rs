//! What a node is to do, from the state alone. Pure.
//!
//! The worker obeys this and nothing else: what is not in an assignment is not to be on the node. Nothing is
//! remembered between calls; dispatch compares two results to find a difference.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skep_proto::assignment::{AssignedAttachment, AssignedTask, Assignment, Generation};
use skep_proto::ids::{NetworkId, NodeId};
use skep_proto::network::{Network, OVERLAY_MTU};
use skep_proto::service::Service;
use skep_proto::spec::{NetworkUse, PublishMode, TaskSpec};
use skep_proto::task::{Task, TaskState};
use skep_proto::view::{EndpointView, NetworkView, NodeView, PortView, ServiceView, View};

use crate::state::{Holder, State};

/// VXLAN's own port, for a state that has no cluster object.
const DATA_PATH_PORT: u16 = 4789;

/// All that `node` is to do, as a leader of this term says it.
pub fn assign(state: &State, node: NodeId, term: u64) -> Assignment {
    let incarnation = state.cluster().map_or(0, |cluster| cluster.incarnation);
    let tasks = state
        .tasks_on(node)
        .filter_map(|task| Some((task.id, assigned(state, task)?)));
    Assignment {
        generation: Generation {
            incarnation,
            term,
            index: state.applied(),
        },
        tasks: tasks.collect(),
        view: Arc::new(view(state, node)),
    }
}

/// `None` for a task of which the node is to keep nothing: it ended and is to be removed.
fn assigned(state: &State, task: &Task) -> Option<Arc<AssignedTask>> {
    let ended = task.status.state.ended();
    if ended && task.desired == TaskState::Remove {
        return None;
    }
    let service = state.service(task.service)?;
    let spec = service.templates.get(&task.template)?;
    // What ended is not begun again, even by a worker that has forgotten it.
    let desired = if ended {
        task.desired.max(TaskState::Shutdown)
    } else {
        task.desired
    };
    let attachments = task.attachments.iter();
    let attachments = attachments.filter_map(|at| {
        let network = state.network(at.network)?;
        Some(AssignedAttachment {
            network: at.network,
            address: at.address,
            subnet: network.subnet,
            aliases: aliases(spec, at.network),
            ingress: network.spec.ingress,
        })
    });
    Some(Arc::new(AssignedTask {
        id: task.id,
        service: task.service,
        service_name: service.spec.name.clone(),
        slot: task.slot,
        spec: spec.clone(),
        desired,
        attachments: attachments.collect(),
        drained: state.times(task.id).drained,
        auth: service.auth.clone(),
        files: state.given(spec),
    }))
}

fn aliases(spec: &TaskSpec, network: NetworkId) -> Vec<String> {
    let used = |used: &&NetworkUse| used.network == network;
    spec.networks
        .iter()
        .find(used)
        .map(|used| used.aliases.clone())
        .unwrap_or_default()
}

/// What the networks of `node` must look like.
pub fn view(state: &State, node: NodeId) -> View {
    let here = state
        .tasks_on(node)
        .filter(|task| !task.status.state.ended());
    let here: Vec<&Arc<Task>> = here.collect();
    let attached = here
        .iter()
        .flat_map(|task| task.attachments.iter().map(|at| at.network));
    let mut networks: BTreeSet<NetworkId> = attached.collect();
    networks.extend(
        state
            .ingress()
            .filter(|it| ingress_used(state, it.id))
            .map(|it| it.id),
    );
    let networks: Vec<NetworkView> = networks
        .into_iter()
        .filter_map(|id| network_view(state, state.network(id)?))
        .collect();
    View {
        data_path_port: state
            .cluster()
            .map_or(DATA_PATH_PORT, |it| it.spec.data_path_port),
        nodes: nodes(state, &networks),
        ports: ports(state, &here),
        networks,
    }
}

/// Ingress is on every node while some service publishes there, and until the last address on it is free:
/// only who shows a network can acknowledge that something of it is gone.
fn ingress_used(state: &State, ingress: NetworkId) -> bool {
    let held = |(_, holder)| matches!(holder, Holder::Task(_));
    state
        .ports()
        .any(|(_, _, _, mode)| mode == PublishMode::Ingress)
        || state.addresses(ingress).any(held)
}

fn network_view(state: &State, network: &Network) -> Option<NetworkView> {
    let tasks = state
        .addresses(network.id)
        .filter_map(|(address, holder)| match holder {
            Holder::Task(id) => Some((address, state.task(id)?)),
            Holder::Vip(_) | Holder::Node(_) => None,
        });
    let endpoints = tasks.filter_map(|(address, task)| {
        let service = state.service(task.service)?;
        Some(EndpointView {
            task: task.id,
            service: task.service,
            name: format!("{}.{}.{}", service.spec.name, task.slot, task.id),
            address,
            node: task.node?,
            state: state.endpoint(task)?,
        })
    });
    let mut endpoints: Vec<EndpointView> = endpoints.collect();
    endpoints.sort_by_key(|endpoint| endpoint.task);
    Some(NetworkView {
        id: network.id,
        name: network.spec.name.clone(),
        revision: state.revision(network.id),
        vni: network.vni,
        subnet: network.subnet,
        gateway: network.gateway,
        mtu: network.spec.mtu.unwrap_or(OVERLAY_MTU),
        internal: network.spec.internal,
        ingress: network.spec.ingress,
        endpoints,
        services: services(state, network),
    })
}

fn services(state: &State, network: &Network) -> Vec<ServiceView> {
    let publishing = state
        .ports()
        .filter(|(_, _, _, mode)| *mode == PublishMode::Ingress);
    let publishing = publishing.filter_map(|(_, _, id, _)| state.service(id));
    let found: BTreeMap<_, &Arc<Service>> = if network.spec.ingress {
        publishing.map(|service| (service.id, service)).collect()
    } else {
        state
            .services_on(network.id)
            .map(|service| (service.id, service))
            .collect()
    };
    let there = found
        .into_values()
        .filter(|service| service.removed.is_none());
    let views = there.map(|service| ServiceView {
        id: service.id,
        name: service.spec.name.clone(),
        aliases: service
            .templates
            .get(&service.template)
            .map(|spec| aliases(spec, network.id))
            .unwrap_or_default(),
        vip: service.vips.get(&network.id).copied(),
    });
    views.collect()
}

/// Nodes that carry an endpoint, and on ingress all that accept.
fn nodes(state: &State, networks: &[NetworkView]) -> Vec<NodeView> {
    let carrying = networks.iter().flat_map(|network| network.endpoints.iter());
    let mut found: BTreeSet<NodeId> = carrying.map(|endpoint| endpoint.node).collect();
    if networks.iter().any(|network| network.ingress) {
        found.extend(state.nodes().map(|node| node.id));
    }
    let views = found.into_iter().filter_map(|id| {
        let node = state.node(id)?;
        Some(NodeView {
            id,
            address: node.address,
            number: node.number,
            ingress: state.gateway(id),
        })
    });
    views.collect()
}

/// Ports open on every node, and those of the tasks that this node has.
fn ports(state: &State, here: &[&Arc<Task>]) -> Vec<PortView> {
    let local: BTreeSet<_> = here.iter().map(|task| task.service).collect();
    let mut found = BTreeSet::new();
    for (protocol, published, service, mode) in state.ports() {
        if mode == PublishMode::Ingress || local.contains(&service) {
            found.insert((protocol, published, service));
        }
    }
    let views = found.into_iter().flat_map(|(protocol, published, id)| {
        let bindings = state.service(id).map(|service| service.ports.as_slice());
        let bindings = bindings.unwrap_or_default().iter();
        bindings
            .filter(move |port| (port.protocol, port.published) == (protocol, published))
            .map(move |port| PortView {
                service: id,
                protocol,
                published,
                target: port.target,
                mode: port.mode,
            })
    });
    views.collect()
}
