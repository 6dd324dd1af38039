//! A task as Docker's API gives it.

use anyhow::Context;
use serde_json::{Value, json};
use skep_proto::spec::TaskSpec;
use skep_proto::task::{Slot, Task};
use skep_proto::wire::v1;

use super::service::task_spec;
use super::{time, version};

/// The task of an answer.
///
/// # Errors
/// When the answer is not understood.
pub fn task(entry: &v1::TaskEntry) -> anyhow::Result<Value> {
    let it = Task::try_from(entry.task.clone().context("an answer without a task")?)?;
    let spec = entry.spec.clone().map(TaskSpec::try_from).transpose()?;
    let status = &it.status;
    Ok(json!({
        "ID": it.id.to_string(),
        "Version": version(it.version),
        "UpdatedAt": time(status.at),
        "Spec": spec.as_ref().map(task_spec),
        "ServiceID": it.service.to_string(),
        "Slot": match it.slot {
            Slot::Replica(number) => number,
            Slot::Node(_) => 0,
        },
        "NodeID": it.node.map(|node| node.to_string()).unwrap_or_default(),
        "DesiredState": it.desired.to_string(),
        "Status": {
            "Timestamp": time(status.at),
            "State": status.state.to_string(),
            "Message": status.message,
            "Err": status.error,
            "ContainerStatus": {
                "ContainerID": it.id.to_string(),
                "PID": status.pid.unwrap_or_default(),
                "ExitCode": status.exit_code.unwrap_or_default(),
            },
        },
        "NetworksAttachments": it.attachments.iter().map(|at| json!({
            "Network": { "ID": at.network.to_string() },
            "Addresses": [at.address.to_string()],
        })).collect::<Value>(),
    }))
}
