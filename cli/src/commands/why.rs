//! `skep task why`.

use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use skep_proto::wire::v1;

use super::client::{Client, persist};
use super::rows::TaskRow;
use crate::args::service::WhyArgs;
use crate::output::{self, Column, Format, Width};

/// Why a task does not run, as programs read it.
#[derive(Serialize, Debug)]
struct WhySheet {
    /// The task.
    #[serde(flatten)]
    task: TaskRow,
    /// One sentence.
    reason: String,
    /// Of a task that waits for a node: every node, with what refuses it there.
    nodes: Vec<RefusalRow>,
    /// All of these together would place it.
    changes: Vec<String>,
}

/// A node and what refuses the task there.
#[derive(Serialize, Debug)]
struct RefusalRow {
    node: String,
    refused_by: Vec<String>,
}

const COLUMNS: &[Column<RefusalRow>] = &[
    ("NODE", |row, _| row.node.clone()),
    ("REFUSED BY", |row, _| {
        if row.refused_by.is_empty() {
            "nothing".to_owned()
        } else {
            row.refused_by.join("; ")
        }
    }),
];

/// Says why a task does not run.
pub(super) async fn run(client: &Client, args: WhyArgs) -> anyhow::Result<ExitCode> {
    let message = v1::GetRequest {
        reference: args.task,
        read: None,
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.why_task(message).await }
    })
    .await?;
    let nodes = answer.nodes.into_iter().map(|node| RefusalRow {
        node: node.name,
        refused_by: node.refused_by,
    });
    let sheet = WhySheet {
        task: TaskRow::read(answer.task.context("an answer without a task")?)?,
        reason: answer.reason,
        nodes: nodes.collect(),
        changes: answer.changes,
    };
    if args.format == Format::Table {
        show(&sheet)?;
    } else {
        output::objects(&[sheet], args.format)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(sheet: &WhySheet) -> anyhow::Result<()> {
    let (task, reason) = (&sheet.task, &sheet.reason);
    output::line(&format!("{} is {}: {reason}", task.name, task.state))?;
    if !sheet.nodes.is_empty() {
        output::line("")?;
        output::line(&output::table(&sheet.nodes, COLUMNS, Width::Whole))?;
    }
    if !sheet.changes.is_empty() {
        output::line("\nThe smallest change that would place it:")?;
    }
    for change in &sheet.changes {
        output::line(&format!("  {change}"))?;
    }
    Ok(())
}
