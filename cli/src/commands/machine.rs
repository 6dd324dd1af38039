//! `skep system info` and `skep system df`: this machine, its place in the cluster, and what it stores.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use skep_proto::ids::{ClusterId, NodeId};
use skep_proto::wire::{self, v1};

use super::client::{Client, said};
use super::{image, usage, volume};
use crate::args::system::{AboutArgs, DfArgs, PruneArgs};
use crate::output::size::{binary, decimal};
use crate::output::{self, Column, Format};

/// What a daemon says of itself and its machine.
struct About {
    status: v1::StatusAnswer,
    machine: v1::DescribeAnswer,
    /// Managers and nodes, where this node is a manager that knows.
    nodes: Option<(usize, usize)>,
}

async fn ask(client: &Client) -> anyhow::Result<About> {
    let status = client.local.clone().status(v1::StatusRequest {}).await;
    let status = status.map_err(|status| said(&status))?.into_inner();
    let machine = client.local.clone().describe(v1::DescribeRequest {}).await;
    let machine = machine.map_err(|status| said(&status))?.into_inner();
    // A manager without a quorum still says what it last knew.
    let stale = v1::ListNodesRequest {
        read: Some(v1::Read { stale: true }),
        references: Vec::new(),
    };
    let nodes = if status.role() == v1::Role::Manager {
        client.control.clone().list_nodes(stale).await.ok()
    } else {
        None
    };
    let nodes = nodes.map(|answer| {
        let nodes = answer.into_inner().nodes;
        let manages = |entry: &&v1::NodeEntry| {
            let node = entry.node.as_ref();
            node.is_some_and(|node| node.manager.is_some())
        };
        (nodes.iter().filter(manages).count(), nodes.len())
    });
    Ok(About {
        status,
        machine,
        nodes,
    })
}

/// Shows what the daemon says of itself, its machine and its cluster.
///
/// # Errors
/// What the user is to read.
pub async fn about(client: &Client, args: AboutArgs) -> anyhow::Result<ExitCode> {
    let about = ask(client).await?;
    let shown = fields(&about)?;
    match args.format {
        None | Some(Format::Table) => output::line(text(&shown).trim_end())?,
        Some(Format::Json) => output::line(&shown.to_string())?,
        Some(Format::Template(template)) => output::line(&template.run(&shown)?)?,
        Some(Format::TableOf(_)) => anyhow::bail!("--format: \"table TEMPLATE\" is for lists"),
    }
    Ok(ExitCode::SUCCESS)
}

fn id<T: wire::WireId + ToString>(bytes: Option<&Vec<u8>>, field: &str) -> anyhow::Result<String> {
    match bytes {
        None => Ok(String::new()),
        Some(bytes) => Ok(wire::id::<T>(bytes, field)?.to_string()),
    }
}

/// By Docker's names, as far as skep has what they name.
fn fields(about: &About) -> anyhow::Result<Value> {
    let (status, machine) = (&about.status, &about.machine);
    let containers = [machine.running, machine.paused, machine.stopped];
    let manager = status.role() == v1::Role::Manager;
    let swarm = match status.state() {
        v1::LocalState::Active => "active",
        v1::LocalState::Pending => "pending",
        v1::LocalState::Error => "error",
        v1::LocalState::Inactive | v1::LocalState::Unspecified => "inactive",
    };
    let missing: Vec<String> = machine
        .features
        .iter()
        .filter(|feature| !feature.present)
        .map(|feature| format!("the kernel has no {}", feature.name))
        .collect();
    let (managers, nodes) = about.nodes.unwrap_or_default();
    Ok(json!({
        "ID": id::<NodeId>(status.node.as_ref(), "node")?,
        "Name": status.hostname,
        "ServerVersion": status.engine,
        "Containers": containers.iter().fold(0_u32, |sum, count| sum.saturating_add(*count)),
        "ContainersRunning": machine.running,
        "ContainersPaused": machine.paused,
        "ContainersStopped": machine.stopped,
        "Images": machine.images,
        "Driver": "overlay",
        "CgroupVersion": if machine.cgroups == "unified" { "2" } else { "1" },
        "CgroupLayout": machine.cgroups,
        "CgroupControllers": machine.controllers,
        "KernelVersion": machine.kernel,
        "OperatingSystem": machine.system,
        "OSType": "linux",
        "Architecture": machine.arch,
        "NCPU": machine.cpus,
        "MemTotal": machine.memory,
        "DataRoot": machine.data_root,
        "ExecRoot": machine.exec_root,
        "Labels": machine.labels,
        "Features": machine.features.iter()
            .map(|feature| (feature.name.clone(), Value::from(feature.present)))
            .collect::<serde_json::Map<_, _>>(),
        "Warnings": missing,
        "Swarm": {
            "LocalNodeState": swarm,
            "NodeID": id::<NodeId>(status.node.as_ref(), "node")?,
            "ControlAvailable": manager,
            "Error": status.message,
            "Managers": managers,
            "Nodes": nodes,
            "Connected": status.connected,
            "Cluster": { "ID": id::<ClusterId>(status.cluster.as_ref(), "cluster")? },
        },
    }))
}

