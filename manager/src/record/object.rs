//! Pieces of a state as messages.

use std::sync::Arc;

use skep_proto::time::ClusterTime;
use skep_proto::wire::v1::object::Object as Wire;
use skep_proto::wire::{
    WireError, WireId, content, content_message, id, ipv4, message, number, optional, v1, with_auth,
};

use super::entry::{read_answer, write_answer};
use crate::state::{Answered, Mark, Meta, Object, Restarts, Times};

pub(super) fn write(object: &Object) -> v1::Object {
    v1::Object {
        object: Some(write_kind(object)),
    }
}

fn write_kind(object: &Object) -> Wire {
    match object {
        Object::Meta(meta) => Wire::Meta(write_meta(meta)),
        Object::Cluster(cluster) => Wire::Cluster(cluster.as_ref().into()),
        Object::Node(node) => Wire::Node(node.as_ref().into()),
        Object::Gateway(node, address) => Wire::Gateway(v1::GatewayAddress {
            node: node.to_bytes(),
            address: address.octets().to_vec(),
        }),
        Object::Service(service) => Wire::Service(with_auth(service)),
        Object::Task(task, times) => Wire::Task(v1::TimedTask {
            task: Some(task.as_ref().into()),
            running_ms: times.running.map(ClusterTime::millis),
            stopping_ms: times.stopping.map(ClusterTime::millis),
            ended_ms: times.ended.map(ClusterTime::millis),
            drained: times.drained,
            lost: times.lost,
        }),
        Object::Network(network) => Wire::Network(network.as_ref().into()),
        Object::Revision(network, index) => Wire::Revision(v1::NetworkIndex {
            network: network.to_bytes(),
            index: *index,
        }),
        Object::File(file) => Wire::File(file.as_ref().into()),
        Object::Content(file, revision, it) => Wire::Content(content_message(*file, *revision, it)),
        Object::Token(stored) => Wire::Token(stored.as_ref().into()),
        Object::Image(image) => Wire::Image(image.as_ref().into()),
        Object::Request(request, answered) => Wire::Request(v1::Answered {
            request: request.to_bytes(),
            at_ms: answered.at.millis(),
            index: answered.index,
            answer: Some(write_answer(&answered.answer)),
        }),
        Object::Restarts(service, slot, restarts) => Wire::Restarts(v1::Restarts {
            service: service.to_bytes(),
            slot: Some((*slot).into()),
            template: restarts.template,
            total: restarts.total,
            times_ms: write_times(&restarts.times),
            failed: restarts.failed,
        }),
        Object::Failures(service, node, times) => Wire::Failures(v1::Failures {
            service: service.to_bytes(),
            node: node.to_bytes(),
            times_ms: write_times(times),
        }),
        Object::Drill(drill) => Wire::Drill(drill.as_ref().into()),
        Object::Event(event) => Wire::Event(event.as_ref().into()),
        Object::Mark(mark, index) => Wire::Mark(v1::Mark {
            index: *index,
            place: Some(write_place(mark)),
        }),
    }
}

