//! Converts what a user asks for.

use std::time::Duration;

use super::field::{digest, enumeration, id, list, message, millis, number, optional};
use super::{WireError, WireId, v1};
use crate::constraint::{Constraint, Key};
use crate::image::{Image, ImageRef};
use crate::resources::{Limits, Resources};
use crate::spec::{
    EndpointMode, LogDriver, Mode, NetworkUse, Platform, PortSpec, RestartPolicy, ServiceSpec,
    TaskSpec, UpdateConfig,
};

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            mode: Some(spec.mode.into()),
            task: Some((&spec.task).into()),
            ports: spec.ports.iter().map(Into::into).collect(),
            endpoint: Some(v1::EndpointMode::from(spec.endpoint).into()),
            update: Some((&spec.update).into()),
            rollback: Some((&spec.rollback).into()),
            lost_after_ms: spec.lost_after.map(millis),
        }
    }
}

impl TryFrom<v1::ServiceSpec> for ServiceSpec {
    type Error = WireError;

    fn try_from(from: v1::ServiceSpec) -> Result<Self, WireError> {
        let mode = from.mode.ok_or_else(|| WireError::missing("mode"))?;
        let endpoint = from
            .endpoint
            .map(|mode| enumeration::<v1::EndpointMode, _>(mode, "endpoint"));
        Ok(Self {
            name: from.name,
            labels: from.labels,
            mode: mode.into(),
            task: message(from.task, "task")?,
            ports: list(from.ports, "ports")?,
            endpoint: endpoint.transpose()?.unwrap_or(EndpointMode::Vip),
            update: optional(from.update, "update")?.unwrap_or_default(),
            rollback: optional(from.rollback, "rollback")?.unwrap_or_default(),
            lost_after: from.lost_after_ms.map(Duration::from_millis),
        })
    }
}

impl From<Mode> for v1::service_spec::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Replicated { replicas } => Self::Replicated(v1::Replicated { replicas }),
            Mode::Global => Self::Global(v1::Global {}),
            Mode::ReplicatedJob {
                total,
                max_concurrent,
            } => Self::ReplicatedJob(v1::ReplicatedJob {
                total,
                max_concurrent,
            }),
            Mode::GlobalJob => Self::GlobalJob(v1::GlobalJob {}),
        }
    }
}

impl From<v1::service_spec::Mode> for Mode {
    fn from(mode: v1::service_spec::Mode) -> Self {
        use v1::service_spec::Mode as Wire;
        match mode {
            Wire::Replicated(v1::Replicated { replicas }) => Self::Replicated { replicas },
            Wire::Global(v1::Global {}) => Self::Global,
            Wire::ReplicatedJob(v1::ReplicatedJob {
                total,
                max_concurrent,
            }) => Self::ReplicatedJob {
                total,
                max_concurrent,
            },
            Wire::GlobalJob(v1::GlobalJob {}) => Self::GlobalJob,
        }
    }
}

impl From<&UpdateConfig> for v1::UpdateConfig {
    fn from(config: &UpdateConfig) -> Self {
        Self {
            parallelism: config.parallelism,
            delay_ms: millis(config.delay),
            failure_action: v1::FailureAction::from(config.failure_action).into(),
            monitor_ms: millis(config.monitor),
            max_failure_millionths: config.max_failure_millionths,
            order: v1::UpdateOrder::from(config.order).into(),
            progress_deadline_ms: config.progress_deadline.map(millis),
        }
    }
}

impl TryFrom<v1::UpdateConfig> for UpdateConfig {
    type Error = WireError;

    fn try_from(from: v1::UpdateConfig) -> Result<Self, WireError> {
        Ok(Self {
            parallelism: from.parallelism,
            delay: Duration::from_millis(from.delay_ms),
            failure_action: enumeration::<v1::FailureAction, _>(
                from.failure_action,
                "failure_action",
            )?,
            monitor: Duration::from_millis(from.monitor_ms),
            max_failure_millionths: from.max_failure_millionths,
            order: enumeration::<v1::UpdateOrder, _>(from.order, "order")?,
            progress_deadline: from.progress_deadline_ms.map(Duration::from_millis),
        })
    }
}

