//! Shows plans of drills, and the drills that were held.

use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use skep_deploy::drill::{Past, Report, Trend, text, trends};
use skep_proto::drill::{Drill, DrillKind};
use skep_proto::wire::v1;

use super::{writable, write_report};
use crate::args::ListArgs;
use crate::args::drill::ReportArgs;
use crate::commands::client::{Client, persist};
use crate::commands::rows::{ago, time};
use crate::output::{self, Column, Format};

/// A plan for programs.
#[derive(Serialize)]
pub struct Planned<'a> {
    node: &'a str,
    target: &'a str,
    tasks: &'a [String],
    services: Vec<PlannedService<'a>>,
    asked: Vec<String>,
    steps: &'a [String],
    refusals: &'a [String],
}

#[derive(Serialize)]
struct PlannedService<'a> {
    name: &'a str,
    desired: u32,
    running: u32,
    touched: u32,
}

/// Where a plan's services can be asked.
fn places(plan: &v1::DrillPlan) -> Vec<String> {
    let doors = plan.doors.iter().filter_map(|door| {
        let address = std::net::SocketAddr::try_from(door.address.clone()?).ok()?;
        let port = address.port();
        Some(format!("{} on {}:{port}", door.service, door.node_name))
    });
    doors.collect()
}

/// A plan for programs.
pub fn planned(plan: &v1::DrillPlan) -> Planned<'_> {
    let services = plan.services.iter().map(|it| PlannedService {
        name: &it.name,
        desired: it.desired,
        running: it.running,
        touched: it.touched,
    });
    Planned {
        node: &plan.node_name,
        target: &plan.target,
        tasks: &plan.tasks,
        services: services.collect(),
        asked: places(plan),
        steps: &plan.steps,
        refusals: &plan.refusals,
    }
}

/// A plan for people.
pub fn plan_text(kind: DrillKind, plan: &v1::DrillPlan) -> String {
    let mut lines = vec![format!("Drill {kind} of {}", plan.target)];
    let mut part = |title: &str, all: &[String]| {
        if !all.is_empty() {
            lines.push(String::new());
            lines.push(title.to_owned());
            lines.extend(all.iter().map(|one| format!("  - {one}")));
        }
    };
    part("What happens:", &plan.steps);
    let services = plan.services.iter().map(|it| {
        let (name, running, desired) = (&it.name, it.running, it.desired);
        format!(
            "{name}: {} of its {running} tasks ({desired} are to run)",
            it.touched
        )
    });
    let services: Vec<String> = services.collect();
    part("Services it touches:", &services);
    part("Tasks:", &plan.tasks);
    part("Asked meanwhile:", &places(plan));
    part("It would be refused:", &plan.refusals);
    if plan.refusals.is_empty() {
        lines.push(String::new());
        lines.push("Nothing speaks against it, and nothing was changed.".to_owned());
    }
    lines.join("\n")
}

/// A drill that was held.
#[derive(Serialize)]
struct Row {
    id: String,
    kind: String,
    target: String,
    by: String,
    begun: String,
    state: String,
    verdict: String,
    recovered_ms: Option<u64>,
    /// Against those of its kind before it.
    #[serde(flatten)]
    trend: Trend,
    lost: Option<u64>,
    sent: Option<u64>,
}

/// The same with its report.
#[derive(Serialize)]
struct Sheet {
    #[serde(flatten)]
    row: Row,
    report: Option<Report>,
}

fn sheet(entry: v1::DrillEntry) -> anyhow::Result<Sheet> {
    let drill = Drill::try_from(entry.drill.context("an answer without a drill")?)?;
    let end = drill.end.as_ref();
    // A report of another release is not shown, and the drill is all the same.
    let report: Option<Report> = end.and_then(|end| serde_json::from_str(&end.report).ok());
    let requests = report.as_ref().map(|report| &report.requests);
    Ok(Sheet {
        row: Row {
            id: drill.id.to_string(),
            kind: drill.kind.to_string(),
            target: drill.target.clone(),
            by: drill.by.clone(),
            begun: time(drill.begun),
            state: entry.state,
            verdict: end.map_or_else(String::new, |end| end.verdict.clone()),
            recovered_ms: report.as_ref().and_then(|it| it.measured.recovered_ms),
            trend: Trend::default(),
            lost: requests.map(|requests| requests.lost),
            sent: requests.map(|requests| requests.sent),
        },
        report,
    })
}

async fn kept(client: &Client, reference: Option<&str>) -> anyhow::Result<Vec<Sheet>> {
    let answer = persist(|| {
        let mut drills = client.drills.clone();
        let reference = reference.map(str::to_owned);
        async move {
            drills
                .list_drills(v1::ListDrillsRequest { reference })
                .await
        }
    })
    .await?;
    answer.drills.into_iter().map(sheet).collect()
}

const COLUMNS: &[Column<Row>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("KIND", |row, _| row.kind.clone()),
    ("TARGET", |row, _| row.target.clone()),
    ("BY", |row, _| row.by.clone()),
    ("BEGUN", |row, _| ago(&row.begun)),
    ("STATE", |row, _| row.state.clone()),
    ("VERDICT", |row, _| row.verdict.clone()),
    ("RECOVERED", |row, _| {
        let took = row.recovered_ms;
        took.map_or_else(String::new, |took| format!("{took} ms"))
    }),
    ("USUALLY", |row, _| {
        let median = row.trend.median_ms;
        let median = median.map_or_else(String::new, |median| format!("{median} ms"));
        match row.trend.pace {
            Some(pace) => format!("{median} ({})", pace.word()),
            None => median,
        }
    }),
    ("LOST", |row, _| match (row.lost, row.sent) {
        (Some(lost), Some(sent)) if sent > 0 => format!("{lost}/{sent}"),
        _ => String::new(),
    }),
];

/// Compares each with those of its kind before it; the newest is the first.
fn compare(rows: &mut [Row]) {
    let past = rows.iter().map(|row| Past {
        kind: row.kind.clone(),
        recovered_ms: row.recovered_ms,
    });
    let past: Vec<Past> = past.collect();
    for (row, trend) in rows.iter_mut().zip(trends(&past)) {
        row.trend = trend;
    }
}

/// `skep drill ls`.
///
/// # Errors
/// When the cluster cannot be asked.
pub async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let sheets = kept(client, None).await?;
    let mut rows: Vec<Row> = sheets.into_iter().map(|sheet| sheet.row).collect();
    compare(&mut rows);
    output::list(&rows, COLUMNS, |row| &row.id, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// `skep drill inspect`.
///
/// # Errors
/// When the cluster cannot be asked, or does not know one.
pub async fn inspect(client: &Client, args: ReportArgs) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.report {
        writable(file)?;
    }
    let mut sheets = Vec::new();
    for reference in &args.inspect.objects {
        sheets.extend(kept(client, Some(reference)).await?);
    }
    if let Some(file) = &args.report {
        let first = sheets.first().context("an answer without a drill")?;
        let report = first.report.as_ref().with_context(|| {
            format!(
                "drill {} has no report: it was not watched to its end",
                first.row.id
            )
        })?;
        write_report(file, report)?;
    }
    match args.inspect.form() {
        Format::Table => {
            for sheet in &sheets {
                match &sheet.report {
                    Some(report) => output::line(&text(report))?,
                    None => output::objects(std::slice::from_ref(&sheet.row), Format::Table)?,
                }
            }
        }
        form => {
            let none = vec![Value::Null; sheets.len()];
            output::inspected(&sheets, &none, form)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
