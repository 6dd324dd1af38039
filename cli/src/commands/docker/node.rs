//! A node as Docker's API gives it.

use anyhow::Context;
use serde_json::{Value, json};
use skep_proto::node::{Availability, Node};
use skep_proto::wire::v1;

use super::{time, version};

/// The node of an answer.
///
/// # Errors
/// When the answer is not understood.
pub fn node(entry: &v1::NodeEntry) -> anyhow::Result<Value> {
    let it = Node::try_from(entry.node.clone().context("an answer without a node")?)?;
    let manager = it.manager.as_ref().map(|manager| {
        json!({
            "Leader": entry.leader,
            "Reachability": if entry.reachable { "reachable" } else { "unreachable" },
            "Addr": manager.address.to_string(),
        })
    });
    let described = &it.description;
    Ok(json!({
        "ID": it.id.to_string(),
        "Version": version(it.version),
        "CreatedAt": time(it.created),
        "Spec": {
            "Labels": it.spec.labels,
            "Role": it.spec.role.to_string(),
            "Availability": match it.spec.availability {
                Availability::Active => "active",
                Availability::Pause => "pause",
                Availability::Drain | Availability::Surge => "drain",
            },
        },
        "Description": {
            "Hostname": described.hostname,
            "Platform": { "Architecture": described.arch, "OS": described.os },
            "Resources": {
                "NanoCPUs": described.resources.nano_cpus,
                "MemoryBytes": described.resources.memory,
            },
            "Engine": { "EngineVersion": described.engine, "Labels": described.labels },
        },
        "Status": {
            "State": it.status.state.to_string(),
            "Message": it.status.message,
            "Addr": it.address.to_string(),
        },
        "ManagerStatus": manager,
    }))
}
