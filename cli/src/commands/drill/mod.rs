//! `skep drill`: looks first, begins, watches and asks, ends, and tells what came of it.
//!
//! A drill needs nobody to end: its node undoes what it did, and its lease ends by itself. So this command may be
//! killed at any moment.

mod clock;
mod game_day;
pub mod probe;
mod run;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use skep_deploy::drill::{Budget, Report, Verdict, html};
use skep_proto::drill::{DrillKind, FUSE, Fill};
use skep_proto::wire::v1;
use tonic::Code;

use self::run::Ending;
use super::client::{Client, persist, request, said};
use crate::args::drill::{
    DrillCommand, FillArgs, KindArg, MeasureArgs, PlanArgs, ReportForm, StopArgs,
};
use crate::output;

/// A drill that fails nothing for a time, such as a task's, may take so long besides its budget.
const SETTLES: Duration = Duration::from_secs(45);
/// Exit code: it cost more than its budget.
const OVER_BUDGET: u8 = 1;
/// Exit code: it was not begun.
const REFUSED: u8 = 15;

/// What is asked for.
#[derive(Clone, Debug)]
struct Wanted {
    kind: DrillKind,
    target: Option<String>,
    lasts: Duration,
    fill: Option<Fill>,
    measure: MeasureArgs,
}

/// What a manager is asked for.
struct Asked<'a> {
    kind: DrillKind,
    target: Option<&'a str>,
    lasts: Duration,
    fill: Option<Fill>,
    max_recovery: Duration,
}

impl Wanted {
    /// One that fails nothing for a time.
    fn new(kind: DrillKind, target: Option<String>, measure: MeasureArgs) -> Self {
        Self {
            kind,
            target,
            lasts: Duration::ZERO,
            fill: None,
            measure,
        }
    }

    fn lasts(self, lasts: Duration) -> Self {
        Self { lasts, ..self }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            kind: self.kind,
            target: self.target.as_deref(),
            lasts: self.lasts,
            fill: self.fill,
            max_recovery: self.measure.max_recovery,
        }
    }
}

/// Does what `skep drill …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: DrillCommand) -> anyhow::Result<ExitCode> {
    let wanted = match command {
        DrillCommand::Task(args) => Wanted::new(DrillKind::Task, args.target, args.measure),
        DrillCommand::RestartDaemon(args) => {
            Wanted::new(DrillKind::RestartDaemon, args.node, args.measure)
        }
        DrillCommand::Node(args) => {
            Wanted::new(DrillKind::Node, args.node, args.measure).lasts(args.lasts)
        }
        DrillCommand::Link(args) => {
            Wanted::new(DrillKind::Link, args.node, args.measure).lasts(args.lasts)
        }
        DrillCommand::Disk(args) => Wanted {
            fill: Some(fill_of(args.fill)),
            ..Wanted::new(DrillKind::Disk, args.node, args.measure).lasts(args.lasts)
        },
        DrillCommand::Leader(args) => {
            Wanted::new(DrillKind::Leader, None, args.measure).lasts(args.lasts)
        }
        DrillCommand::GameDay(args) => return game_day::run(client, args).await,
        DrillCommand::Plan(args) => return plan(client, args).await,
        DrillCommand::Ls(args) => return show::ls(client, args).await,
        DrillCommand::Inspect(args) => return show::inspect(client, args).await,
        DrillCommand::Stop(args) => return stop(client, args).await,
    };
    let page = wanted.measure.report.clone();
    if let Some(file) = &page {
        writable(file)?;
    }
    let form = wanted.measure.output;
    let (held, ending) = match run::hold(client, wanted).await {
        Ok(held) => held,
        Err(error) => return Ok(told_end(&error)),
    };
    if let Some(file) = &page {
        write_report(file, &held)?;
    }
    match form {
        ReportForm::Json => output::line(&serde_json::to_string_pretty(&held)?)?,
        ReportForm::Text => output::line(&skep_deploy::drill::text(&held))?,
    }
    Ok(ExitCode::from(code(&held, ending)))
}

/// Exit code of a drill that was begun.
fn code(report: &Report, ending: Ending) -> u8 {
    match (report.verdict, ending) {
        (_, Ending::Refused) => REFUSED,
        (Verdict::Passed, _) => 0,
        (Verdict::Failed, _) => OVER_BUDGET,
    }
}

/// Says why a drill was not begun: nothing was changed then, or nobody answers.
fn told_end(error: &anyhow::Error) -> ExitCode {
    output::notice(&format!("Error: {error:#}"));
    ExitCode::from(super::watch::end_of(error).code())
}

