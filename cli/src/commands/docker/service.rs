//! A service as Docker's API gives it.

use anyhow::Context;
use serde_json::{Value, json};
use skep_proto::service::{PortBinding, Service};
use skep_proto::spec::{
    EndpointMode, FailureAction, Mode, PortSpec, Protocol, PublishMode, RestartCondition,
    ServiceSpec, TaskSpec, UpdateConfig, UpdateOrder,
};
use skep_proto::wire::v1;

use super::container::container;
use super::{nanos, texts, time, version};

/// The service of an answer.
///
/// # Errors
/// When the answer is not understood.
pub fn service(entry: &v1::ServiceEntry) -> anyhow::Result<Value> {
    let message = entry.service.clone();
    let it = Service::try_from(message.context("an answer without a service")?)?;
    Ok(json!({
        "ID": it.id.to_string(),
        "Version": version(it.version),
        "CreatedAt": time(it.created),
        "UpdatedAt": time(it.updated),
        "Spec": spec(&it.spec),
        "Endpoint": {
            "Spec": endpoint(&it.spec),
            "Ports": it.ports.iter().map(binding).collect::<Value>(),
            "VirtualIPs": it.vips.iter().map(|(network, address)| json!({
                "NetworkID": network.to_string(),
                "Addr": address.to_string(),
            })).collect::<Value>(),
        },
        "ServiceStatus": { "RunningTasks": entry.running, "DesiredTasks": entry.desired },
    }))
}

fn spec(spec: &ServiceSpec) -> Value {
    json!({
        "Name": spec.name,
        "Labels": spec.labels,
        "TaskTemplate": task_spec(&spec.task),
        "Mode": mode(spec.mode),
        "UpdateConfig": update(&spec.update),
        "RollbackConfig": update(&spec.rollback),
        "EndpointSpec": endpoint(spec),
    })
}

pub(super) fn task_spec(spec: &TaskSpec) -> Value {
    let (limits, reserved, restart) = (&spec.limits, &spec.reservations, &spec.restart);
    json!({
        "ContainerSpec": container(&spec.container),
        "Resources": {
            "Limits": {
                "NanoCPUs": limits.nano_cpus.unwrap_or_default(),
                "MemoryBytes": limits.memory.unwrap_or_default(),
                "Pids": limits.pids.unwrap_or_default(),
            },
            "Reservations": {
                "NanoCPUs": reserved.nano_cpus,
                "MemoryBytes": reserved.memory,
                "GenericResources": spec.generic.iter().map(|(kind, value)| json!({
                    "DiscreteResourceSpec": { "Kind": kind, "Value": value },
                })).collect::<Value>(),
            },
        },
        "RestartPolicy": {
            "Condition": match restart.condition {
                RestartCondition::None => "none",
                RestartCondition::OnFailure => "on-failure",
                RestartCondition::Any => "any",
            },
            "Delay": nanos(restart.delay),
            "MaxAttempts": restart.max_attempts.unwrap_or_default(),
            "Window": nanos(restart.window),
        },
        "Placement": {
            "Constraints": texts(&spec.constraints),
            "Preferences": spec.spread.iter().map(|key| json!({
                "Spread": { "SpreadDescriptor": key.to_string() },
            })).collect::<Value>(),
            "MaxReplicas": spec.max_per_node.unwrap_or_default(),
            "Platforms": spec.platforms.iter().map(|platform| json!({
                "Architecture": platform.arch,
                "OS": platform.os,
            })).collect::<Value>(),
        },
        "Networks": spec.networks.iter().map(|used| json!({
            "Target": used.network.to_string(),
            "Aliases": used.aliases,
        })).collect::<Value>(),
        "LogDriver": spec.log.as_ref().map(|log| json!({
            "Name": log.name,
            "Options": log.options,
        })),
        "ForceUpdate": spec.force,
        "Runtime": "container",
    })
}

fn mode(mode: Mode) -> Value {
    match mode {
        Mode::Replicated { replicas } => json!({ "Replicated": { "Replicas": replicas } }),
        Mode::Global => json!({ "Global": {} }),
        Mode::ReplicatedJob {
            total,
            max_concurrent,
        } => json!({
            "ReplicatedJob": { "MaxConcurrent": max_concurrent, "TotalCompletions": total },
        }),
        Mode::GlobalJob => json!({ "GlobalJob": {} }),
    }
}

fn update(config: &UpdateConfig) -> Value {
    json!({
        "Parallelism": config.parallelism,
        "Delay": nanos(config.delay),
        "FailureAction": match config.failure_action {
            FailureAction::Pause => "pause",
            FailureAction::Continue => "continue",
            FailureAction::Rollback => "rollback",
        },
        "Monitor": nanos(config.monitor),
        "MaxFailureRatio": f64::from(config.max_failure_millionths) / 1e6,
        "Order": match config.order {
            UpdateOrder::StopFirst => "stop-first",
            UpdateOrder::StartFirst => "start-first",
        },
    })
}

fn endpoint(spec: &ServiceSpec) -> Value {
    json!({
        "Mode": match spec.endpoint {
            EndpointMode::Vip => "vip",
            EndpointMode::Dnsrr => "dnsrr",
        },
        "Ports": spec.ports.iter().map(|port: &PortSpec| {
            shown(port.protocol, port.target, port.published, port.mode)
        }).collect::<Value>(),
    })
}

fn binding(port: &PortBinding) -> Value {
    shown(port.protocol, port.target, Some(port.published), port.mode)
}

fn shown(protocol: Protocol, target: u16, published: Option<u16>, mode: PublishMode) -> Value {
    json!({
        "Protocol": match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        },
        "TargetPort": target,
        "PublishedPort": published.unwrap_or_default(),
        "PublishMode": match mode {
            PublishMode::Ingress => "ingress",
            PublishMode::Host => "host",
        },
    })
}
