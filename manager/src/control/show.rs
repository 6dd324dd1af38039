//! Objects as the door shows them: with the names that people want beside the ids.

use std::sync::Arc;

use skep_proto::image::Image;
use skep_proto::network::Network;
use skep_proto::node::Node;
use skep_proto::service::Service;
use skep_proto::spec::Protocol;
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::WireId;
use skep_proto::wire::v1;

use super::Control;
use super::rollout::Changed;
use super::services::{converged, counts};
use crate::leader::Live;
use crate::state::State;

/// A service with its counts.
pub(super) fn service(state: &State, service: &Service) -> v1::ServiceEntry {
    let (running, desired) = counts(state, service);
    v1::ServiceEntry {
        service: Some(v1::Service::from(service)),
        running,
        desired,
    }
}

/// A list does not carry what services were before.
pub(super) fn without_history(mut entry: v1::ServiceEntry) -> v1::ServiceEntry {
    if let Some(service) = &mut entry.service {
        service.history.clear();
    }
    entry
}

/// What came of a change.
pub(super) fn changed(changed: &Changed) -> v1::UpdateServiceAnswer {
    let service = &changed.service;
    v1::UpdateServiceAnswer {
        id: service.id.to_bytes(),
        version: service.version,
        warnings: Vec::new(),
        revision: service.revision,
        unchanged: changed.unchanged,
        spec: Some(v1::ServiceSpec::from(&*service.spec)),
    }
}

/// A task with the names of its service and node.
pub(super) fn task(state: &State, task: &Task) -> v1::TaskEntry {
    let node = task.node.and_then(|id| state.node(id));
    v1::TaskEntry {
        task: Some(v1::Task::from(task)),
        service_name: state
            .service(task.service)
            .map_or_else(String::new, |it| it.spec.name.clone()),
        node_name: node.map_or_else(String::new, |node| node.description.hostname.clone()),
        spec: state
            .template(task.service, task.template)
            .map(|spec| v1::TaskSpec::from(&**spec)),
    }
}

/// A network with its services.
pub(super) fn network(state: &State, network: &Network) -> v1::NetworkEntry {
    let services = state
        .services_on(network.id)
        .filter(|service| service.removed.is_none());
    v1::NetworkEntry {
        network: Some(v1::Network::from(network)),
        services: services.map(|service| service.spec.name.clone()).collect(),
        addresses: u32::try_from(state.addresses(network.id).count()).unwrap_or(u32::MAX),
    }
}

/// A service and its tasks, as a watcher sees them.
pub(super) fn progress(state: &State, live: &Live, it: &Service) -> v1::ServiceProgress {
    let (running, desired) = counts(state, it);
    let tasks = state
        .tasks_of(it.id)
        .filter(|task| task.desired <= TaskState::Running);
    let mut service = v1::Service::from(it);
    // Of what it was before, a watcher sees only who asked for what it is now.
    let to = it.update.as_ref().map(|update| update.to);
    let of_now = |number: u64| number == it.revision || Some(number) == to;
    service.history.retain(|revision| of_now(revision.number));
    v1::ServiceProgress {
        service: Some(service),
        tasks: tasks.map(|each| task(state, each)).collect(),
        running,
        desired,
        converged: converged(state, it),
        problems: problems(state, live, it),
    }
}

/// What keeps a service from being reached: published ports that other programs hold.
fn problems(state: &State, live: &Live, it: &Service) -> Vec<String> {
    let mut problems = Vec::new();
    for binding in &it.ports {
        let protocol = match binding.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        for node in live.port_taken_on(binding.protocol, binding.published) {
            let name = state.node(node).map_or_else(
                || node.to_string(),
                |node| node.description.hostname.clone(),
            );
            problems.push(format!(
                "port {}/{protocol} is taken by another program on {name}: stop that program, or publish \
                 another port",
                binding.published
            ));
        }
    }
    problems
}

impl Control {
    /// A node with its place among the managers.
    pub(super) fn show_node(&self, state: &State, node: &Node) -> v1::NodeEntry {
        let running = state
            .tasks_on(node.id)
            .filter(|task| task.status.state == TaskState::Running);
        v1::NodeEntry {
            node: Some(v1::Node::from(node)),
            leader: node.id == self.me,
            reachable: self.reachable(node),
            running: u32::try_from(running.count()).unwrap_or(u32::MAX),
        }
    }

    /// An image with the nodes that hold it.
    pub(super) fn show_image(&self, image: &Arc<Image>) -> v1::ImageEntry {
        let holders = self.live.holders(image.digest);
        v1::ImageEntry {
            image: Some(v1::Image::from(&**image)),
            nodes: holders.into_iter().map(WireId::to_bytes).collect(),
        }
    }
}
