//! Gives numbers, addresses and ports to what has none yet. Pure.
//!
//! Nothing is taken back here: what no object names any more is free by that alone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use skep_proto::ids::{NetworkId, NodeId, ServiceId};
use skep_proto::network::NetworkSpec;
use skep_proto::node::Node;
use skep_proto::service::{PortBinding, Service};
use skep_proto::spec::{PortSpec, PublishMode};
use skep_proto::task::{Attachment, Task, TaskState, TaskStatus};

use super::draft::Draft;
use super::{address, pool};
use crate::state::Change;

/// Ports that a manager chooses from, as in Docker.
const CHOSEN_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Name of the network of published ports.
const INGRESS: &str = "ingress";

pub(super) fn give_numbers(draft: &mut Draft<'_>) {
    make_ingress(draft);
    number_nodes(draft);
    for id in draft.services().into_keys() {
        give_to_service(draft, id);
    }
    give_to_tasks(draft);
}

fn make_ingress(draft: &mut Draft<'_>) {
    if draft.state.ingress().is_some() || draft.state.cluster().is_none() {
        return;
    }
    let spec = NetworkSpec {
        name: INGRESS.to_owned(),
        labels: BTreeMap::new(),
        internal: false,
        attachable: false,
        ingress: true,
        subnet: None,
        gateway: None,
        mtu: None,
    };
    let id = draft.ids.network();
    match pool::new_network(&draft.state, id, spec, draft.wall) {
        Ok(network) => draft.change(Change::PutNetwork(Arc::new(network))),
        Err(_) => draft.incomplete = true,
    }
}

/// Every node has a small number and an address on ingress.
fn number_nodes(draft: &mut Draft<'_>) {
    let bare: Vec<NodeId> = draft
        .state
        .nodes()
        .filter(|node| node.number == 0)
        .map(|node| node.id)
        .collect();
    for id in bare {
        let (Some(node), Some(number)) = (draft.state.node(id).cloned(), free_number(draft)) else {
            continue;
        };
        draft.change(Change::PutNode(Arc::new(Node {
            number,
            ..Node::clone(&node)
        })));
    }
    let Some(ingress) = draft.state.ingress().map(|network| network.id) else {
        return;
    };
    let ungiven = draft
        .state
        .nodes()
        .filter(|node| draft.state.gateway(node.id).is_none());
    let ungiven: Vec<NodeId> = ungiven.map(|node| node.id).collect();
    for node in ungiven {
        if let Some(address) = address::free(&draft.state, ingress) {
            draft.change(Change::GaveIngress { node, address });
        }
    }
}

fn free_number(draft: &Draft<'_>) -> Option<u16> {
    let begin = draft.state.meta().last_number.checked_add(1).unwrap_or(1);
    let free = |number: &u16| draft.state.node_numbered(*number).is_none();
    (begin..=u16::MAX).chain(1..begin).find(free)
}

fn give_to_service(draft: &mut Draft<'_>, id: ServiceId) {
    let Some(old) = draft.state.service(id).cloned() else {
        return;
    };
    if old.removed.is_some() {
        return;
    }
    let mut service = Service::clone(&old);
    if let Some(spec) = old.templates.get(&old.template) {
        for used in &spec.networks {
            if service.vips.contains_key(&used.network) {
                continue;
            }
            match address::free(&draft.state, used.network) {
                Some(vip) => {
                    service.vips.insert(used.network, vip);
                }
                None => draft.incomplete = true,
            }
        }
    }
    service.ports = bind_ports(draft, &old);
    if service.vips != old.vips || service.ports != old.ports {
        draft.change(Change::PutService(Arc::new(service)));
    }
}

/// A binding for each port of the spec; one that was chosen before stays.
fn bind_ports(draft: &mut Draft<'_>, service: &Service) -> Vec<PortBinding> {
    let mut bound: Vec<PortBinding> = Vec::new();
    for port in &service.spec.ports {
        let taken = |number: u16, bound: &[PortBinding]| {
            let same = |one: &PortBinding| (one.protocol, one.published) == (port.protocol, number);
            bound.iter().any(same)
        };
        let before = service.ports.iter().find(|given| {
            let same = (given.protocol, given.target, given.mode)
                == (port.protocol, port.target, port.mode);
            same && CHOSEN_PORTS.contains(&given.published) && !taken(given.published, &bound)
        });
        let chosen = port.published.or(before.map(|given| given.published));
        let chosen = chosen.or_else(|| {
            CHOSEN_PORTS.into_iter().find(|number| {
                !taken(*number, &bound) && free_port(draft, service.id, port, *number)
            })
        });
        match chosen {
            Some(published) => bound.push(PortBinding {
                protocol: port.protocol,
                target: port.target,
                published,
                mode: port.mode,
            }),
            None => draft.incomplete = true,
        }
    }
    bound
}

fn free_port(draft: &Draft<'_>, service: ServiceId, port: &PortSpec, number: u16) -> bool {
    let named = draft.state.service(service).is_some_and(|service| {
        let same =
            |other: &PortSpec| (other.protocol, other.published) == (port.protocol, Some(number));
        service.spec.ports.iter().any(same)
    });
    !named
        && draft
            .state
            .port_holders(port.protocol, number)
            .all(|(id, _)| id == service)
}

fn give_to_tasks(draft: &mut Draft<'_>) {
    let new = draft
        .state
        .pending()
        .filter(|task| task.status.state == TaskState::New);
    let new: Vec<Arc<Task>> = new.cloned().collect();
    for task in new {
        if draft.full_for(task.id) {
            continue;
        }
        let Some(networks) = networks_of(draft, &task) else {
            continue;
        };
        match addresses(draft, &networks) {
            Ok(attachments) => {
                let status = TaskStatus::of(TaskState::Pending, draft.wall);
                let task = Task {
                    attachments,
                    status,
                    ..Task::clone(&task)
                };
                draft.change(Change::PutTask(Arc::new(task)));
            }
            Err(name) => {
                let error = format!("no free address on network \"{name}\"");
                if task.status.error != error {
                    let mut status = TaskStatus::of(TaskState::New, draft.wall);
                    status.error = error;
                    draft.change(Change::Observed {
                        task: task.id,
                        status,
                    });
                }
            }
        }
    }
}

/// Networks of the task's spec, then ingress if its service publishes there. `None` while something of them
/// is missing.
fn networks_of(draft: &Draft<'_>, task: &Task) -> Option<Vec<NetworkId>> {
    let service = draft.state.service(task.service)?;
    let spec = service.templates.get(&task.template)?;
    let mut networks: Vec<NetworkId> = spec.networks.iter().map(|used| used.network).collect();
    if service
        .spec
        .ports
        .iter()
        .any(|port| port.mode == PublishMode::Ingress)
    {
        networks.push(draft.state.ingress()?.id);
    }
    Some(networks)
}

/// An address on each network, or the name of the one that has none.
fn addresses(draft: &Draft<'_>, networks: &[NetworkId]) -> Result<Vec<Attachment>, String> {
    let mut given: Vec<Attachment> = Vec::new();
    for network in networks {
        let chosen: Vec<Ipv4Addr> = given
            .iter()
            .filter(|other| other.network == *network)
            .map(|other| other.address)
            .collect();
        let Some(address) = address::free_beside(&draft.state, *network, &chosen) else {
            let found = draft.state.network(*network);
            return Err(found.map_or_else(|| network.to_string(), |it| it.spec.name.clone()));
        };
        given.push(Attachment {
            network: *network,
            address,
        });
    }
    Ok(given)
}
