//! `skep stack`.

mod cluster;
mod deploy;
mod differ;
mod end;
mod files;
mod origin;
mod remove;
mod stored;
mod wait;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;
use skep_deploy::stack::NAMESPACE;
use skep_proto::service::Service;
use skep_proto::wire::v1;

use super::client::Client;
use super::rows::ServiceRow;
use super::{service, task};
use crate::args::ListArgs;
use crate::args::stack::{ConfigArgs, NamedArgs, StackCommand};
use crate::output::{self, Column};
use crate::reach::Said;

/// Does what `skep stack …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(said: &Said, command: StackCommand) -> anyhow::Result<ExitCode> {
    match command {
        StackCommand::Deploy(args) => deploy::run(said, args).await,
        StackCommand::Diff(args) => deploy::diff(said, args).await,
        StackCommand::Ls(args) => ls(&Client::connect(said).await?, args).await,
        StackCommand::Ps(args) => ps(&Client::connect(said).await?, args).await,
        StackCommand::Services(args) => services(&Client::connect(said).await?, args).await,
        StackCommand::Rm(args) => remove::run(&Client::connect(said).await?, args).await,
        StackCommand::Config(args) => config(&args),
    }
}

/// Needs no cluster.
fn config(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let project = files::read(&args.files)?;
    // Values are understood only when they are turned into specs.
    files::wanted("stack", &project)?;
    if !args.quiet {
        output::line(project.canonical().trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A stack in a list.
#[derive(Serialize, Debug)]
struct StackRow {
    name: String,
    services: usize,
}

const STACKS: &[Column<StackRow>] = &[
    ("NAME", |row, _| row.name.clone()),
    ("SERVICES", |row, _| row.services.to_string()),
];

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in cluster::services(client, None).await? {
        if let Some(stack) = stack_of(&entry) {
            *counts.entry(stack).or_default() += 1;
        }
    }
    let rows = counts
        .into_iter()
        .map(|(name, services)| StackRow { name, services });
    let rows: Vec<StackRow> = rows.collect();
    output::list(&rows, STACKS, |row| &row.name, &args)?;
    Ok(ExitCode::SUCCESS)
}

fn stack_of(entry: &v1::ServiceEntry) -> Option<String> {
    let spec = entry.service.as_ref()?.spec.as_ref()?;
    spec.labels.get(NAMESPACE).cloned()
}

/// The services of a stack; one without any does not exist.
async fn entries_of(client: &Client, stack: &str) -> anyhow::Result<Vec<v1::ServiceEntry>> {
    let entries = cluster::services(client, Some(stack)).await?;
    if entries.is_empty() {
        bail!("there is no stack \"{stack}\"; see what there is with: skep stack ls");
    }
    Ok(entries)
}

async fn services(client: &Client, args: NamedArgs) -> anyhow::Result<ExitCode> {
    let entries = entries_of(client, &args.stack).await?;
    let mut rows = entries
        .into_iter()
        .map(ServiceRow::read)
        .collect::<anyhow::Result<Vec<_>>>()?;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    output::list(&rows, service::COLUMNS, |row| &row.id, &args.list)?;
    Ok(ExitCode::SUCCESS)
}

async fn ps(client: &Client, args: NamedArgs) -> anyhow::Result<ExitCode> {
    let mut ids = Vec::new();
    for entry in entries_of(client, &args.stack).await? {
        if let Some(service) = entry.service {
            ids.push(Service::try_from(service)?.id.to_string());
        }
    }
    let filter = v1::ListTasksRequest {
        services: ids,
        ..Default::default()
    };
    task::list(client, filter, &args.list).await
}
