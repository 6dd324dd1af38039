//! Watches a service until it is what was asked for.

use std::process::ExitCode;

use anyhow::{Context, bail};
use skep_proto::service::Service;
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::v1;

use super::client::{Client, persist, said};
use crate::output::progress::{Progress, SlotProgress};

/// Shows how the service gets there and returns once it has converged. A lost connection to the leader is
/// taken up again.
///
/// # Errors
/// When the service is removed meanwhile, or no manager answers any more.
pub async fn until_converged(
    client: &Client,
    service: &str,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(quiet);
    loop {
        let message = v1::WatchServiceRequest {
            reference: service.to_owned(),
        };
        let mut stream = persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.watch_service(message).await }
        })
        .await?;
        loop {
            match stream.message().await {
                Ok(Some(picture)) => {
                    let (converged, problems) = (picture.converged, picture.problems.clone());
                    show(&mut progress, picture)?;
                    if converged {
                        return finish(progress, &problems);
                    }
                }
                // The leader changed, or the manager we asked went away: ask again.
                Ok(None) => break,
                Err(status) if status.code() == tonic::Code::Unavailable => break,
                Err(status) => return Err(said(&status)),
            }
        }
    }
}

/// The service runs; whether it can be reached is what counts.
fn finish(progress: Progress, problems: &[String]) -> anyhow::Result<ExitCode> {
    if problems.is_empty() {
        progress.finish("verify: Service converged");
        return Ok(ExitCode::SUCCESS);
    }
    progress.finish("verify: Service runs, but cannot be reached everywhere");
    bail!("{}", problems.join("; "))
}

fn show(progress: &mut Progress, picture: v1::ServiceProgress) -> anyhow::Result<()> {
    let service = Service::try_from(picture.service.context("an answer without a service")?)?;
    let mut slots = Vec::new();
    for entry in picture.tasks {
        let task = Task::try_from(entry.task.context("an answer without a task")?)?;
        if task.desired <= TaskState::Running && task.template == service.template {
            slots.push((task.slot, slot(&task, picture.desired)));
        }
    }
    slots.sort_by_key(|(slot, _)| *slot);
    let slots: Vec<SlotProgress> = slots.into_iter().map(|(_, shown)| shown).collect();
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    progress.show(count(picture.running), count(picture.desired), &slots);
    Ok(())
}

fn slot(task: &Task, desired: u32) -> SlotProgress {
    let status = &task.status;
    let reason = if status.error.is_empty() {
        &status.message
    } else {
        &status.error
    };
    let message = match status.state {
        TaskState::Running => "running".to_owned(),
        state if reason.is_empty() => state.to_string(),
        state => format!("{state}: {reason}"),
    };
    SlotProgress {
        slot: format!("{}/{desired}", task.slot),
        rung: if status.state == TaskState::Running {
            8
        } else {
            rung(status.state)
        },
        message,
    }
}

/// How far a state is from nothing to running, of eight.
fn rung(state: TaskState) -> u64 {
    TaskState::ALL
        .iter()
        .position(|each| *each == state)
        .map_or(0, |at| if at < 8 { at as u64 } else { 0 })
}
