//! `skep node`.

use std::process::ExitCode;

use anyhow::Context;
use skep_proto::ids::NodeId;
use skep_proto::node::{Availability, Node};
use skep_proto::wire::{self, v1};

use super::client::{Client, persist, request, said};
use super::rows::NodeRow;
use super::task::capital;
use super::{docker, drain, for_each, labels, task};
use crate::args::swarm::{AvailabilityArg, NodeCommand, NodePsArgs, NodeRmArgs, NodeUpdateArgs};
use crate::args::{InspectArgs, ListArgs};
use crate::output::{self, Column};

/// Does what `skep node …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: NodeCommand) -> anyhow::Result<ExitCode> {
    match command {
        NodeCommand::Ls(args) => ls(client, args).await,
        NodeCommand::Inspect(args) => inspect(client, args).await,
        NodeCommand::Ps(args) => ps(client, args).await,
        NodeCommand::Update(args) => update(client, args).await,
        NodeCommand::Rm(args) => rm(client, args).await,
        NodeCommand::Drain(args) => drain::run(client, args).await,
    }
}

const COLUMNS: &[Column<NodeRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("HOSTNAME", |row, _| row.name.clone()),
    ("STATUS", |row, _| capital(&row.state)),
    ("AVAILABILITY", |row, _| capital(&row.availability)),
    ("MANAGER STATUS", |row, _| capital(&row.manager)),
    ("ADDRESS", |row, _| row.address.clone()),
    ("TASKS", |row, _| row.running.to_string()),
    ("ENGINE VERSION", |row, _| row.engine.clone()),
];

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let answer = persist(|| {
        let mut control = client.control.clone();
        async move { control.list_nodes(v1::ListNodesRequest::default()).await }
    })
    .await?;
    let mut rows = answer
        .nodes
        .into_iter()
        .map(NodeRow::read)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let own = reference(client, "self").await?;
    for row in &mut rows {
        row.own = row.id == own;
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name).then(a.id.cmp(&b.id)));
    output::list(&rows, COLUMNS, |row| &row.id, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// `self` stands for the node whose daemon is asked.
pub(super) async fn reference(client: &Client, text: &str) -> anyhow::Result<String> {
    if text != "self" {
        return Ok(text.to_owned());
    }
    let status = client.local.clone().status(v1::StatusRequest {}).await;
    let node = status.map_err(|status| said(&status))?.into_inner().node;
    let node = node.context("this node is in no cluster; make one with: skep swarm init")?;
    Ok(wire::id::<NodeId>(&node, "node")?.to_string())
}

async fn get(client: &Client, text: &str) -> anyhow::Result<v1::NodeEntry> {
    let message = v1::GetRequest {
        reference: reference(client, text).await?,
        read: None,
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.get_node(message).await }
    })
    .await
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (mut rows, mut sheets) = (Vec::new(), Vec::new());
    for text in &args.objects {
        let entry = get(client, text).await?;
        sheets.push(docker::node(&entry)?);
        rows.push(NodeRow::read(entry)?);
    }
    output::inspected(&rows, &sheets, args.form())?;
    Ok(ExitCode::SUCCESS)
}

async fn ps(client: &Client, args: NodePsArgs) -> anyhow::Result<ExitCode> {
    let mut nodes = Vec::new();
    for text in &args.nodes {
        nodes.push(reference(client, text).await?);
    }
    task::list(
        client,
        v1::ListTasksRequest {
            nodes,
            ..Default::default()
        },
        &args.list,
    )
    .await
}

async fn update(client: &Client, args: NodeUpdateArgs) -> anyhow::Result<ExitCode> {
    let entry = get(client, &args.node).await?;
    let node = Node::try_from(entry.node.context("an answer without a node")?)?;
    let mut spec = node.spec;
    match args.availability {
        Some(AvailabilityArg::Active) => spec.availability = Availability::Active,
        Some(AvailabilityArg::Pause) => spec.availability = Availability::Pause,
        Some(AvailabilityArg::Drain) => spec.availability = Availability::Drain,
        None => {}
    }
    for name in &args.label_rm {
        if spec.labels.remove(name).is_none() {
            anyhow::bail!("--label-rm {name}: node {} has no such label", args.node);
        }
    }
    spec.labels.extend(labels(&args.label_add)?);
    let message = v1::UpdateNodeRequest {
        request: request(),
        reference: node.id.to_string(),
        version: Some(node.version),
        spec: Some(v1::NodeSpec::from(&spec)),
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.update_node(message).await }
    })
    .await?;
    output::line(&args.node)?;
    Ok(ExitCode::SUCCESS)
}

async fn rm(client: &Client, args: NodeRmArgs) -> anyhow::Result<ExitCode> {
    let force = args.force;
    for_each(&args.nodes, |reference| async move {
        let message = v1::RemoveNodeRequest {
            request: request(),
            reference: reference.clone(),
            force,
        };
        persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.remove_node(message).await }
        })
        .await?;
        Ok(output::line(&reference)?)
    })
    .await
}