pub(super) fn read(from: v1::Object) -> Result<Object, WireError> {
    let object = from.object.ok_or_else(|| {
        WireError::new(
            "object",
            "is of a kind that this release does not know; upgrade this manager",
        )
    })?;
    Ok(match object {
        Wire::Meta(meta) => Object::Meta(read_meta(meta)?),
        Wire::Cluster(it) => Object::Cluster(Arc::new(message(Some(it), "cluster")?)),
        Wire::Node(it) => Object::Node(Arc::new(message(Some(it), "node")?)),
        Wire::Gateway(it) => Object::Gateway(
            id(&it.node, "gateway.node")?,
            ipv4(&it.address, "gateway.address")?,
        ),
        Wire::Service(it) => Object::Service(Arc::new(message(Some(it), "service")?)),
        Wire::Task(it) => Object::Task(
            Arc::new(message(it.task, "task.task")?),
            Times {
                running: it.running_ms.map(ClusterTime::from_millis),
                stopping: it.stopping_ms.map(ClusterTime::from_millis),
                ended: it.ended_ms.map(ClusterTime::from_millis),
                drained: it.drained,
                lost: it.lost,
            },
        ),
        Wire::Network(it) => Object::Network(Arc::new(message(Some(it), "network")?)),
        Wire::Revision(it) => Object::Revision(id(&it.network, "revision.network")?, it.index),
        Wire::File(it) => Object::File(Arc::new(message(Some(it), "file")?)),
        Wire::Content(it) => {
            let (file, revision, content) = content(it)?;
            Object::Content(file, revision, content)
        }
        Wire::Token(it) => Object::Token(Arc::new(message(Some(it), "token")?)),
        Wire::Image(it) => Object::Image(Arc::new(message(Some(it), "image")?)),
        Wire::Request(it) => Object::Request(
            id(&it.request, "request.request")?,
            Answered {
                at: ClusterTime::from_millis(it.at_ms),
                index: it.index,
                answer: read_answer(it.answer)?,
            },
        ),
        Wire::Restarts(it) => Object::Restarts(
            id(&it.service, "restarts.service")?,
            message(it.slot, "restarts.slot")?,
            Arc::new(Restarts {
                template: it.template,
                total: it.total,
                times: read_times(&it.times_ms),
                failed: it.failed,
            }),
        ),
        Wire::Failures(it) => Object::Failures(
            id(&it.service, "failures.service")?,
            id(&it.node, "failures.node")?,
            Arc::new(read_times(&it.times_ms)),
        ),
        Wire::Drill(it) => Object::Drill(Arc::new(message(Some(it), "drill")?)),
        Wire::Event(it) => Object::Event(Arc::new(message(Some(it), "event")?)),
        Wire::Mark(it) => Object::Mark(read_place(it.place)?, it.index),
    })
}

fn write_meta(meta: &Meta) -> v1::Meta {
    v1::Meta {
        index: meta.index,
        time_ms: meta.time.millis(),
        looked: meta.looked,
        last_vni: meta.last_vni,
        last_subnet: meta.last_subnet.map(Into::into),
        last_number: u32::from(meta.last_number),
        events_gone: meta.events_gone,
    }
}

fn read_meta(from: v1::Meta) -> Result<Meta, WireError> {
    Ok(Meta {
        index: from.index,
        time: ClusterTime::from_millis(from.time_ms),
        looked: from.looked,
        last_vni: from.last_vni,
        last_subnet: optional(from.last_subnet, "meta.last_subnet")?,
        last_number: number(from.last_number, "meta.last_number")?,
        events_gone: from.events_gone,
    })
}

fn write_times(times: &[ClusterTime]) -> Vec<u64> {
    times.iter().map(|time| time.millis()).collect()
}

fn read_times(times: &[u64]) -> Vec<ClusterTime> {
    times
        .iter()
        .copied()
        .map(ClusterTime::from_millis)
        .collect()
}

fn write_place(mark: &Mark) -> v1::mark::Place {
    use v1::mark::Place;
    match mark {
        Mark::Cluster => Place::Cluster(v1::ClusterMark {}),
        Mark::Node(id) => Place::Node(id.to_bytes()),
        Mark::Service(id) => Place::Service(id.to_bytes()),
        Mark::Slot(service, slot) => Place::Slot(v1::SlotMark {
            service: service.to_bytes(),
            slot: Some((*slot).into()),
        }),
        Mark::Network(id) => Place::Network(id.to_bytes()),
    }
}

fn read_place(from: Option<v1::mark::Place>) -> Result<Mark, WireError> {
    use v1::mark::Place;
    Ok(
        match from.ok_or_else(|| WireError::missing("mark.place"))? {
            Place::Cluster(v1::ClusterMark {}) => Mark::Cluster,
            Place::Node(bytes) => Mark::Node(id(&bytes, "mark.node")?),
            Place::Service(bytes) => Mark::Service(id(&bytes, "mark.service")?),
            Place::Slot(it) => Mark::Slot(
                id(&it.service, "mark.slot.service")?,
                message(it.slot, "mark.slot.slot")?,
            ),
            Place::Network(bytes) => Mark::Network(id(&bytes, "mark.network")?),
        },
    )
}