impl From<&TaskSpec> for v1::TaskSpec {
    fn from(spec: &TaskSpec) -> Self {
        Self {
            container: Some((&spec.container).into()),
            limits: Some(spec.limits.into()),
            reservations: Some(spec.reservations.into()),
            restart: Some((&spec.restart).into()),
            constraints: spec.constraints.iter().map(Into::into).collect(),
            networks: spec.networks.iter().map(Into::into).collect(),
            spread: spec.spread.iter().map(Into::into).collect(),
            max_per_node: spec.max_per_node,
            platforms: spec.platforms.iter().map(Into::into).collect(),
            generic: spec.generic.clone(),
            log: spec.log.as_ref().map(Into::into),
            force: spec.force,
        }
    }
}

impl TryFrom<v1::TaskSpec> for TaskSpec {
    type Error = WireError;

    fn try_from(from: v1::TaskSpec) -> Result<Self, WireError> {
        Ok(Self {
            container: message(from.container, "container")?,
            limits: message(from.limits, "limits")?,
            reservations: message(from.reservations, "reservations")?,
            restart: message(from.restart, "restart")?,
            constraints: list(from.constraints, "constraints")?,
            networks: list(from.networks, "networks")?,
            spread: list(from.spread, "spread")?,
            max_per_node: from.max_per_node,
            platforms: from.platforms.into_iter().map(Into::into).collect(),
            generic: from.generic,
            log: from.log.map(Into::into),
            force: from.force,
        })
    }
}

impl From<&Platform> for v1::Platform {
    fn from(platform: &Platform) -> Self {
        Self {
            os: platform.os.clone(),
            arch: platform.arch.clone(),
        }
    }
}

impl From<v1::Platform> for Platform {
    fn from(from: v1::Platform) -> Self {
        Self {
            os: from.os,
            arch: from.arch,
        }
    }
}

impl From<&LogDriver> for v1::LogDriver {
    fn from(driver: &LogDriver) -> Self {
        Self {
            name: driver.name.clone(),
            options: driver.options.clone(),
        }
    }
}

impl From<v1::LogDriver> for LogDriver {
    fn from(from: v1::LogDriver) -> Self {
        Self {
            name: from.name,
            options: from.options,
        }
    }
}

impl From<&ImageRef> for v1::ImageRef {
    fn from(image: &ImageRef) -> Self {
        Self {
            name: image.name.clone(),
            digest: image.digest.map(|digest| digest.0.to_vec()),
        }
    }
}

impl TryFrom<v1::ImageRef> for ImageRef {
    type Error = WireError;

    fn try_from(from: v1::ImageRef) -> Result<Self, WireError> {
        Ok(Self {
            name: from.name,
            digest: from
                .digest
                .map(|bytes| digest(&bytes, "digest"))
                .transpose()?,
        })
    }
}

impl From<&Image> for v1::Image {
    fn from(image: &Image) -> Self {
        Self {
            name: image.name.clone(),
            digest: image.digest.0.to_vec(),
            size: image.size,
        }
    }
}

impl TryFrom<v1::Image> for Image {
    type Error = WireError;

    fn try_from(from: v1::Image) -> Result<Self, WireError> {
        Ok(Self {
            name: from.name,
            digest: digest(&from.digest, "digest")?,
            size: from.size,
        })
    }
}

impl From<Resources> for v1::Resources {
    fn from(resources: Resources) -> Self {
        Self {
            nano_cpus: resources.nano_cpus,
            memory: resources.memory,
        }
    }
}

impl TryFrom<v1::Resources> for Resources {
    type Error = WireError;

    fn try_from(from: v1::Resources) -> Result<Self, WireError> {
        Ok(Self {
            nano_cpus: from.nano_cpus,
            memory: from.memory,
        })
    }
}

impl From<Limits> for v1::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            nano_cpus: limits.nano_cpus,
            memory: limits.memory,
            pids: limits.pids,
        }
    }
}

impl TryFrom<v1::Limits> for Limits {
    type Error = WireError;

    fn try_from(from: v1::Limits) -> Result<Self, WireError> {
        Ok(Self {
            nano_cpus: from.nano_cpus,
            memory: from.memory,
            pids: from.pids,
        })
    }
}

impl From<&RestartPolicy> for v1::RestartPolicy {
    fn from(policy: &RestartPolicy) -> Self {
        Self {
            condition: v1::RestartCondition::from(policy.condition).into(),
            delay_ms: millis(policy.delay),
            max_attempts: policy.max_attempts,
            window_ms: millis(policy.window),
        }
    }
}

impl TryFrom<v1::RestartPolicy> for RestartPolicy {
    type Error = WireError;

