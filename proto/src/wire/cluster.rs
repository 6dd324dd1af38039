//! Converts the cluster itself, with its secrets: for the log and snapshots only.

use std::time::Duration;

use super::field::{id, message, millis, number, secret};
use super::{WireError, WireId, v1};
use crate::cluster::{Authority, Cluster, ClusterSpec, JoinSecrets};
use crate::time::WallTime;

impl From<&Cluster> for v1::Cluster {
    fn from(cluster: &Cluster) -> Self {
        Self {
            id: cluster.id.to_bytes(),
            version: cluster.version,
            created_ms: cluster.created.unix_millis(),
            spec: Some((&cluster.spec).into()),
            authority: Some(v1::Authority {
                certificate: cluster.authority.certificate.clone(),
                key: cluster.authority.key.clone(),
            }),
            tokens: Some(v1::JoinSecrets {
                worker: cluster.tokens.worker.to_vec(),
                manager: cluster.tokens.manager.to_vec(),
            }),
            feature_level: cluster.feature_level,
            incarnation: cluster.incarnation,
        }
    }
}

impl TryFrom<v1::Cluster> for Cluster {
    type Error = WireError;

    fn try_from(from: v1::Cluster) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            version: from.version,
            created: WallTime::from_unix_millis(from.created_ms),
            spec: message(from.spec, "spec")?,
            authority: message(from.authority, "authority")?,
            tokens: message(from.tokens, "tokens")?,
            feature_level: from.feature_level,
            incarnation: from.incarnation,
        })
    }
}

impl TryFrom<v1::Authority> for Authority {
    type Error = WireError;

    fn try_from(from: v1::Authority) -> Result<Self, WireError> {
        Ok(Self {
            certificate: from.certificate,
            key: from.key,
        })
    }
}

impl TryFrom<v1::JoinSecrets> for JoinSecrets {
    type Error = WireError;

    fn try_from(from: v1::JoinSecrets) -> Result<Self, WireError> {
        Ok(Self {
            worker: secret(&from.worker, "worker")?,
            manager: secret(&from.manager, "manager")?,
        })
    }
}

impl From<&ClusterSpec> for v1::ClusterSpec {
    fn from(spec: &ClusterSpec) -> Self {
        Self {
            heartbeat_ms: millis(spec.heartbeat),
            down_after_ms: millis(spec.down_after),
            orphan_after_ms: millis(spec.orphan_after),
            task_history: spec.task_history,
            certificate_expiry_ms: millis(spec.certificate_expiry),
            pool: Some(spec.pool.into()),
            pool_prefix: u32::from(spec.pool_prefix),
            data_path_port: u32::from(spec.data_path_port),
        }
    }
}

impl TryFrom<v1::ClusterSpec> for ClusterSpec {
    type Error = WireError;

    fn try_from(from: v1::ClusterSpec) -> Result<Self, WireError> {
        Ok(Self {
            heartbeat: Duration::from_millis(from.heartbeat_ms),
            down_after: Duration::from_millis(from.down_after_ms),
            orphan_after: Duration::from_millis(from.orphan_after_ms),
            task_history: from.task_history,
            certificate_expiry: Duration::from_millis(from.certificate_expiry_ms),
            pool: message(from.pool, "pool")?,
            pool_prefix: number(from.pool_prefix, "pool_prefix")?,
            data_path_port: number(from.data_path_port, "data_path_port")?,
        })
    }
}
