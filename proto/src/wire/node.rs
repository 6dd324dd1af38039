//! Converts a node and what it says of itself.

use std::net::SocketAddr;

use super::field::{
    address, address_bytes, enumeration, id, list, message, network_port, number, optional,
};
use super::{WireError, WireId, v1};
use crate::ids::RaftId;
use crate::node::{ManagerStatus, Node, NodeDescription, NodeSpec, NodeStatus, Place};
use crate::time::{ClusterTime, WallTime};

impl From<&Node> for v1::Node {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.to_bytes(),
            version: node.version,
            created_ms: node.created.unix_millis(),
            spec: Some((&node.spec).into()),
            description: Some((&node.description).into()),
            address: address_bytes(node.address),
            status: Some((&node.status).into()),
            number: u32::from(node.number),
            manager: node.manager.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = WireError;

    fn try_from(from: v1::Node) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            created: WallTime::from_unix_millis(from.created_ms),
            spec: message(from.spec, "spec")?,
            description: message(from.description, "description")?,
            address: address(&from.address, "address")?,
            status: message(from.status, "status")?,
            number: number(from.number, "number")?,
            manager: optional(from.manager, "manager")?,
        })
    }
}

impl From<Place> for v1::Place {
    fn from(place: Place) -> Self {
        Self {
            role: v1::Role::from(place.role).into(),
            raft: place.raft.map(|raft| raft.0),
        }
    }
}

impl TryFrom<v1::Place> for Place {
    type Error = WireError;

    fn try_from(from: v1::Place) -> Result<Self, WireError> {
        Ok(Self {
            role: enumeration::<v1::Role, _>(from.role, "role")?,
            raft: from.raft.map(RaftId),
        })
    }
}

impl From<&NodeSpec> for v1::NodeSpec {
    fn from(spec: &NodeSpec) -> Self {
        Self {
            labels: spec.labels.clone(),
            role: v1::Role::from(spec.role).into(),
            availability: v1::Availability::from(spec.availability).into(),
        }
    }
}

impl TryFrom<v1::NodeSpec> for NodeSpec {
    type Error = WireError;

    fn try_from(from: v1::NodeSpec) -> Result<Self, WireError> {
        Ok(Self {
            labels: from.labels,
            role: enumeration::<v1::Role, _>(from.role, "role")?,
            availability: enumeration::<v1::Availability, _>(from.availability, "availability")?,
        })
    }
}

impl From<&NodeDescription> for v1::NodeDescription {
    fn from(description: &NodeDescription) -> Self {
        Self {
            hostname: description.hostname.clone(),
            os: description.os.clone(),
            arch: description.arch.clone(),
            resources: Some(description.resources.into()),
            engine: description.engine.clone(),
            labels: description.labels.clone(),
            routes: description.routes.iter().map(|net| (*net).into()).collect(),
            door: description.door.map(u32::from),
            volumes: description.volumes.clone(),
            generic: description.generic.clone(),
        }
    }
}

impl TryFrom<v1::NodeDescription> for NodeDescription {
    type Error = WireError;

    fn try_from(from: v1::NodeDescription) -> Result<Self, WireError> {
        Ok(Self {
            hostname: from.hostname,
            os: from.os,
            arch: from.arch,
            resources: message(from.resources, "resources")?,
            engine: from.engine,
            labels: from.labels,
            routes: list(from.routes, "routes")?,
            door: from
                .door
                .map(|port| network_port(port, "door"))
                .transpose()?,
            volumes: from.volumes,
            generic: from.generic,
        })
    }
}

impl From<&NodeStatus> for v1::NodeStatus {
    fn from(status: &NodeStatus) -> Self {
        Self {
            state: v1::NodeState::from(status.state).into(),
            since_ms: status.since.millis(),
            message: status.message.clone(),
        }
    }
}

impl TryFrom<v1::NodeStatus> for NodeStatus {
    type Error = WireError;

    fn try_from(from: v1::NodeStatus) -> Result<Self, WireError> {
        Ok(Self {
            state: enumeration::<v1::NodeState, _>(from.state, "state")?,
            since: ClusterTime::from_millis(from.since_ms),
            message: from.message,
        })
    }
}

impl From<&ManagerStatus> for v1::ManagerStatus {
    fn from(status: &ManagerStatus) -> Self {
        Self {
            raft: status.raft.0,
            address: Some(status.address.into()),
        }
    }
}

impl TryFrom<v1::ManagerStatus> for ManagerStatus {
    type Error = WireError;

    fn try_from(from: v1::ManagerStatus) -> Result<Self, WireError> {
        Ok(Self {
            raft: RaftId(from.raft),
            address: message::<_, SocketAddr>(from.address, "address")?,
        })
    }
}