    fn try_from(from: v1::RestartPolicy) -> Result<Self, WireError> {
        Ok(Self {
            condition: enumeration::<v1::RestartCondition, _>(from.condition, "condition")?,
            delay: Duration::from_millis(from.delay_ms),
            max_attempts: from.max_attempts,
            window: Duration::from_millis(from.window_ms),
        })
    }
}

impl From<&Constraint> for v1::Constraint {
    fn from(constraint: &Constraint) -> Self {
        let (key, label) = key_out(&constraint.key);
        Self {
            key,
            label,
            operator: v1::ConstraintOperator::from(constraint.operator).into(),
            value: constraint.value.clone(),
            or: constraint.or.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Constraint> for Constraint {
    type Error = WireError;

    fn try_from(from: v1::Constraint) -> Result<Self, WireError> {
        Ok(Self {
            key: key_in(from.key, from.label)?,
            operator: enumeration::<v1::ConstraintOperator, _>(from.operator, "operator")?,
            value: from.value,
            or: list(from.or, "or")?,
        })
    }
}

impl From<&Key> for v1::Spread {
    fn from(key: &Key) -> Self {
        let (key, label) = key_out(key);
        Self { key, label }
    }
}

impl TryFrom<v1::Spread> for Key {
    type Error = WireError;

    fn try_from(from: v1::Spread) -> Result<Self, WireError> {
        key_in(from.key, from.label)
    }
}

fn key_out(key: &Key) -> (i32, String) {
    let (key, label) = match key {
        Key::Id => (v1::ConstraintKey::Id, ""),
        Key::Hostname => (v1::ConstraintKey::Hostname, ""),
        Key::Ip => (v1::ConstraintKey::Ip, ""),
        Key::Role => (v1::ConstraintKey::Role, ""),
        Key::Os => (v1::ConstraintKey::Os, ""),
        Key::Arch => (v1::ConstraintKey::Arch, ""),
        Key::Label(label) => (v1::ConstraintKey::Label, label.as_str()),
        Key::EngineLabel(label) => (v1::ConstraintKey::EngineLabel, label.as_str()),
    };
    (key.into(), label.to_owned())
}

fn key_in(key: i32, label: String) -> Result<Key, WireError> {
    Ok(match v1::ConstraintKey::try_from(key) {
        Ok(v1::ConstraintKey::Id) => Key::Id,
        Ok(v1::ConstraintKey::Hostname) => Key::Hostname,
        Ok(v1::ConstraintKey::Ip) => Key::Ip,
        Ok(v1::ConstraintKey::Role) => Key::Role,
        Ok(v1::ConstraintKey::Os) => Key::Os,
        Ok(v1::ConstraintKey::Arch) => Key::Arch,
        Ok(v1::ConstraintKey::Label) => Key::Label(label),
        Ok(v1::ConstraintKey::EngineLabel) => Key::EngineLabel(label),
        Ok(v1::ConstraintKey::Unspecified) => return Err(WireError::new("key", "has no value")),
        Err(_) => return Err(WireError::new("key", format!("unknown value {key}"))),
    })
}

impl From<&NetworkUse> for v1::NetworkUse {
    fn from(used: &NetworkUse) -> Self {
        Self {
            network: used.network.to_bytes(),
            aliases: used.aliases.clone(),
        }
    }
}

impl TryFrom<v1::NetworkUse> for NetworkUse {
    type Error = WireError;

    fn try_from(from: v1::NetworkUse) -> Result<Self, WireError> {
        Ok(Self {
            network: id(&from.network, "network")?,
            aliases: from.aliases,
        })
    }
}

impl From<&PortSpec> for v1::PortSpec {
    fn from(port: &PortSpec) -> Self {
        Self {
            protocol: v1::Protocol::from(port.protocol).into(),
            target: u32::from(port.target),
            published: port.published.map(u32::from),
            mode: v1::PublishMode::from(port.mode).into(),
        }
    }
}

impl TryFrom<v1::PortSpec> for PortSpec {
    type Error = WireError;

    fn try_from(from: v1::PortSpec) -> Result<Self, WireError> {
        Ok(Self {
            protocol: enumeration::<v1::Protocol, _>(from.protocol, "protocol")?,
            target: number(from.target, "target")?,
            published: from
                .published
                .map(|port| number(port, "published"))
                .transpose()?,
            mode: enumeration::<v1::PublishMode, _>(from.mode, "mode")?,
        })
    }
}
