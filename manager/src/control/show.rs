//! Objects as the door shows them: with the names that people want beside the ids.

use std::sync::Arc;

use skep_proto::cluster::Cluster;
use skep_proto::image::Image;
use skep_proto::network::Network;
use skep_proto::node::{Node, NodeState};
use skep_proto::service::Service;
use skep_proto::spec::Protocol;
use skep_proto::task::{Task, TaskState};
use skep_proto::time::ClusterTime;
use skep_proto::wire::WireId;
use skep_proto::wire::v1;

use super::Control;
use super::rollout::Changed;
use crate::leader::Live;
use crate::plan::{Standing, standing, why};
use crate::state::State;

/// A service with its counts.
pub(super) fn service(state: &State, service: &Service) -> v1::ServiceEntry {
    let standing = standing(state, service);
    v1::ServiceEntry {
        service: Some(v1::Service::from(service)),
        running: standing.running,
        desired: standing.desired,
        completed: standing.completed,
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
    let mut shown = v1::Task::from(task);
    let silent = node.filter(|node| node.status.state == NodeState::Down);
    if let (Some(node), Some(status)) = (silent, shown.status.as_mut())
        && !task.status.state.ended()
        && status.error.is_empty()
    {
        // What is known of it is old: that is the reason why it may not run.
        status.error = format!("its node is down: {}", node.status.message);
    }
    v1::TaskEntry {
        task: Some(shown),
        service_name: state
            .service(task.service)
            .map_or_else(String::new, |it| it.spec.name.clone()),
        node_name: node.map_or_else(String::new, |node| node.description.hostname.clone()),
        spec: state
            .template(task.service, task.template)
            .map(|spec| v1::TaskSpec::from(&**spec)),
    }
}

/// Why a task does not run.
pub(super) fn why(state: &State, it: &Task, now: ClusterTime) -> v1::WhyTaskAnswer {
    let told = why::why(state, it, now);
    let nodes = told.nodes.into_iter().map(|refused| v1::RefusingNode {
        node: refused.node.to_bytes(),
        name: state
            .node(refused.node)
            .map_or_else(String::new, |node| node.description.hostname.clone()),
        refused_by: refused.by,
    });
    v1::WhyTaskAnswer {
        task: Some(task(state, it)),
        reason: told.reason,
        nodes: nodes.collect(),
        changes: told.changes,
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
    let standing = standing(state, it);
    let mut problems = problems(state, live, it);
    problems.extend(given_up(it, &standing));
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
        running: standing.running,
        desired: standing.desired,
        converged: standing.converged,
        problems,
        completed: standing.completed,
    }
}

/// Tasks of a job that failed and are not tried again.
fn given_up(it: &Service, standing: &Standing) -> Option<String> {
    let first = standing.given_up.first()?;
    let why = if first.status.error.is_empty() {
        first.status.state.to_string()
    } else {
        first.status.error.clone()
    };
    Some(format!(
        "{} of the job's tasks failed and are not tried again, such as {}.{}: {why}",
        standing.given_up.len(),
        it.spec.name,
        first.slot
    ))
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
    /// The cluster without its secrets.
    pub(super) fn show_cluster(&self, cluster: &Cluster) -> v1::ClusterEntry {
        v1::ClusterEntry {
            id: cluster.id.to_bytes(),
            version: cluster.version,
            created_ms: cluster.created.unix_millis(),
            spec: Some(v1::ClusterSpec::from(&cluster.spec)),
            root: cluster.authority.certificate.clone(),
            feature_level: cluster.feature_level,
            incarnation: cluster.incarnation,
            leader: Some(self.me.to_bytes()),
        }
    }

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
