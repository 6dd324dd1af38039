//! Converts what a manager tells a worker, and what a worker reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::field::{digest, enumeration, id, ipv4, list, message, network_port};
use super::{WireError, WireId, v1};
use crate::assignment::{AssignedAttachment, AssignedTask, Assignment, Generation, Report};
use crate::ids::{NetworkId, TaskId};
use crate::image::Digest;
use crate::spec::Protocol;
use crate::task::TaskStatus;

impl From<Generation> for v1::Generation {
    fn from(generation: Generation) -> Self {
        Self {
            incarnation: generation.incarnation,
            term: generation.term,
            index: generation.index,
        }
    }
}

impl TryFrom<v1::Generation> for Generation {
    type Error = WireError;

    fn try_from(from: v1::Generation) -> Result<Self, WireError> {
        Ok(Self {
            incarnation: from.incarnation,
            term: from.term,
            index: from.index,
        })
    }
}

impl From<&Assignment> for v1::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            generation: Some(assignment.generation.into()),
            tasks: assignment
                .tasks
                .values()
                .map(|task| task.as_ref().into())
                .collect(),
            view: Some(assignment.view.as_ref().into()),
        }
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = WireError;

    fn try_from(from: v1::Assignment) -> Result<Self, WireError> {
        let mut tasks = BTreeMap::new();
        for task in list::<_, AssignedTask>(from.tasks, "tasks")? {
            let id = task.id;
            if tasks.insert(id, Arc::new(task)).is_some() {
                return Err(WireError::new("tasks", format!("task {id} is in it twice")));
            }
        }
        Ok(Self {
            generation: message(from.generation, "generation")?,
            tasks,
            view: Arc::new(message(from.view, "view")?),
        })
    }
}

impl From<&AssignedTask> for v1::AssignedTask {
    fn from(task: &AssignedTask) -> Self {
        Self {
            id: task.id.to_bytes(),
            service: task.service.to_bytes(),
            service_name: task.service_name.clone(),
            slot: Some(task.slot.into()),
            spec: Some(task.spec.as_ref().into()),
            desired: v1::TaskState::from(task.desired).into(),
            attachments: task.attachments.iter().map(Into::into).collect(),
            drained: task.drained,
            registry_auth: task.auth.as_deref().map(Into::into),
            files: task.files.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::AssignedTask> for AssignedTask {
    type Error = WireError;

    fn try_from(from: v1::AssignedTask) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            service: id(&from.service, "service")?,
            service_name: from.service_name,
            slot: message(from.slot, "slot")?,
            spec: Arc::new(message(from.spec, "spec")?),
            desired: enumeration::<v1::TaskState, _>(from.desired, "desired")?,
            attachments: list(from.attachments, "attachments")?,
            drained: from.drained,
            auth: from.registry_auth.map(|auth| Arc::new(auth.into())),
            files: list(from.files, "files")?,
        })
    }
}

impl From<&AssignedAttachment> for v1::AssignedAttachment {
    fn from(attachment: &AssignedAttachment) -> Self {
        Self {
            network: attachment.network.to_bytes(),
            address: attachment.address.octets().to_vec(),
            subnet: Some(attachment.subnet.into()),
            aliases: attachment.aliases.clone(),
            ingress: attachment.ingress,
        }
    }
}

impl TryFrom<v1::AssignedAttachment> for AssignedAttachment {
    type Error = WireError;

    fn try_from(from: v1::AssignedAttachment) -> Result<Self, WireError> {
        Ok(Self {
            network: id(&from.network, "network")?,
            address: ipv4(&from.address, "address")?,
            subnet: message(from.subnet, "subnet")?,
            aliases: from.aliases,
            ingress: from.ingress,
        })
    }
}

impl From<&Report> for v1::Report {
    fn from(report: &Report) -> Self {
        Self {
            tasks: report
                .tasks
                .iter()
                .map(|(task, status)| v1::TaskReport {
                    task: task.to_bytes(),
                    status: Some(status.into()),
                })
                .collect(),
            networks: report
                .networks
                .iter()
                .map(|(network, revision)| v1::NetworkRevision {
                    network: network.to_bytes(),
                    revision: *revision,
                })
                .collect(),
            images: report.images.as_deref().map(Into::into),
            taken_ports: report.taken_ports.as_deref().map(ports_out),
            volumes: report
                .volumes
                .clone()
                .map(|names| v1::VolumeNames { names }),
        }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = WireError;

    fn try_from(from: v1::Report) -> Result<Self, WireError> {
        let task = |report: v1::TaskReport| -> Result<(TaskId, TaskStatus), WireError> {
            Ok((id(&report.task, "task")?, message(report.status, "status")?))
        };
        let network = |known: v1::NetworkRevision| -> Result<(NetworkId, u64), WireError> {
            Ok((id(&known.network, "network")?, known.revision))
        };
        Ok(Self {
            tasks: from
                .tasks
                .into_iter()
                .map(|report| task(report).map_err(|error| error.within("tasks")))
                .collect::<Result<_, _>>()?,
            networks: from
                .networks
                .into_iter()
                .map(|known| network(known).map_err(|error| error.within("networks")))
                .collect::<Result<_, _>>()?,
            images: from.images.map(Vec::<Digest>::try_from).transpose()?,
            taken_ports: from.taken_ports.map(ports_in).transpose()?,
            volumes: from.volumes.map(|volumes| volumes.names),
        })
    }
}

fn ports_out(ports: &[(Protocol, u16)]) -> v1::NodePorts {
    let port = |(protocol, port): &(Protocol, u16)| v1::NodePort {
        protocol: v1::Protocol::from(*protocol).into(),
        port: (*port).into(),
    };
    v1::NodePorts {
        ports: ports.iter().map(port).collect(),
    }
}

fn ports_in(from: v1::NodePorts) -> Result<Vec<(Protocol, u16)>, WireError> {
    let port = |from: v1::NodePort| {
        let protocol = enumeration::<v1::Protocol, _>(from.protocol, "protocol")?;
        Ok((protocol, network_port(from.port, "port")?))
    };
    let ports = from
        .ports
        .into_iter()
        .map(port)
        .collect::<Result<_, WireError>>();
    ports.map_err(|error| error.within("taken_ports"))
}

impl From<&[Digest]> for v1::ImageDigests {
    fn from(digests: &[Digest]) -> Self {
        Self {
            digests: digests.iter().map(|digest| digest.0.to_vec()).collect(),
        }
    }
}

impl TryFrom<v1::ImageDigests> for Vec<Digest> {
    type Error = WireError;

    fn try_from(from: v1::ImageDigests) -> Result<Self, WireError> {
        from.digests
            .iter()
            .map(|bytes| digest(bytes, "digests"))
            .collect()
    }
}
