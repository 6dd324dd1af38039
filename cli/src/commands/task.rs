//! `skep task`, and the lists of tasks that other commands show.

use std::process::ExitCode;

use skep_proto::wire::v1;

use super::client::{Client, persist};
use super::rows::{TaskRow, ago};
use super::{docker, exec, logs, why};
use crate::args::service::TaskCommand;
use crate::args::{InspectArgs, ListArgs};
use crate::output::{self, Column};

/// Does what `skep task …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: TaskCommand) -> anyhow::Result<ExitCode> {
    match command {
        TaskCommand::Ls(args) => list(client, v1::ListTasksRequest::default(), &args).await,
        TaskCommand::Inspect(args) => inspect(client, args).await,
        TaskCommand::Logs(args) => logs::run(client, args, logs::Of::Tasks).await,
        TaskCommand::Exec(args) => exec::run(client, args, exec::Place::Cluster).await,
        TaskCommand::Why(args) => why::run(client, args).await,
    }
}

const COLUMNS: &[Column<TaskRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("NAME", |row, _| row.name.clone()),
    ("IMAGE", |row, _| row.image.clone()),
    ("NODE", |row, _| row.node.clone()),
    ("DESIRED STATE", |row, _| capital(&row.desired)),
    ("CURRENT STATE", |row, _| {
        format!("{} {}", capital(&row.state), ago(&row.since))
    }),
    ("ERROR", |row, width| width.text(&row.error)),
];

/// The word as lists show it.
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Prints the tasks that `filter` lets through, newest attempt of a slot first.
///
/// # Errors
/// What the user is to read.
pub async fn list(
    client: &Client,
    filter: v1::ListTasksRequest,
    args: &ListArgs,
) -> anyhow::Result<ExitCode> {
    let answer = persist(|| {
        let (mut control, filter) = (client.control.clone(), filter.clone());
        async move { control.list_tasks(filter).await }
    })
    .await?;
    let mut rows = answer
        .tasks
        .into_iter()
        .map(TaskRow::read)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let key = |row: &TaskRow| {
        let number: u32 = row.slot.parse().unwrap_or(u32::MAX);
        (row.service.clone(), number, row.slot.clone())
    };
    rows.sort_by(|a, b| key(a).cmp(&key(b)).then(b.since.cmp(&a.since)));
    output::list(&rows, COLUMNS, |row| &row.id, args)?;
    Ok(ExitCode::SUCCESS)
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (form, mut rows, mut sheets) = (args.form(), Vec::new(), Vec::new());
    for reference in args.objects {
        let message = v1::GetRequest {
            reference,
            read: None,
        };
        let entry = persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.get_task(message).await }
        })
        .await?;
        sheets.push(docker::task(&entry)?);
        rows.push(TaskRow::read(entry)?);
    }
    output::inspected(&rows, &sheets, form)?;
    Ok(ExitCode::SUCCESS)
}
