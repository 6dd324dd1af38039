//! Converts what a node's networks must look like.

use super::field::{address, address_bytes, enumeration, id, ipv4, list, message, number};
use super::{WireError, WireId, v1};
use crate::difference::NetworkHead;
use crate::view::{EndpointView, NetworkView, NodeView, PortView, ServiceView, View};

impl From<&View> for v1::View {
    fn from(view: &View) -> Self {
        Self {
            data_path_port: u32::from(view.data_path_port),
            nodes: view.nodes.iter().map(Into::into).collect(),
            networks: view.networks.iter().map(Into::into).collect(),
            ports: view.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::View> for View {
    type Error = WireError;

    fn try_from(from: v1::View) -> Result<Self, WireError> {
        Ok(Self {
            data_path_port: number(from.data_path_port, "data_path_port")?,
            nodes: list(from.nodes, "nodes")?,
            networks: list(from.networks, "networks")?,
            ports: list(from.ports, "ports")?,
        })
    }
}

impl From<&NodeView> for v1::NodeView {
    fn from(node: &NodeView) -> Self {
        Self {
            id: node.id.to_bytes(),
            address: address_bytes(node.address),
            number: u32::from(node.number),
            ingress: node.ingress.map(|address| address.octets().to_vec()),
        }
    }
}

impl TryFrom<v1::NodeView> for NodeView {
    type Error = WireError;

    fn try_from(from: v1::NodeView) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            address: address(&from.address, "address")?,
            number: number(from.number, "number")?,
            ingress: from
                .ingress
                .map(|bytes| ipv4(&bytes, "ingress"))
                .transpose()?,
        })
    }
}

impl From<&NetworkHead> for v1::NetworkHead {
    fn from(head: &NetworkHead) -> Self {
        Self {
            id: head.id.to_bytes(),
            name: head.name.clone(),
            revision: head.revision,
            vni: head.vni,
            subnet: Some(head.subnet.into()),
            gateway: head.gateway.octets().to_vec(),
            mtu: u32::from(head.mtu),
            internal: head.internal,
            ingress: head.ingress,
        }
    }
}

impl TryFrom<v1::NetworkHead> for NetworkHead {
    type Error = WireError;

    fn try_from(from: v1::NetworkHead) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            name: from.name,
            revision: from.revision,
            vni: from.vni,
            subnet: message(from.subnet, "subnet")?,
            gateway: ipv4(&from.gateway, "gateway")?,
            mtu: number(from.mtu, "mtu")?,
            internal: from.internal,
            ingress: from.ingress,
        })
    }
}

impl From<&NetworkView> for v1::NetworkView {
    fn from(network: &NetworkView) -> Self {
        Self {
            head: Some((&NetworkHead::of(network)).into()),
            endpoints: network.endpoints.iter().map(Into::into).collect(),
            services: network.services.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::NetworkView> for NetworkView {
    type Error = WireError;

    fn try_from(from: v1::NetworkView) -> Result<Self, WireError> {
        let head: NetworkHead = message(from.head, "head")?;
        Ok(head.with(
            list(from.endpoints, "endpoints")?,
            list(from.services, "services")?,
        ))
    }
}

impl From<&EndpointView> for v1::EndpointView {
    fn from(endpoint: &EndpointView) -> Self {
        Self {
            task: endpoint.task.to_bytes(),
            service: endpoint.service.to_bytes(),
            name: endpoint.name.clone(),
            address: endpoint.address.octets().to_vec(),
            node: endpoint.node.to_bytes(),
            state: v1::EndpointState::from(endpoint.state).into(),
        }
    }
}

impl TryFrom<v1::EndpointView> for EndpointView {
    type Error = WireError;

    fn try_from(from: v1::EndpointView) -> Result<Self, WireError> {
        Ok(Self {
            task: id(&from.task, "task")?,
            service: id(&from.service, "service")?,
            name: from.name,
            address: ipv4(&from.address, "address")?,
            node: id(&from.node, "node")?,
            state: enumeration::<v1::EndpointState, _>(from.state, "state")?,
        })
    }
}

impl From<&ServiceView> for v1::ServiceView {
    fn from(service: &ServiceView) -> Self {
        Self {
            id: service.id.to_bytes(),
            name: service.name.clone(),
            aliases: service.aliases.clone(),
            vip: service.vip.map(|address| address.octets().to_vec()),
        }
    }
}

impl TryFrom<v1::ServiceView> for ServiceView {
    type Error = WireError;

    fn try_from(from: v1::ServiceView) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            name: from.name,
            aliases: from.aliases,
            vip: from.vip.map(|bytes| ipv4(&bytes, "vip")).transpose()?,
        })
    }
}

impl From<&PortView> for v1::PortView {
    fn from(port: &PortView) -> Self {
        Self {
            service: port.service.to_bytes(),
            protocol: v1::Protocol::from(port.protocol).into(),
            published: u32::from(port.published),
            target: u32::from(port.target),
            mode: v1::PublishMode::from(port.mode).into(),
        }
    }
}

impl TryFrom<v1::PortView> for PortView {
    type Error = WireError;

    fn try_from(from: v1::PortView) -> Result<Self, WireError> {
        Ok(Self {
            service: id(&from.service, "service")?,
            protocol: enumeration::<v1::Protocol, _>(from.protocol, "protocol")?,
            published: number(from.published, "published")?,
            target: number(from.target, "target")?,
            mode: enumeration::<v1::PublishMode, _>(from.mode, "mode")?,
        })
    }
}
