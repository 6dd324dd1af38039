//! Watches a service until it is what was asked for, or it is clear that it will not be.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use skep_proto::service::Service;
use skep_proto::spec::Mode;
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::v1;
use tonic::Code;

use super::client::{Client, Refusal, persist, said};
use super::verdict::{End, Goal, verdict};
use crate::args::service::{OutputArg, WaitArgs};
use crate::output::progress::{Progress, SlotProgress};

/// Tasks that found no node for so long will find none: a place that others make room in takes less.
const NO_PLACE_FOR: Duration = Duration::from_secs(10);

/// Shows how the service gets there and returns once it has converged. A lost connection to the leader is
/// taken up again.
///
/// # Errors
/// When the service is removed meanwhile, or no manager answers any more.
pub async fn until_converged(
    client: &Client,
    service: &str,
    wait: WaitArgs,
) -> anyhow::Result<ExitCode> {
    let mut watch = Watch::new(Goal::Settled, wait);
    watch.patient = wait.timeout.is_none();
    let end = watch.run(client, service).await?;
    let problems = std::mem::take(&mut watch.problems);
    watch.finish(service, &end)?;
    // The service runs; whether it can be reached is what counts.
    if end == End::Converged && !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(ExitCode::from(end.code()))
}

/// Shows how a rollout gets on and says how it ended, on the standard error output and as exit code.
///
/// # Errors
/// When nothing can be written.
pub async fn rollout(
    client: &Client,
    service: &str,
    goal: Goal,
    wait: WaitArgs,
) -> anyhow::Result<ExitCode> {
    let mut watch = Watch::new(goal, wait);
    let end = match watch.run(client, service).await {
        Ok(end) => end,
        Err(error) => end_of(&error),
    };
    watch.finish(service, &end)?;
    Ok(ExitCode::from(end.code()))
}

/// What a call that failed means for a rollout.
pub fn end_of(error: &anyhow::Error) -> End {
    let text = format!("{error:#}");
    match error.downcast_ref::<Refusal>().map(|it| it.code) {
        Some(Code::Unavailable | Code::DeadlineExceeded | Code::Unknown) => End::NoAnswer(text),
        _ => End::Refused(text),
    }
}

struct Watch {
    goal: Goal,
    wait: WaitArgs,
    begin: Instant,
    progress: Progress,
    /// Tasks without a place are waited for.
    patient: bool,
    no_place: Option<(Instant, String)>,
    last: String,
    problems: Vec<String>,
}

impl Watch {
    fn new(goal: Goal, wait: WaitArgs) -> Self {
        let progress = match wait.output {
            _ if wait.quiet => Progress::new(true),
            None => Progress::new(false),
            Some(OutputArg::Json) => Progress::new(true),
            Some(OutputArg::Lines) => Progress::lines(),
            Some(OutputArg::Tty) => Progress::bars(),
        };
        Self {
            goal,
            wait,
            begin: Instant::now(),
            progress,
            patient: false,
            no_place: None,
            last: "nothing is known of it yet".to_owned(),
            problems: Vec::new(),
        }
    }