fn kind_of(kind: KindArg) -> DrillKind {
    match kind {
        KindArg::Task => DrillKind::Task,
        KindArg::RestartDaemon => DrillKind::RestartDaemon,
        KindArg::Node => DrillKind::Node,
        KindArg::Link => DrillKind::Link,
        KindArg::Leader => DrillKind::Leader,
        KindArg::Disk => DrillKind::Disk,
    }
}

fn fill_of(args: FillArgs) -> Fill {
    Fill {
        reserve: args.reserve,
        shared: args.allow_shared,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn budget(measure: &MeasureArgs) -> Budget {
    Budget {
        max_recovery_ms: millis(measure.max_recovery),
        max_lost: measure.max_lost,
    }
}

/// This node, from which the drill is asked for; none from outside.
async fn here(client: &Client) -> anyhow::Result<Vec<u8>> {
    let status = client.local.clone().status(v1::StatusRequest {}).await;
    match status {
        Ok(status) => Ok(status.into_inner().node.unwrap_or_default()),
        Err(status) if status.code() == Code::FailedPrecondition => Ok(Vec::new()),
        Err(status) => Err(said(&status)),
    }
}

async fn asked(client: &Client, asked: &Asked<'_>) -> anyhow::Result<v1::DrillRequest> {
    Ok(v1::DrillRequest {
        request: request(),
        kind: v1::DrillKind::from(asked.kind).into(),
        target: asked.target.map(str::to_owned),
        lasts_ms: millis(asked.lasts),
        lease_ms: millis(lease(asked.lasts, asked.max_recovery)),
        asked_on: here(client).await?,
        fill: asked.fill.map(Into::into),
    })
}

/// For how long a drill is watched at most.
fn lease(lasts: Duration, max_recovery: Duration) -> Duration {
    FUSE.saturating_add(lasts)
        .saturating_add(max_recovery)
        .saturating_add(SETTLES)
}

async fn looked_at(client: &Client, message: &v1::DrillRequest) -> anyhow::Result<v1::DrillPlan> {
    persist(|| {
        let (mut drills, message) = (client.drills.clone(), message.clone());
        async move { drills.plan_drill(message).await }
    })
    .await
}

async fn plan(client: &Client, args: PlanArgs) -> anyhow::Result<ExitCode> {
    let kind = kind_of(args.kind);
    let message = asked(
        client,
        &Asked {
            kind,
            target: args.target.as_deref(),
            lasts: match kind.lasts() {
                true => args.lasts,
                false => Duration::ZERO,
            },
            fill: (kind == DrillKind::Disk).then(|| fill_of(args.fill)),
            max_recovery: Duration::ZERO,
        },
    )
    .await?;
    let plan = match looked_at(client, &message).await {
        Ok(plan) => plan,
        Err(error) => return Ok(told_end(&error)),
    };
    match args.output {
        ReportForm::Json => output::line(&serde_json::to_string_pretty(&show::planned(&plan))?)?,
        ReportForm::Text => output::line(&show::plan_text(kind, &plan))?,
    }
    Ok(match plan.refusals.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(REFUSED),
    })
}

async fn stop(client: &Client, args: StopArgs) -> anyhow::Result<ExitCode> {
    let message = v1::EndDrillRequest {
        request: request(),
        reference: args.drill,
        verdict: "stopped".to_owned(),
        report: String::new(),
    };
    let answer = persist(|| {
        let (mut drills, message) = (client.drills.clone(), message.clone());
        async move { drills.end_drill(message).await }
    })
    .await?;
    let drill = answer.drill.context("an answer without a drill")?;
    let drill = skep_proto::drill::Drill::try_from(drill)?;
    output::line(&drill.id.to_string())?;
    let undone = drill.undone();
    if drill.kind.cuts() && !undone {
        output::notice(&format!(
            "{} may be cut off still: then it comes back by itself, {:?} after its failure",
            drill.target, drill.lasts
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a report's file before anything happens.
fn writable(file: &Path) -> anyhow::Result<()> {
    let known = file
        .extension()
        .is_some_and(|end| end == "html" || end == "json");
    if !known {
        bail!(
            "--report {}: a report is a page (NAME.html) or JSON (NAME.json)",
            file.display()
        );
    }
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .map(drop)
        .with_context(|| format!("--report: cannot write {}", file.display()))
}

fn write_report(file: &Path, report: &Report) -> anyhow::Result<()> {
    let json = || Ok(serde_json::to_string_pretty(report)?);
    write_text(file, json, || html(report))
}

/// Writes what the file's name asks for.
fn write_text(
    file: &Path,
    json: impl FnOnce() -> anyhow::Result<String>,
    page: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let text = match file.extension().is_some_and(|end| end == "json") {
        true => json()?,
        false => page(),
    };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