/// For people, in the order that Docker's users know.
fn text(about: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items = items.iter().filter_map(Value::as_str);
            items.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let mut text = String::new();
    let mut tell = |indent: &str, name: &str, value: &Value| {
        text.push_str(&format!("{indent}{name}: {}\n", plain(value)));
    };
    tell("", "Containers", &about["Containers"]);
    tell(" ", "Running", &about["ContainersRunning"]);
    tell(" ", "Paused", &about["ContainersPaused"]);
    tell(" ", "Stopped", &about["ContainersStopped"]);
    for (name, key) in [
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Cgroup Layout", "CgroupLayout"),
        ("Cgroup Controllers", "CgroupControllers"),
    ] {
        tell("", name, &about[key]);
    }
    let swarm = &about["Swarm"];
    tell("", "Swarm", &swarm["LocalNodeState"]);
    if swarm["NodeID"] != "" {
        tell(" ", "NodeID", &swarm["NodeID"]);
        tell(" ", "Is Manager", &swarm["ControlAvailable"]);
        tell(" ", "ClusterID", &swarm["Cluster"]["ID"]);
        tell(" ", "Connected", &swarm["Connected"]);
    }
    if swarm["Nodes"] != 0 {
        tell(" ", "Managers", &swarm["Managers"]);
        tell(" ", "Nodes", &swarm["Nodes"]);
    }
    for (name, key) in [
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
        ("Name", "Name"),
        ("ID", "ID"),
        ("Data Root Dir", "DataRoot"),
        ("Exec Root Dir", "ExecRoot"),
    ] {
        tell("", name, &about[key]);
    }
    let memory = about["MemTotal"].as_u64().unwrap_or_default();
    tell("", "Total Memory", &binary(memory).into());
    for (name, key) in [("Kernel Features", "Features"), ("Labels", "Labels")] {
        let Value::Object(fields) = &about[key] else {
            continue;
        };
        text.push_str(&format!("{name}:\n"));
        for (name, value) in fields {
            text.push_str(&format!(" {name}={}\n", plain(value)));
        }
    }
    for warning in about["Warnings"].as_array().into_iter().flatten() {
        text.push_str(&format!("WARNING: {}\n", plain(warning)));
    }
    text
}

/// What is stored of one kind.
#[derive(Serialize, Debug)]
struct UsageRow {
    kind: &'static str,
    total: u32,
    active: u32,
    /// Bytes.
    size: u64,
    /// Bytes.
    reclaimable: u64,
}

const COLUMNS: &[Column<UsageRow>] = &[
    ("TYPE", |row, _| row.kind.to_owned()),
    ("TOTAL", |row, _| row.total.to_string()),
    ("ACTIVE", |row, _| row.active.to_string()),
    ("SIZE", |row, _| decimal(row.size)),
    ("RECLAIMABLE", |row, _| reclaimable(row)),
];

fn reclaimable(row: &UsageRow) -> String {
    let size = decimal(row.reclaimable);
    let share = row.reclaimable.saturating_mul(100).checked_div(row.size);
    match share {
        Some(share) => format!("{size} ({share}%)"),
        None => size,
    }
}

async fn look(client: &Client) -> anyhow::Result<v1::StoredAnswer> {
    let stored = client.local.clone().stored(v1::StoredRequest {}).await;
    Ok(stored.map_err(|status| said(&status))?.into_inner())
}

/// Shows what this node stores.
///
/// # Errors
/// What the user is to read.
pub async fn stored(client: &Client, args: DfArgs) -> anyhow::Result<ExitCode> {
    let stored = look(client).await?;
    if args.verbose {
        return usage::show(client, &stored, &args.list).await;
    }
    let row = |kind, usage: Option<v1::Usage>| {
        let usage = usage.unwrap_or_default();
        UsageRow {
            kind,
            total: usage.total,
            active: usage.active,
            size: usage.bytes,
            reclaimable: usage.reclaimable,
        }
    };
    let rows = [
        row("Images", stored.images),
        row("Containers", stored.containers),
        row("Local Volumes", stored.volumes),
    ];
    output::list(&rows, COLUMNS, |row| row.kind, &args.list)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes what nothing uses on this node.
///
/// # Errors
/// What the user is to read.
pub async fn prune(client: &Client, args: PruneArgs) -> anyhow::Result<ExitCode> {
    let images = if args.all {
        "all images that no task uses"
    } else {
        "all images that have no name and that no task uses"
    };
    let volumes = if args.volumes {
        ", and all anonymous volumes that nothing uses, with their content,"
    } else {
        ""
    };
    let question = format!("This removes {images}{volumes} from this node. Are you sure? [y/N] ");
    if !args.force && !image::local::sure(&question)? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut reclaimed = 0_u64;
    if args.volumes {
        let sizes = look(client).await?.volume_bytes;
        for name in volume::prune_anonymous(client).await? {
            reclaimed = reclaimed.saturating_add(sizes.get(&name).copied().unwrap_or(0));
        }
    }
    reclaimed = reclaimed.saturating_add(image::local::prune_now(client, args.all).await?);
    output::line(&format!("Total reclaimed space: {}", decimal(reclaimed)))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_no_cluster_says_so_and_what_its_kernel_lacks() {
        let about = About {
            status: v1::StatusAnswer {
                state: v1::LocalState::Inactive.into(),
                hostname: "n1".into(),
                ..Default::default()
            },
            machine: v1::DescribeAnswer {
                cgroups: "hybrid".into(),
                controllers: vec!["cpu".into(), "memory".into()],
                memory: 2 << 30,
                features: vec![v1::Feature {
                    name: "vxlan".into(),
                    present: false,
                }],
                ..Default::default()
            },
            nodes: None,
        };
        let text = text(&fields(&about).expect("fields"));
        for line in [
            "Swarm: inactive\n",
            "Cgroup Version: 1\n",
            "Cgroup Controllers: cpu memory\n",
            "Total Memory: 2.00GiB\n",
            "Name: n1\n",
            " vxlan=false\n",
            "WARNING: the kernel has no vxlan\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("NodeID"), "{text}");
    }
}
