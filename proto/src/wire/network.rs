//! Converts a network as the user asks for it and as the cluster keeps it.

use super::field::{id, ipv4, message, number, optional};
use super::{WireError, WireId, v1};
use crate::network::{Network, NetworkSpec};
use crate::time::WallTime;

impl From<&NetworkSpec> for v1::NetworkSpec {
    fn from(spec: &NetworkSpec) -> Self {
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: spec.ingress,
            subnet: spec.subnet.map(Into::into),
            gateway: spec.gateway.map(|address| address.octets().to_vec()),
            mtu: spec.mtu.map(u32::from),
        }
    }
}

impl TryFrom<v1::NetworkSpec> for NetworkSpec {
    type Error = WireError;

    fn try_from(from: v1::NetworkSpec) -> Result<Self, WireError> {
        Ok(Self {
            name: from.name,
            labels: from.labels,
            internal: from.internal,
            attachable: from.attachable,
            ingress: from.ingress,
            subnet: optional(from.subnet, "subnet")?,
            gateway: from
                .gateway
                .map(|bytes| ipv4(&bytes, "gateway"))
                .transpose()?,
            mtu: from.mtu.map(|mtu| number(mtu, "mtu")).transpose()?,
        })
    }
}

impl From<&Network> for v1::Network {
    fn from(network: &Network) -> Self {
        Self {
            id: network.id.to_bytes(),
            version: network.version,
            created_ms: network.created.unix_millis(),
            spec: Some((&network.spec).into()),
            subnet: Some(network.subnet.into()),
            gateway: network.gateway.octets().to_vec(),
            vni: network.vni,
            last_given: network.last_given.octets().to_vec(),
        }
    }
}

impl TryFrom<v1::Network> for Network {
    type Error = WireError;

    fn try_from(from: v1::Network) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            created: WallTime::from_unix_millis(from.created_ms),
            spec: message(from.spec, "spec")?,
            subnet: message(from.subnet, "subnet")?,
            gateway: ipv4(&from.gateway, "gateway")?,
            vni: from.vni,
            last_given: ipv4(&from.last_given, "last_given")?,
        })
    }
}
