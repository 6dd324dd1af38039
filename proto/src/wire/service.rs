//! Converts a service as the cluster keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::field::{enumeration, id, ipv4, list, message, number, optional};
use super::{WireError, WireId, v1};
use crate::ids::NetworkId;
use crate::service::{PortBinding, Revision, Service, Update};
use crate::spec::TaskSpec;
use crate::task::Slot;
use crate::time::{ClusterTime, WallTime};

impl From<&Service> for v1::Service {
    fn from(service: &Service) -> Self {
        Self {
            id: service.id.to_bytes(),
            version: service.version,
            created_ms: service.created.unix_millis(),
            updated_ms: service.updated.unix_millis(),
            spec: Some(service.spec.as_ref().into()),
            revision: service.revision,
            template: service.template,
            templates: service
                .templates
                .iter()
                .map(|(revision, spec)| (*revision, spec.as_ref().into()))
                .collect(),
            vips: service
                .vips
                .iter()
                .map(|(network, address)| network_address(*network, *address))
                .collect(),
            ports: service.ports.iter().map(Into::into).collect(),
            removed_ms: service.removed.map(ClusterTime::millis),
            // Only the log and snapshots have it: see `with_auth`.
            registry_auth: None,
            history: service.history.iter().map(Into::into).collect(),
            update: service.update.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = WireError;

    fn try_from(from: v1::Service) -> Result<Self, WireError> {
        let template = |(revision, spec): (u64, v1::TaskSpec)| {
            let spec = TaskSpec::try_from(spec)
                .map_err(|error| error.within(format_args!("templates[{revision}]")))?;
            Ok((revision, Arc::new(spec)))
        };
        let mut vips = BTreeMap::new();
        for vip in &from.vips {
            let (network, address) = read_network_address(vip)?;
            if vips.insert(network, address).is_some() {
                return Err(WireError::new(
                    "vips",
                    format!("network {network} is in it twice"),
                ));
            }
        }
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            created: WallTime::from_unix_millis(from.created_ms),
            updated: WallTime::from_unix_millis(from.updated_ms),
            spec: Arc::new(message(from.spec, "spec")?),
            revision: from.revision,
            template: from.template,
            templates: from
                .templates
                .into_iter()
                .map(template)
                .collect::<Result<_, _>>()?,
            vips,
            ports: list(from.ports, "ports")?,
            removed: from.removed_ms.map(ClusterTime::from_millis),
            auth: from.registry_auth.map(|auth| Arc::new(auth.into())),
            history: list(from.history, "history")?,
            update: optional(from.update, "update")?,
        })
    }
}

impl From<&Revision> for v1::Revision {
    fn from(revision: &Revision) -> Self {
        Self {
            number: revision.number,
            spec: Some(revision.spec.as_ref().into()),
            at_ms: revision.at.unix_millis(),
            by: revision.by.clone(),
            why: revision.why.clone(),
        }
    }
}

impl TryFrom<v1::Revision> for Revision {
    type Error = WireError;

    fn try_from(from: v1::Revision) -> Result<Self, WireError> {
        Ok(Self {
            number: from.number,
            spec: Arc::new(message(from.spec, "spec")?),
            at: WallTime::from_unix_millis(from.at_ms),
            by: from.by,
            why: from.why,
        })
    }
}

impl From<&Update> for v1::Update {
    fn from(update: &Update) -> Self {
        let slots = |slots: &BTreeSet<Slot>| slots.iter().map(|slot| (*slot).into()).collect();
        Self {
            state: v1::UpdateState::from(update.state).into(),
            from: update.from,
            to: update.to,
            started_ms: update.started.unix_millis(),
            ended_ms: update.ended.map(WallTime::unix_millis),
            message: update.message.clone(),
            config: Some((&update.config).into()),
            total: update.total,
            replacing: slots(&update.replacing),
            failed: slots(&update.failed),
        }
    }
}

impl TryFrom<v1::Update> for Update {
    type Error = WireError;

    fn try_from(from: v1::Update) -> Result<Self, WireError> {
        Ok(Self {
            state: enumeration::<v1::UpdateState, _>(from.state, "state")?,
            from: from.from,
            to: from.to,
            started: WallTime::from_unix_millis(from.started_ms),
            ended: from.ended_ms.map(WallTime::from_unix_millis),
            message: from.message,
            config: message(from.config, "config")?,
            total: from.total,
            replacing: list(from.replacing, "replacing")?.into_iter().collect(),
            failed: list(from.failed, "failed")?.into_iter().collect(),
        })
    }
}

pub(super) fn network_address(network: NetworkId, address: Ipv4Addr) -> v1::NetworkAddress {
    v1::NetworkAddress {
        network: network.to_bytes(),
        address: address.octets().to_vec(),
    }
}

pub(super) fn read_network_address(
    from: &v1::NetworkAddress,
) -> Result<(NetworkId, Ipv4Addr), WireError> {
    Ok((
        id(&from.network, "network")?,
        ipv4(&from.address, "address")?,
    ))
}

impl From<&PortBinding> for v1::PortBinding {
    fn from(port: &PortBinding) -> Self {
        Self {
            protocol: v1::Protocol::from(port.protocol).into(),
            target: u32::from(port.target),
            published: u32::from(port.published),
            mode: v1::PublishMode::from(port.mode).into(),
        }
    }
}

impl TryFrom<v1::PortBinding> for PortBinding {
    type Error = WireError;

    fn try_from(from: v1::PortBinding) -> Result<Self, WireError> {
        Ok(Self {
            protocol: enumeration::<v1::Protocol, _>(from.protocol, "protocol")?,
            target: number(from.target, "target")?,
            published: number(from.published, "published")?,
            mode: enumeration::<v1::PublishMode, _>(from.mode, "mode")?,
        })
    }
}
