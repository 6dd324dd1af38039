//! `skep container`: the containers of this node.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use skep_proto::wire::v1;
use skep_proto::wire::v1::container_act_request::What;

use super::client::{Client, said};
use super::rows::ago;
use super::{exec, logs};
use crate::args::InspectArgs;
use crate::args::streams::{ContainerCommand, ContainerLsArgs, StatsArgs};
use crate::output::aligned::aligned;
use crate::output::size::{binary, decimal};
use crate::output::{self, Column, Width};

/// Does what `skep container …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: ContainerCommand) -> anyhow::Result<ExitCode> {
    match command {
        ContainerCommand::Ls(args) => ls(client, args).await,
        ContainerCommand::Inspect(args) => inspect(client, args).await,
        ContainerCommand::Logs(args) => logs::of_containers(client, args).await,
        ContainerCommand::Exec(args) => exec::run(client, args, exec::Place::Node).await,
        ContainerCommand::Stats(args) => stats(client, args).await,
        ContainerCommand::Top { container } => top(client, container).await,
        ContainerCommand::Kill { signal, containers } => {
            act(client, containers, What::Signal(signal)).await
        }
        ContainerCommand::Pause { containers } => {
            act(client, containers, What::Pause(v1::ExecNothing {})).await
        }
        ContainerCommand::Unpause { containers } => {
            act(client, containers, What::Unpause(v1::ExecNothing {})).await
        }
    }
}

/// A container in a list.
#[derive(Serialize, Debug)]
struct Row {
    id: String,
    image: String,
    command: Vec<String>,
    created: String,
    state: &'static str,
    status: String,
    name: String,
    pid: Option<i32>,
    exit_code: Option<i32>,
    reason: String,
    log: String,
    labels: std::collections::BTreeMap<String, String>,
}

impl Row {
    fn read(entry: v1::ContainerEntry) -> Self {
        let state = entry.state();
        let created = time(entry.created_ms);
        let status = match state {
            v1::ContainerState::Exited => {
                let code = entry.exit_code.unwrap_or(255);
                format!("Exited ({code}) {}", ago(&time(entry.ended_ms)))
            }
            v1::ContainerState::Paused => "Up (Paused)".into(),
            v1::ContainerState::Running => "Up".into(),
            _ => "Created".into(),
        };
        Self {
            id: entry.id,
            image: entry.image,
            command: entry.command,
            created,
            state: match state {
                v1::ContainerState::Running => "running",
                v1::ContainerState::Paused => "paused",
                v1::ContainerState::Exited => "exited",
                _ => "created",
            },
            status,
            name: entry.name,
            pid: entry.pid,
            exit_code: entry.exit_code,
            reason: entry.reason,
            log: entry.log_path,
            labels: entry.labels,
        }
    }
}

fn time(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(0);
    Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |stamp| stamp.to_string())
}

const COLUMNS: &[Column<Row>] = &[
    ("CONTAINER ID", |row, width| width.id(&row.id)),
    ("IMAGE", |row, _| row.image.clone()),
    ("COMMAND", |row, width| {
        let words = format!("\"{}\"", row.command.join(" "));
        if width == Width::Short && words.chars().count() > 20 {
            return words.chars().take(19).chain("…".chars()).collect();
        }
        words
    }),
    ("CREATED", |row, _| ago(&row.created)),
    ("STATUS", |row, _| row.status.clone()),
    ("NAMES", |row, _| row.name.clone()),
];

async fn entries(client: &Client) -> anyhow::Result<Vec<Row>> {
    let request = v1::ListContainersRequest {};
    let answer = client.containers.clone().list(request).await;
    let answer = answer.map_err(|status| said(&status))?.into_inner();
    Ok(answer.containers.into_iter().map(Row::read).collect())
}

