//! Converts a task, its slot and its status.

use super::field::{enumeration, id, list, message};
use super::service::{network_address, read_network_address};
use super::{WireError, WireId, v1};
use crate::task::{Attachment, Slot, Task, TaskStatus};
use crate::time::{ClusterTime, WallTime};

impl From<&Task> for v1::Task {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id.to_bytes(),
            version: task.version,
            service: task.service.to_bytes(),
            template: task.template,
            slot: Some(task.slot.into()),
            node: task.node.map(WireId::to_bytes),
            desired: v1::TaskState::from(task.desired).into(),
            status: Some((&task.status).into()),
            created_ms: task.created.millis(),
            start_at_ms: task.start_at.map(ClusterTime::millis),
            attachments: task.attachments.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Task> for Task {
    type Error = WireError;

    fn try_from(from: v1::Task) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            service: id(&from.service, "service")?,
            template: from.template,
            slot: message(from.slot, "slot")?,
            node: from.node.map(|node| id(&node, "node")).transpose()?,
            desired: enumeration::<v1::TaskState, _>(from.desired, "desired")?,
            status: message(from.status, "status")?,
            created: ClusterTime::from_millis(from.created_ms),
            start_at: from.start_at_ms.map(ClusterTime::from_millis),
            attachments: list(from.attachments, "attachments")?,
        })
    }
}

impl From<Slot> for v1::Slot {
    fn from(slot: Slot) -> Self {
        Self {
            place: Some(match slot {
                Slot::Replica(number) => v1::slot::Place::Replica(number),
                Slot::Node(node) => v1::slot::Place::Node(node.to_bytes()),
            }),
        }
    }
}

impl TryFrom<v1::Slot> for Slot {
    type Error = WireError;

    fn try_from(from: v1::Slot) -> Result<Self, WireError> {
        match from.place.ok_or_else(|| WireError::missing("place"))? {
            v1::slot::Place::Replica(number) => Ok(Self::Replica(number)),
            v1::slot::Place::Node(node) => Ok(Self::Node(id(&node, "node")?)),
        }
    }
}

impl From<&TaskStatus> for v1::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        Self {
            state: v1::TaskState::from(status.state).into(),
            at_ms: status.at.unix_millis(),
            message: status.message.clone(),
            error: status.error.clone(),
            exit_code: status.exit_code,
            pid: status.pid,
        }
    }
}

impl TryFrom<v1::TaskStatus> for TaskStatus {
    type Error = WireError;

    fn try_from(from: v1::TaskStatus) -> Result<Self, WireError> {
        Ok(Self {
            state: enumeration::<v1::TaskState, _>(from.state, "state")?,
            at: WallTime::from_unix_millis(from.at_ms),
            message: from.message,
            error: from.error,
            exit_code: from.exit_code,
            pid: from.pid,
        })
    }
}

impl From<&Attachment> for v1::NetworkAddress {
    fn from(attachment: &Attachment) -> Self {
        network_address(attachment.network, attachment.address)
    }
}

impl TryFrom<v1::NetworkAddress> for Attachment {
    type Error = WireError;

    fn try_from(from: v1::NetworkAddress) -> Result<Self, WireError> {
        let (network, address) = read_network_address(&from)?;
        Ok(Self { network, address })
    }
}
