//! Converts the step from one assignment to the next.

use std::sync::Arc;

use super::field::{ids, list, message, number};
use super::{WireError, WireId, v1};
use crate::assignment::AssignedTask;
use crate::difference::{Difference, NetworkDifference};

fn id_bytes<T: WireId>(ids: &[T]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| id.to_bytes()).collect()
}

impl From<&Difference> for v1::Difference {
    fn from(difference: &Difference) -> Self {
        Self {
            base: Some(difference.base.into()),
            generation: Some(difference.generation.into()),
            put_tasks: difference
                .put_tasks
                .iter()
                .map(|task| task.as_ref().into())
                .collect(),
            removed_tasks: id_bytes(&difference.removed_tasks),
            put_nodes: difference.put_nodes.iter().map(Into::into).collect(),
            removed_nodes: id_bytes(&difference.removed_nodes),
            networks: difference.networks.iter().map(Into::into).collect(),
            removed_networks: id_bytes(&difference.removed_networks),
            ports: difference.ports.as_ref().map(|ports| v1::Ports {
                ports: ports.iter().map(Into::into).collect(),
            }),
            data_path_port: difference.data_path_port.map(u32::from),
        }
    }
}

impl TryFrom<v1::Difference> for Difference {
    type Error = WireError;

    fn try_from(from: v1::Difference) -> Result<Self, WireError> {
        Ok(Self {
            base: message(from.base, "base")?,
            generation: message(from.generation, "generation")?,
            put_tasks: list::<_, AssignedTask>(from.put_tasks, "put_tasks")?
                .into_iter()
                .map(Arc::new)
                .collect(),
            removed_tasks: ids(&from.removed_tasks, "removed_tasks")?,
            put_nodes: list(from.put_nodes, "put_nodes")?,
            removed_nodes: ids(&from.removed_nodes, "removed_nodes")?,
            networks: list(from.networks, "networks")?,
            removed_networks: ids(&from.removed_networks, "removed_networks")?,
            ports: from
                .ports
                .map(|ports| list(ports.ports, "ports"))
                .transpose()?,
            data_path_port: from
                .data_path_port
                .map(|port| number(port, "data_path_port"))
                .transpose()?,
        })
    }
}

impl From<&NetworkDifference> for v1::NetworkDifference {
    fn from(difference: &NetworkDifference) -> Self {
        Self {
            head: Some((&difference.head).into()),
            base: difference.base,
            put_endpoints: difference.put_endpoints.iter().map(Into::into).collect(),
            removed_endpoints: id_bytes(&difference.removed_endpoints),
            put_services: difference.put_services.iter().map(Into::into).collect(),
            removed_services: id_bytes(&difference.removed_services),
        }
    }
}

impl TryFrom<v1::NetworkDifference> for NetworkDifference {
    type Error = WireError;

    fn try_from(from: v1::NetworkDifference) -> Result<Self, WireError> {
        Ok(Self {
            head: message(from.head, "head")?,
            base: from.base,
            put_endpoints: list(from.put_endpoints, "put_endpoints")?,
            removed_endpoints: ids(&from.removed_endpoints, "removed_endpoints")?,
            put_services: list(from.put_services, "put_services")?,
            removed_services: ids(&from.removed_services, "removed_services")?,
        })
    }
}
