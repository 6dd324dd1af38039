//! An entry of the log and its changes as messages.

use std::sync::Arc;

use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId, TokenId};
use skep_proto::time::{ClusterTime, WallTime};
use skep_proto::wire::v1::change::Change as Wire;
use skep_proto::wire::{
    WireError, WireId, content, content_message, digest, enumeration, id, ipv4, message, v1,
    with_auth,
};

use crate::state::{Answer, Change, Entry};

pub(super) fn write(entry: &Entry) -> v1::Entry {
    v1::Entry {
        time_ms: entry.time.millis(),
        wall_ms: entry.wall.unix_millis(),
        request: entry.request.map(WireId::to_bytes),
        answer: Some(write_answer(&entry.answer)),
        looked: entry.looked,
        atomic: entry.atomic,
        by: entry.by.clone(),
        changes: entry
            .changes
            .iter()
            .map(|change| v1::Change {
                change: Some(write_change(change)),
            })
            .collect(),
    }
}

pub(super) fn read(from: v1::Entry) -> Result<Entry, WireError> {
    let changes = from.changes.into_iter().enumerate().map(|(at, change)| {
        read_change(change).map_err(|error| error.within(format_args!("changes[{at}]")))
    });
    Ok(Entry {
        time: ClusterTime::from_millis(from.time_ms),
        wall: WallTime::from_unix_millis(from.wall_ms),
        request: from
            .request
            .map(|bytes| id(&bytes, "request"))
            .transpose()?,
        answer: read_answer(from.answer)?,
        looked: from.looked,
        atomic: from.atomic,
        by: from.by,
        changes: changes.collect::<Result<_, _>>()?,
    })
}

pub(super) fn write_answer(answer: &Answer) -> v1::Answer {
    use v1::answer::Answer as Wire;
    v1::Answer {
        answer: Some(match answer {
            Answer::Done => Wire::Done(v1::Done {}),
            Answer::Cluster(id) => Wire::Cluster(id.to_bytes()),
            Answer::Node(id) => Wire::Node(id.to_bytes()),
            Answer::Service(id) => Wire::Service(id.to_bytes()),
            Answer::Network(id) => Wire::Network(id.to_bytes()),
            Answer::Image(digest) => Wire::Image(digest.0.to_vec()),
            Answer::File(id) => Wire::File((*id).into()),
            Answer::Drill(id) => Wire::Drill(id.to_bytes()),
        }),
    }
}

pub(super) fn read_answer(from: Option<v1::Answer>) -> Result<Answer, WireError> {
    use v1::answer::Answer as Wire;
    let answer = from
        .and_then(|answer| answer.answer)
        .ok_or_else(|| WireError::missing("answer"))?;
    Ok(match answer {
        Wire::Done(v1::Done {}) => Answer::Done,
        Wire::Cluster(bytes) => Answer::Cluster(id(&bytes, "answer.cluster")?),
        Wire::Node(bytes) => Answer::Node(id(&bytes, "answer.node")?),
        Wire::Service(bytes) => Answer::Service(id(&bytes, "answer.service")?),
        Wire::Network(bytes) => Answer::Network(id(&bytes, "answer.network")?),
        Wire::Image(bytes) => Answer::Image(digest(&bytes, "answer.image")?),
        Wire::File(it) => Answer::File(whole(it, "answer.file")?),
        Wire::Drill(bytes) => Answer::Drill(id(&bytes, "answer.drill")?),
    })
}

fn versioned<T: WireId>(id: T, version: u64) -> v1::VersionedId {
    v1::VersionedId {
        id: id.to_bytes(),
        version,
    }
}

fn write_change(change: &Change) -> Wire {
    match change {
        Change::PutCluster(cluster) => Wire::PutCluster(cluster.as_ref().into()),
        Change::PutNode(node) => Wire::PutNode(node.as_ref().into()),
        Change::DeleteNode { node, version } => Wire::DeleteNode(versioned(*node, *version)),
        Change::Turned { node, status } => Wire::Turned(v1::Turned {
            node: node.to_bytes(),
            status: Some(status.into()),
        }),
        Change::GaveIngress { node, address } => Wire::GaveIngress(v1::GatewayAddress {
            node: node.to_bytes(),
            address: address.octets().to_vec(),
        }),
        Change::PutService(service) => Wire::PutService(with_auth(service)),
        Change::Progressed {
            service,
            version,
            update,
        } => Wire::Progressed(v1::Progressed {
            service: service.to_bytes(),
            version: *version,
            update: Some(update.as_ref().into()),
        }),
        Change::DeleteService { service, version } => {
            Wire::DeleteService(versioned(*service, *version))
        }
        Change::PutTask(task) => Wire::PutTask(task.as_ref().into()),
        Change::DeleteTask { task, version } => Wire::DeleteTask(versioned(*task, *version)),
        Change::SetDesired { task, desired } => Wire::SetDesired(v1::SetDesired {
            task: task.to_bytes(),
            desired: v1::TaskState::from(*desired).into(),
        }),
        Change::Replaced { task, revision } => Wire::Replaced(v1::Replaced {
            task: task.to_bytes(),
            revision: *revision,
        }),
        Change::Observed { task, status } => Wire::Observed(v1::Observed {
            task: task.to_bytes(),
            status: Some(status.into()),
        }),
        Change::Drained { task } => Wire::Drained(task.to_bytes()),
        Change::Released { task } => Wire::Released(task.to_bytes()),
        Change::PutNetwork(network) => Wire::PutNetwork(network.as_ref().into()),
        Change::DeleteNetwork { network, version } => {
            Wire::DeleteNetwork(versioned(*network, *version))
        }
        Change::PutFile { file, content } => Wire::PutFile(v1::PutFile {
            file: Some(file.as_ref().into()),
            content: content
                .as_ref()
                .map(|content| content_message(file.id, file.newest(), content)),
        }),
        Change::DeleteFile { file, version } => Wire::DeleteFile(v1::VersionedFile {
            id: Some((*file).into()),
            version: *version,
        }),
        Change::DropContent { file, revision } => Wire::DropContent(v1::FileRevisionKey {
            file: Some((*file).into()),
            revision: *revision,
        }),
        Change::PutToken(stored) => Wire::PutToken(stored.as_ref().into()),
        Change::DeleteToken { token, version } => Wire::DeleteToken(versioned(*token, *version)),
        Change::PutDrill(drill) => Wire::PutDrill(drill.as_ref().into()),
        Change::PutImage(image) => Wire::PutImage(image.as_ref().into()),
        Change::DeleteImage { name } => Wire::DeleteImage(name.clone()),
    }
}

