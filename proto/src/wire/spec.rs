//! Converts what a user asks for.

use std::time::Duration;

use super::field::{digest, enumeration, id, list, message, millis, number};
use super::{WireError, WireId, v1};
use crate::constraint::{Constraint, Key};
use crate::image::{Image, ImageRef};
use crate::resources::{Limits, Resources};
use crate::spec::{
    ContainerSpec, Mode, NetworkUse, PortSpec, RestartPolicy, ServiceSpec, TaskSpec,
};

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        let Mode::Replicated { replicas } = spec.mode;
        Self {
            name: spec.name.clone(),
            labels: spec.labels.clone(),
            mode: Some(v1::service_spec::Mode::Replicated(v1::Replicated {
                replicas,
            })),
            task: Some((&spec.task).into()),
            ports: spec.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ServiceSpec> for ServiceSpec {
    type Error = WireError;

    fn try_from(from: v1::ServiceSpec) -> Result<Self, WireError> {
        let mode = match from.mode.ok_or_else(|| WireError::missing("mode"))? {
            v1::service_spec::Mode::Replicated(v1::Replicated { replicas }) => {
                Mode::Replicated { replicas }
            }
        };
        Ok(Self {
            name: from.name,
            labels: from.labels,
            mode,
            task: message(from.task, "task")?,
            ports: list(from.ports, "ports")?,
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
        })
    }
}

impl From<&ContainerSpec> for v1::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        Self {
            image: Some((&spec.image).into()),
            args: spec.args.clone(),
            env: spec.env.clone(),
            labels: spec.labels.clone(),
            hostname: spec.hostname.clone(),
            stop_signal: spec.stop_signal,
            stop_grace_ms: millis(spec.stop_grace),
        }
    }
}

impl TryFrom<v1::ContainerSpec> for ContainerSpec {
    type Error = WireError;

    fn try_from(from: v1::ContainerSpec) -> Result<Self, WireError> {
        Ok(Self {
            image: message(from.image, "image")?,
            args: from.args,
            env: from.env,
            labels: from.labels,
            hostname: from.hostname,
            stop_signal: from.stop_signal,
            stop_grace: Duration::from_millis(from.stop_grace_ms),
        })
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
        let (key, label) = match &constraint.key {
            Key::Id => (v1::ConstraintKey::Id, ""),
            Key::Hostname => (v1::ConstraintKey::Hostname, ""),
            Key::Ip => (v1::ConstraintKey::Ip, ""),
            Key::Role => (v1::ConstraintKey::Role, ""),
            Key::Os => (v1::ConstraintKey::Os, ""),
            Key::Arch => (v1::ConstraintKey::Arch, ""),
            Key::Label(label) => (v1::ConstraintKey::Label, label.as_str()),
            Key::EngineLabel(label) => (v1::ConstraintKey::EngineLabel, label.as_str()),
        };
        Self {
            key: key.into(),
            label: label.to_owned(),
            operator: v1::ConstraintOperator::from(constraint.operator).into(),
            value: constraint.value.clone(),
        }
    }
}

impl TryFrom<v1::Constraint> for Constraint {
    type Error = WireError;

    fn try_from(from: v1::Constraint) -> Result<Self, WireError> {
        let key = match v1::ConstraintKey::try_from(from.key) {
            Ok(v1::ConstraintKey::Id) => Key::Id,
            Ok(v1::ConstraintKey::Hostname) => Key::Hostname,
            Ok(v1::ConstraintKey::Ip) => Key::Ip,
            Ok(v1::ConstraintKey::Role) => Key::Role,
            Ok(v1::ConstraintKey::Os) => Key::Os,
            Ok(v1::ConstraintKey::Arch) => Key::Arch,
            Ok(v1::ConstraintKey::Label) => Key::Label(from.label),
            Ok(v1::ConstraintKey::EngineLabel) => Key::EngineLabel(from.label),
            Ok(v1::ConstraintKey::Unspecified) => {
                return Err(WireError::new("key", "has no value"));
            }
            Err(_) => {
                return Err(WireError::new("key", format!("unknown value {}", from.key)));
            }
        };
        Ok(Self {
            key,
            operator: enumeration::<v1::ConstraintOperator, _>(from.operator, "operator")?,
            value: from.value,
        })
    }
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