async fn ls(client: &Client, args: ContainerLsArgs) -> anyhow::Result<ExitCode> {
    let mut rows = entries(client).await?;
    rows.retain(|row| args.all || matches!(row.state, "running" | "paused"));
    output::list(&rows, COLUMNS, |row| &row.id, &args.list)?;
    Ok(ExitCode::SUCCESS)
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (form, all) = (args.form(), entries(client).await?);
    let mut found = Vec::new();
    let mut rows = all.into_iter().collect::<Vec<_>>();
    for reference in &args.objects {
        let exact = |row: &Row| row.id == *reference || row.name == *reference;
        let begins = |row: &Row| row.id.starts_with(reference.as_str());
        let at = rows
            .iter()
            .position(exact)
            .or_else(|| rows.iter().position(begins));
        let at = at.with_context(|| {
            format!("there is no container \"{reference}\" on this node; see: skep container ls -a")
        })?;
        found.push(rows.remove(at));
    }
    let sheets = found.iter().map(serde_json::to_value);
    let sheets = sheets.collect::<Result<Vec<_>, _>>()?;
    output::inspected(&found, &sheets, form)?;
    Ok(ExitCode::SUCCESS)
}

async fn act(client: &Client, references: Vec<String>, what: What) -> anyhow::Result<ExitCode> {
    let request = v1::ContainerActRequest {
        references,
        what: Some(what),
    };
    let answer = client.containers.clone().act(request).await;
    let answer = answer.map_err(|status| said(&status))?.into_inner();
    for done in &answer.done {
        output::line(done)?;
    }
    for failed in &answer.failed {
        output::notice(&format!("Error: {failed}"));
    }
    Ok(if answer.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn stats(client: &Client, args: StatsArgs) -> anyhow::Result<ExitCode> {
    let request = v1::ContainerStatsRequest {
        references: args.containers,
        once: args.no_stream,
    };
    let answers = client.containers.clone().stats(request).await;
    let mut answers = answers.map_err(|status| said(&status))?.into_inner();
    let width = if args.no_trunc {
        Width::Whole
    } else {
        Width::Short
    };
    while let Some(answer) = answers.message().await.map_err(|status| said(&status))? {
        let heading =
            "CONTAINER ID\tNAME\tCPU %\tMEM USAGE / LIMIT\tMEM %\tNET I/O\tBLOCK I/O\tPIDS";
        let mut lines = vec![heading.to_owned()];
        lines.extend(answer.containers.iter().map(|it| figures(it, width)));
        // On a terminal the figures stay where they are.
        let clear = if io::stdout().is_terminal() && !args.no_stream {
            "\x1b[2J\x1b[H"
        } else {
            ""
        };
        output::line(&format!("{clear}{}", aligned(&lines)))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn figures(it: &v1::ContainerStats, width: Width) -> String {
    let share = it.memory as f64 / it.memory_limit.max(1) as f64 * 100.0;
    format!(
        "{}\t{}\t{:.2}%\t{} / {}\t{share:.2}%\t{} / {}\t{} / {}\t{}",
        width.id(&it.id),
        it.name,
        it.cpu_percent,
        binary(it.memory),
        binary(it.memory_limit),
        decimal(it.net_received),
        decimal(it.net_sent),
        decimal(it.block_read),
        decimal(it.block_written),
        it.pids
    )
}

async fn top(client: &Client, reference: String) -> anyhow::Result<ExitCode> {
    let answer = client
        .containers
        .clone()
        .top(v1::ContainerTopRequest { reference })
        .await;
    let answer = answer.map_err(|status| said(&status))?.into_inner();
    let mut lines = vec!["UID\tPID\tPPID\tC\tSTIME\tTTY\tTIME\tCMD".to_owned()];
    for it in answer.processes {
        let seconds = it.cpu_ms / 1000;
        let started = time(it.started_ms);
        let clock = started.split_once('T').map_or("", |(_, clock)| clock);
        lines.push(format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{:02}:{:02}:{:02}\t{}",
            it.user,
            it.pid,
            it.parent,
            it.cpu_percent,
            clock.get(..5).unwrap_or_default(),
            it.terminal,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            it.command
        ));
    }
    output::line(&aligned(&lines))?;
    Ok(ExitCode::SUCCESS)
}
