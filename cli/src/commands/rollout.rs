//! `skep rollout`: what becomes of services that are being updated.

use std::process::ExitCode;

use serde::Serialize;
use skep_proto::service::Service;
use skep_proto::wire::v1;

use super::client::{Client, persist, request};
use super::rows::{ago, time};
use super::service::{differences, me, read, rollback};
use super::verdict::{End, Goal};
use super::watch;
use crate::args::service::{
    RolloutCommand, RolloutHistoryArgs, RolloutResumeArgs, RolloutTurnArgs, WaitArgs,
};
use crate::output::{self, Column};

/// Does what `skep rollout …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: RolloutCommand) -> anyhow::Result<ExitCode> {
    match command {
        RolloutCommand::Status(args) => {
            watch::rollout(client, &args.service, Goal::Settled, args.wait).await
        }
        RolloutCommand::Pause(args) => pause(client, args).await,
        RolloutCommand::Resume(args) => resume(client, args).await,
        RolloutCommand::Undo(args) => rollback(client, args).await,
        RolloutCommand::History(args) => history(client, args).await,
    }
}

async fn pause(client: &Client, args: RolloutTurnArgs) -> anyhow::Result<ExitCode> {
    let (service, wait) = (args.service, WaitArgs::default());
    let action = v1::RolloutAction::Pause;
    match turn(client, &service, action, args.reason).await {
        Ok(answer) if answer.unchanged => watch::tell(&service, &End::NothingToDo, wait),
        Ok(_) => {
            output::line(&service)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => watch::tell(&service, &watch::end_of(&error), wait),
    }
}

async fn resume(client: &Client, args: RolloutResumeArgs) -> anyhow::Result<ExitCode> {
    let (service, wait) = (args.service, args.wait);
    let action = v1::RolloutAction::Resume;
    match turn(client, &service, action, args.reason).await {
        Ok(_) if wait.detach => {
            output::line(&service)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(_) => watch::rollout(client, &service, Goal::Settled, wait).await,
        Err(error) => watch::tell(&service, &watch::end_of(&error), wait),
    }
}

async fn turn(
    client: &Client,
    service: &str,
    action: v1::RolloutAction,
    reason: Option<String>,
) -> anyhow::Result<v1::UpdateServiceAnswer> {
    let message = v1::ChangeRolloutRequest {
        request: request(),
        reference: service.to_owned(),
        action: action.into(),
        by: me(),
        why: reason.unwrap_or_default(),
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.change_rollout(message).await }
    })
    .await
}

/// A revision in a list.
#[derive(Serialize, Debug)]
struct RevisionRow {
    /// Its number.
    revision: String,
    /// `current`, or where the update that leads there stands.
    state: String,
    /// When, RFC 3339.
    at: String,
    /// Who.
    by: String,
    /// Why.
    why: String,
    /// Image.
    image: String,
    /// What it changed.
    changes: Vec<String>,
}

const COLUMNS: &[Column<RevisionRow>] = &[
    ("REVISION", |row, _| row.revision.clone()),
    ("STATE", |row, _| row.state.clone()),
    ("WHEN", |row, _| ago(&row.at)),
    ("BY", |row, _| row.by.clone()),
    ("IMAGE", |row, _| row.image.clone()),
    ("REASON", |row, width| width.text(&row.why)),
];

async fn history(client: &Client, args: RolloutHistoryArgs) -> anyhow::Result<ExitCode> {
    let service = read(client, &args.service).await?;
    let rows = rows(&service);
    let Some(wanted) = args.revision else {
        output::list(&rows, COLUMNS, |row| &row.revision, &args.list)?;
        return Ok(ExitCode::SUCCESS);
    };
    let found = rows
        .into_iter()
        .find(|row| row.revision == wanted.to_string());
    let row = found.ok_or_else(|| {
        let name = &service.spec.name;
        anyhow::anyhow!(
            "revision {wanted} of service \"{name}\" is not kept; see which are with: skep rollout history \
             {name}"
        )
    })?;
    output::objects(&[row], args.list.format)?;
    Ok(ExitCode::SUCCESS)
}

fn rows(service: &Service) -> Vec<RevisionRow> {
    let mut rows = Vec::new();
    let mut before = None;
    for revision in &service.history {
        let update = service.update.as_ref();
        let update = update.filter(|update| update.to == revision.number);
        let state = match update {
            Some(update) => update.state.to_string(),
            None if revision.number == service.revision => "current".to_owned(),
            None => String::new(),
        };
        let changes = before.map(|before| differences(before, &revision.spec));
        rows.push(RevisionRow {
            revision: revision.number.to_string(),
            state,
            at: time(revision.at),
            by: revision.by.clone(),
            why: revision.why.clone(),
            image: revision.spec.task.container.image.name.clone(),
            changes: changes.unwrap_or_default(),
        });
        before = Some(&*revision.spec);
    }
    rows
}
