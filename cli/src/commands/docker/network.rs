//! A network as Docker's API gives it.

use anyhow::Context;
use serde_json::{Value, json};
use skep_proto::network::Network;
use skep_proto::wire::v1;

use super::time;

/// The network of an answer.
///
/// # Errors
/// When the answer is not understood.
pub fn network(entry: &v1::NetworkEntry) -> anyhow::Result<Value> {
    let message = entry.network.clone();
    let it = Network::try_from(message.context("an answer without a network")?)?;
    Ok(json!({
        "Id": it.id.to_string(),
        "ID": it.id.to_string(),
        "Name": it.spec.name,
        "Created": time(it.created),
        "Scope": "swarm",
        "Driver": "overlay",
        "EnableIPv6": false,
        "IPAM": {
            "Driver": "default",
            "Options": null,
            "Config": [{ "Subnet": it.subnet.to_string(), "Gateway": it.gateway.to_string() }],
        },
        "Internal": it.spec.internal,
        "Attachable": it.spec.attachable,
        "Ingress": it.spec.ingress,
        "Options": { "com.docker.network.driver.overlay.vxlanid_list": it.vni.to_string() },
        "Labels": it.spec.labels,
    }))
}
