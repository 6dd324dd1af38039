//! `skep drill game-day`: several drills one after another, by a file, told as one.

mod script;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use skep_deploy::drill::{GameDay, StepEnd, StepReport, game_html};
use skep_proto::time::WallTime;
use skep_proto::wire::v1;

use self::script::{Script, Step};
use super::run::{self, Ending};
use super::{OVER_BUDGET, REFUSED, asked, code, looked_at, show, writable, write_text};
use crate::args::drill::{GameDayArgs, ReportForm};
use crate::commands::client::Client;
use crate::commands::rows::time;
use crate::commands::watch;
use crate::output;

/// From one look at a drill that would be refused to the next.
const LOOK: Duration = Duration::from_secs(1);

/// How a step ended, and what it means for the next.
struct Held {
    step: StepReport,
    /// Exit code of the whole, where no earlier step has given one.
    code: u8,
    /// The user wants no more.
    interrupted: bool,
}

/// Does what `skep drill game-day FILE` says.
///
/// # Errors
/// What is wrong with the file, or that nothing can be written.
pub async fn run(client: &Client, args: GameDayArgs) -> anyhow::Result<ExitCode> {
    let script = script::load(&args.file)?;
    if args.plan {
        return plan(client, &script, args.output).await;
    }
    if let Some(file) = &args.report {
        writable(file)?;
    }
    let begun = time(WallTime::from_unix_millis(super::clock::Clock::new().now()));
    let (steps, code) = hold(client, &script, args.keep_going).await;
    let day = GameDay::new(script.name, begun, steps);
    if let Some(file) = &args.report {
        write_text(
            file,
            || Ok(serde_json::to_string_pretty(&day)?),
            || game_html(&day),
        )?;
    }
    match args.output {
        ReportForm::Json => output::line(&serde_json::to_string_pretty(&day)?)?,
        ReportForm::Text => output::line(&day.text())?,
    }
    Ok(ExitCode::from(code))
}

async fn hold(client: &Client, script: &Script, keep_going: bool) -> (Vec<StepReport>, u8) {
    let count = script.steps.len();
    let (mut told, mut code) = (Vec::new(), 0);
    let mut over = false;
    for (place, step) in script.steps.iter().enumerate() {
        let number = place.saturating_add(1);
        if over {
            told.push(skipped(number, step));
            continue;
        }
        let kind = step.wanted.kind;
        output::notice(&format!("step {number} of {count}: drill {kind}"));
        let held = match place {
            0 => held(client, number, step).await,
            _ => match paused(step.pause).await {
                true => held(client, number, step).await,
                false => Held {
                    step: skipped(number, step),
                    code: OVER_BUDGET,
                    interrupted: true,
                },
            },
        };
        code = if code == 0 { held.code } else { code };
        over = held.interrupted || (held.code != 0 && !keep_going);
        told.push(held.step);
    }
    (told, code)
}

/// Waits; whether the user wants to go on.
async fn paused(pause: Duration) -> bool {
    if !pause.is_zero() {
        output::notice(&format!("a pause of {}", humantime::format_duration(pause)));
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        _ = tokio::signal::ctrl_c() => false,
    }
}

fn skipped(number: usize, step: &Step) -> StepReport {
    StepReport {
        number,
        drill: step.wanted.kind.to_string(),
        target: step.wanted.target.clone(),
        end: StepEnd::Skipped,
        refused: None,
        report: None,
    }
}

async fn held(client: &Client, number: usize, step: &Step) -> Held {
    let ended = skipped(number, step);
    if !clear(client, step).await {
        return Held {
            step: ended,
            code: OVER_BUDGET,
            interrupted: true,
        };
    }
    let (report, ending) = match run::hold(client, step.wanted.clone()).await {
        Ok(held) => held,
        Err(error) => {
            output::notice(&format!("Error: {error:#}"));
            return Held {
                step: StepReport {
                    end: StepEnd::Refused,
                    refused: Some(format!("{error:#}")),
                    ..ended
                },
                code: watch::end_of(&error).code(),
                interrupted: false,
            };
        }
    };
    let code = code(&report, ending);
    let end = match code {
        0 => StepEnd::Passed,
        REFUSED => StepEnd::Refused,
        _ => StepEnd::Failed,
    };
    output::notice(&format!("step {number}: {}", end.word()));
    Held {
        step: StepReport {
            end,
            report: Some(report),
            ..ended
        },
        code,
        interrupted: ending == Ending::Interrupted,
    }
}

async fn look(client: &Client, step: &Step) -> anyhow::Result<v1::DrillPlan> {
    let message = asked(client, &step.wanted.asked()).await?;
    looked_at(client, &message).await
}

/// Waits until nothing speaks against a step, for as long as its file says: what is said then is said by the drill.
/// Whether the user wants to go on.
async fn clear(client: &Client, step: &Step) -> bool {
    let end = tokio::time::Instant::now() + step.wait;
    let mut said = false;
    loop {
        match look(client, step).await {
            Ok(plan) if plan.refusals.is_empty() => return true,
            Ok(plan) if !said => {
                said = true;
                let wait = humantime::format_duration(step.wait);
                output::notice(&format!(
                    "it would be refused, and is looked at again for {wait}: {}",
                    plan.refusals.join("; ")
                ));
            }
            Ok(_) => {}
            // What is wrong now may be right later, as a service that is still to be made.
            Err(_) if said => {}
            Err(error) => {
                said = true;
                output::notice(&format!("it cannot be held yet: {error:#}"));
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(end) => return true,
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return false,
        }
    }
}

async fn plan(client: &Client, script: &Script, form: ReportForm) -> anyhow::Result<ExitCode> {
    let mut refused = false;
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    for (place, step) in script.steps.iter().enumerate() {
        let (number, kind) = (place.saturating_add(1), step.wanted.kind);
        let plan = match look(client, step).await {
            Ok(plan) => plan,
            Err(error) => {
                let code = watch::end_of(&error).code();
                output::notice(&format!("Error: step {number} ({kind}): {error:#}"));
                return Ok(ExitCode::from(code));
            }
        };
        refused |= !plan.refusals.is_empty();
        let pause = match place {
            0 => Duration::ZERO,
            _ => step.pause,
        };
        match form {
            ReportForm::Json => values.push(serde_json::to_value(show::planned(&plan))?),
            ReportForm::Text => texts.push(format!(
                "Step {number} of {}, after a pause of {}\n{}",
                script.steps.len(),
                humantime::format_duration(pause),
                show::plan_text(kind, &plan)
            )),
        }
    }
    match form {
        ReportForm::Json => output::line(&serde_json::to_string_pretty(&values)?),
        ReportForm::Text => output::line(&texts.join("\n\n")),
    }
    .context("cannot print the plan")?;
    Ok(match refused {
        true => ExitCode::from(REFUSED),
        false => ExitCode::SUCCESS,
    })
}
