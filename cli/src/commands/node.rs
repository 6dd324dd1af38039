//! `skep node`.

use std::process::ExitCode;

use anyhow::Context;
use skep_proto::ids::NodeId;
use skep_proto::node::{Availability, Node, NodeSpec, Role};
use skep_proto::wire::{self, v1};
use tonic::Code;

use super::client::{Client, Refusal, persist, request, said};
use super::rows::NodeRow;
use super::task::capital;
use super::{docker, drain, for_each, labels, task};
use crate::args::swarm::{
    AvailabilityArg, NodeCommand, NodePsArgs, NodeRmArgs, NodeUpdateArgs, RoleArg,
};
use crate::args::{InspectArgs, ListArgs};
use crate::output::{self, Column};

/// A node that changes all the time is changed in so many tries.
const TRIES: u32 = 5;

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
        NodeCommand::Promote(args) => assign(client, &args.nodes, Role::Manager).await,
        NodeCommand::Demote(args) => assign(client, &args.nodes, Role::Worker).await,
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
    // From outside of the nodes none is one's own.
    let own = reference(client, "self").await.ok();
    for row in &mut rows {
        row.own = own.as_ref() == Some(&row.id);
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
    change(client, &args.node, |spec| edit(spec, &args)).await?;
    output::line(&args.node)?;
    Ok(ExitCode::SUCCESS)
}

fn edit(spec: &mut NodeSpec, args: &NodeUpdateArgs) -> anyhow::Result<()> {
    match args.role {
        Some(RoleArg::Manager) => spec.role = Role::Manager,
        Some(RoleArg::Worker) => spec.role = Role::Worker,
        None => {}
    }
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
    Ok(())
}

/// Changes what is wanted of a node; once more where it changed meanwhile, as a node does that has news of itself.
/// Gives the node as it was.
async fn change(
    client: &Client,
    text: &str,
    edit: impl Fn(&mut NodeSpec) -> anyhow::Result<()>,
) -> anyhow::Result<Node> {
    let mut tries = TRIES;
    loop {
        let entry = get(client, text).await?;
        let node = Node::try_from(entry.node.context("an answer without a node")?)?;
        let mut spec = node.spec.clone();
        edit(&mut spec)?;
        if spec == node.spec {
            return Ok(node);
        }
        let message = v1::UpdateNodeRequest {
            request: request(),
            reference: node.id.to_string(),
            version: Some(node.version),
            spec: Some(v1::NodeSpec::from(&spec)),
        };
        let changed = persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.update_node(message).await }
        })
        .await;
        tries -= 1;
        let stale = |error: &anyhow::Error| {
            let said = error.downcast_ref::<Refusal>();
            said.is_some_and(|said| said.code == Code::Aborted)
        };
        match changed {
            Ok(_) => return Ok(node),
            Err(error) if stale(&error) && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes nodes managers or workers.
async fn assign(client: &Client, nodes: &[String], role: Role) -> anyhow::Result<ExitCode> {
    for_each(nodes, |text| async move {
        let before = change(client, &text, |spec| {
            spec.role = role;
            Ok(())
        })
        .await?;
        let line = match role {
            role if before.spec.role == role => format!("Node {} is already a {role}.", before.id),
            Role::Manager => format!("Node {text} promoted to a manager in the swarm."),
            Role::Worker => format!("Manager {text} demoted in the swarm."),
        };
        Ok(output::line(&line)?)
    })
    .await
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