/// Reads a message that is there, naming the change it stands in.
fn whole<W, T>(from: W, field: &str) -> Result<T, WireError>
where
    T: TryFrom<W, Error = WireError>,
{
    message(Some(from), field)
}

fn read_change(from: v1::Change) -> Result<Change, WireError> {
    let change = from.change.ok_or_else(|| {
        WireError::new(
            "change",
            "is of a kind that this release does not know; upgrade this manager",
        )
    })?;
    Ok(match change {
        Wire::PutCluster(cluster) => Change::PutCluster(Arc::new(whole(cluster, "put_cluster")?)),
        Wire::PutNode(node) => Change::PutNode(Arc::new(whole(node, "put_node")?)),
        Wire::DeleteNode(it) => Change::DeleteNode {
            node: id::<NodeId>(&it.id, "delete_node.id")?,
            version: it.version,
        },
        Wire::Turned(it) => Change::Turned {
            node: id(&it.node, "turned.node")?,
            status: message(it.status, "turned.status")?,
        },
        Wire::GaveIngress(it) => Change::GaveIngress {
            node: id(&it.node, "gave_ingress.node")?,
            address: ipv4(&it.address, "gave_ingress.address")?,
        },
        Wire::PutService(service) => Change::PutService(Arc::new(whole(service, "put_service")?)),
        Wire::Progressed(it) => progressed(it)?,
        Wire::DeleteService(it) => Change::DeleteService {
            service: id::<ServiceId>(&it.id, "delete_service.id")?,
            version: it.version,
        },
        Wire::PutTask(task) => Change::PutTask(Arc::new(whole(task, "put_task")?)),
        Wire::DeleteTask(it) => Change::DeleteTask {
            task: id::<TaskId>(&it.id, "delete_task.id")?,
            version: it.version,
        },
        Wire::SetDesired(it) => Change::SetDesired {
            task: id(&it.task, "set_desired.task")?,
            desired: enumeration::<v1::TaskState, _>(it.desired, "set_desired.desired")?,
        },
        Wire::Replaced(it) => Change::Replaced {
            task: id(&it.task, "replaced.task")?,
            revision: it.revision,
        },
        Wire::Observed(it) => Change::Observed {
            task: id(&it.task, "observed.task")?,
            status: message(it.status, "observed.status")?,
        },
        Wire::Drained(task) => Change::Drained {
            task: id(&task, "drained")?,
        },
        Wire::Released(task) => Change::Released {
            task: id(&task, "released")?,
        },
        Wire::PutNetwork(network) => Change::PutNetwork(Arc::new(whole(network, "put_network")?)),
        Wire::DeleteNetwork(it) => Change::DeleteNetwork {
            network: id::<NetworkId>(&it.id, "delete_network.id")?,
            version: it.version,
        },
        Wire::PutFile(it) => put_file(it)?,
        Wire::DeleteFile(it) => Change::DeleteFile {
            file: message(it.id, "delete_file.id")?,
            version: it.version,
        },
        Wire::DropContent(it) => drop_content(it)?,
        Wire::PutToken(stored) => Change::PutToken(Arc::new(whole(stored, "put_token")?)),
        Wire::DeleteToken(it) => delete_token(it)?,
        Wire::PutDrill(it) => Change::PutDrill(Arc::new(whole(it, "put_drill")?)),
        Wire::PutImage(image) => Change::PutImage(Arc::new(whole(image, "put_image")?)),
        Wire::DeleteImage(name) => Change::DeleteImage { name },
    })
}

fn progressed(from: v1::Progressed) -> Result<Change, WireError> {
    Ok(Change::Progressed {
        service: id(&from.service, "progressed.service")?,
        version: from.version,
        update: Arc::new(message(from.update, "progressed.update")?),
    })
}

fn put_file(from: v1::PutFile) -> Result<Change, WireError> {
    let content = match from.content {
        Some(it) => Some(content(it)?.2),
        None => None,
    };
    Ok(Change::PutFile {
        file: Arc::new(message(from.file, "put_file.file")?),
        content,
    })
}

fn delete_token(from: v1::VersionedId) -> Result<Change, WireError> {
    Ok(Change::DeleteToken {
        token: id::<TokenId>(&from.id, "delete_token.id")?,
        version: from.version,
    })
}

fn drop_content(from: v1::FileRevisionKey) -> Result<Change, WireError> {
    Ok(Change::DropContent {
        file: message(from.file, "drop_content.file")?,
        revision: from.revision,
    })
}