    async fn run(&mut self, client: &Client, service: &str) -> anyhow::Result<End> {
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
                let next = match self.left() {
                    Some(left) => match tokio::time::timeout(left, stream.message()).await {
                        Ok(next) => next,
                        Err(_) => match self.out_of_time() {
                            Some(end) => return Ok(end),
                            None => continue,
                        },
                    },
                    None => stream.message().await,
                };
                match next {
                    Ok(Some(picture)) => {
                        if let Some(end) = self.look(picture)? {
                            return Ok(end);
                        }
                    }
                    // The leader changed, or the manager we asked went away: ask again.
                    Ok(None) => break,
                    Err(status) if broken(&status) => break,
                    Err(status)
                        if status.code() == Code::NotFound && self.goal != Goal::Settled =>
                    {
                        return Ok(End::Superseded("the service was removed".to_owned()));
                    }
                    Err(status) => return Err(said(&status)),
                }
            }
        }
    }

    fn look(&mut self, picture: v1::ServiceProgress) -> anyhow::Result<Option<End>> {
        let shown = read(&picture)?;
        self.problems.clone_from(&picture.problems);
        let (running, desired) = (picture.running, picture.desired);
        self.last = format!("{running} of {desired} tasks run");
        if let Some(update) = shown.service.unfinished() {
            self.last = format!("{}: {}", self.last, update.message);
        }
        match &shown.no_place {
            Some(why) => {
                let since = self.no_place.as_ref().map_or_else(Instant::now, |it| it.0);
                self.no_place = Some((since, why.clone()));
            }
            None => self.no_place = None,
        }
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (done, wanted) = match (picture.completed, shown.service.spec.mode) {
            (None, _) => (running, desired),
            (Some(done), Mode::ReplicatedJob { total, .. }) => (done, total),
            (Some(done), _) => (done, done.saturating_add(desired)),
        };
        if picture.completed.is_some() {
            self.last = format!("{done} of {wanted} tasks are done");
        }
        self.progress.show(count(done), count(wanted), &shown.slots);
        if self.wait.output == Some(OutputArg::Json) && !self.wait.quiet {
            say(&Event::of(&picture, &shown.service))?;
        }
        let end = verdict(self.goal, &shown.service, picture.converged);
        Ok(end.or_else(|| self.out_of_time()))
    }

    /// How long to wait for the next picture at most.
    fn left(&self) -> Option<Duration> {
        let timeout = self.wait.timeout.map(|timeout| self.begin + timeout);
        let no_place = self.no_place.as_ref().filter(|_| !self.patient);
        let no_place = no_place.map(|(since, _)| *since + NO_PLACE_FOR);
        let until = [timeout, no_place].into_iter().flatten().min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn out_of_time(&self) -> Option<End> {
        let over = |begin: Instant, most: Duration| begin.elapsed() >= most;
        let timed_out = self
            .wait
            .timeout
            .is_some_and(|timeout| over(self.begin, timeout));
        if let Some((since, why)) = &self.no_place
            && (timed_out || (!self.patient && over(*since, NO_PLACE_FOR)))
        {
            return Some(End::Unschedulable(why.clone()));
        }
        timed_out.then(|| End::TimedOut(self.last.clone()))
    }

    fn finish(self, service: &str, end: &End) -> anyhow::Result<()> {
        if self.wait.output == Some(OutputArg::Json) {
            return tell_json(service, end);
        }
        let text = end.text();
        let text = match end {
            End::Converged if self.problems.is_empty() => format!("verify: {text}"),
            End::Converged => "verify: Service runs, but cannot be reached everywhere".to_owned(),
            _ => text,
        };
        if self.wait.quiet && *end != End::Converged {
            crate::output::notice(&text);
        }
        self.progress.finish(&text);
        Ok(())
    }
}

/// Says how it ended without having watched.
///
/// # Errors
/// When nothing can be written.
pub fn tell(service: &str, end: &End, wait: WaitArgs) -> anyhow::Result<ExitCode> {
    if wait.output == Some(OutputArg::Json) {
        tell_json(service, end)?;
    } else {
        let wrong = matches!(end, End::Refused(_) | End::NoAnswer(_));
        let text = end.text();
        crate::output::notice(&if wrong {
            format!("Error: {text}")
        } else {
            text
        });
    }
    Ok(ExitCode::from(end.code()))
}

fn tell_json(service: &str, end: &End) -> anyhow::Result<()> {
    let last = serde_json::json!({
        "service": service,
        "end": end.word(),
        "code": end.code(),
        "message": end.text(),
    });
    say(&last)
}

fn say<T: Serialize>(event: &T) -> anyhow::Result<()> {
    Ok(crate::output::line(&serde_json::to_string(event)?)?)
}

/// A picture for programs.
#[derive(Serialize)]
struct Event<'a> {
    service: &'a str,
    revision: u64,
    state: String,
    message: &'a str,
    running: u32,
    desired: u32,
    failed: usize,
}

impl<'a> Event<'a> {
    fn of(picture: &v1::ServiceProgress, service: &'a Service) -> Self {
        let update = service.update.as_ref();
        Self {
            service: &service.spec.name,
            revision: service.revision,
            state: update.map_or_else(String::new, |update| update.state.to_string()),
            message: update.map_or("", |update| &update.message),
            running: picture.running,
            desired: picture.desired,
            failed: update.map_or(0, |update| update.failed.len()),
        }
    }
}

struct Shown {
    service: Service,
    slots: Vec<SlotProgress>,
    /// Why a task of the newest spec has no node.
    no_place: Option<String>,
}

fn read(picture: &v1::ServiceProgress) -> anyhow::Result<Shown> {
    let service = picture.service.clone();
    let service = Service::try_from(service.context("an answer without a service")?)?;
    let (mut slots, mut no_place) = (Vec::new(), None);
    for entry in &picture.tasks {
        let task = entry.task.clone().context("an answer without a task")?;
        let task = Task::try_from(task)?;
        if task.desired > TaskState::Running || task.template != service.template {
            continue;
        }
        let status = &task.status;
        if status.state <= TaskState::Pending && !status.error.is_empty() {
            let name = &service.spec.name;
            no_place = no_place.or(Some(format!("{name}.{}: {}", task.slot, status.error)));
        }
        slots.push((task.slot, slot(&task, picture.desired)));
    }
    slots.sort_by_key(|(slot, _)| *slot);
    Ok(Shown {
        service,
        slots: slots.into_iter().map(|(_, shown)| shown).collect(),
        no_place,
    })
}

/// A stream that ended because of who carried it.
fn broken(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
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
        rung: if matches!(status.state, TaskState::Running | TaskState::Complete) {
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
