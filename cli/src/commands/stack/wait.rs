//! Waits for services: for one that another depends on, or for all side by side.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::join_all;
use skep_deploy::stack::{Condition, Dependency};
use skep_proto::ids::ServiceId;
use skep_proto::service::Service;
use skep_proto::spec::Mode;
use skep_proto::task::{Task, TaskState};
use skep_proto::wire::v1;
use tonic::Code;

use super::cluster::{self, ask, end_of};
use super::end::End;
use crate::commands::client::Client;
use crate::output;

/// Tasks that found no node for so long will find none: others that make room take less.
const NO_PLACE_FOR: Duration = Duration::from_secs(10);

/// How to wait.
pub struct Waiting<'a> {
    /// The cluster.
    pub client: &'a Client,
    /// Not longer than this.
    pub deadline: Option<Instant>,
    /// Show nothing.
    pub quiet: bool,
}

/// A service that is waited for.
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Which.
    pub id: ServiceId,
}

/// What is known of a service that is waited for.
struct Standing {
    name: String,
    last: String,
    no_place: Option<(Instant, String)>,
}

impl Waiting<'_> {
    /// Waits until something that a service depends on is there.
    ///
    /// # Errors
    /// An [`End`] that says why it will not be there.
    pub async fn until(&self, before: &Dependency) -> anyhow::Result<()> {
        match self
            .watch(&before.service, &before.service, before.condition)
            .await
        {
            End::Converged => Ok(()),
            end => Err(end.into()),
        }
    }

    /// Waits for all services side by side and says how each of them ended.
    pub async fn all(&self, services: Vec<Watched>) -> Vec<End> {
        let watches = services.iter().map(|watched| async {
            let id = watched.id.to_string();
            self.watch(&watched.name, &id, Condition::Healthy).await
        });
        join_all(watches).await
    }

    async fn watch(&self, name: &str, reference: &str, condition: Condition) -> End {
        let mut standing = Standing {
            name: name.to_owned(),
            last: String::new(),
            no_place: None,
        };
        let end = self.follow(&mut standing, reference, condition).await;
        let end = end.unwrap_or_else(|error| match error.downcast::<End>() {
            Ok(end) => end,
            Err(error) => End::Refused(format!("{name}: {error:#}")),
        });
        if end != End::Converged {
            self.show(&format!("{name}: {end}"));
        }
        end
    }

    /// Follows the pictures of a service; a lost connection to the leader is taken up again.
    async fn follow(
        &self,
        standing: &mut Standing,
        reference: &str,
        condition: Condition,
    ) -> anyhow::Result<End> {
        loop {
            let message = v1::WatchServiceRequest {
                reference: reference.to_owned(),
            };
            let mut stream = ask(|| {
                let (mut control, message) = (self.client.control.clone(), message.clone());
                async move { control.watch_service(message).await }
            })
            .await?;
            loop {
                let next = match self.left(standing) {
                    Some(left) => match tokio::time::timeout(left, stream.message()).await {
                        Ok(next) => next,
                        Err(_) => match self.out_of_time(standing) {
                            Some(end) => return Ok(end),
                            None => continue,
                        },
                    },
                    None => stream.message().await,
                };
                match next {
                    Ok(Some(picture)) => {
                        if let Some(end) = self.look(standing, picture, condition).await? {
                            return Ok(end);
                        }
                    }
                    Ok(None) => break,
                    Err(status) => match status.code() {
                        // The leader changed, or the manager we asked went away: ask again.
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
                            break;
                        }
                        Code::NotFound => {
                            let text = format!("{}: the service was removed", standing.name);
                            return Ok(End::Superseded(text));
                        }
                        _ => return Ok(end_of(&status)),
                    },
                }
            }
        }
    }

    async fn look(
        &self,
        standing: &mut Standing,
        picture: v1::ServiceProgress,
        condition: Condition,
    ) -> anyhow::Result<Option<End>> {
        let service = picture.service.context("an answer without a service")?;
        let service = Service::try_from(service)?;
        let (mut started, mut no_place, mut reason) = (0u32, None, String::new());
        for entry in picture.tasks {
            let task = Task::try_from(entry.task.context("an answer without a task")?)?;
            if task.desired > TaskState::Running || task.template != service.template {
                continue;
            }
            let status = &task.status;
            if (TaskState::Starting..=TaskState::Running).contains(&status.state) {
                started += 1;
            }
            if status.state != TaskState::Running && reason.is_empty() {
                let why = if status.error.is_empty() {
                    &status.message
                } else {
                    &status.error
                };
                reason = format!(
                    " ({}/{}: {}: {why})",
                    task.slot, picture.desired, status.state
                );
            }
            if status.state <= TaskState::Pending && !status.error.is_empty() {
                no_place = Some(format!("{}.{}: {}", standing.name, task.slot, status.error));
            }
        }
        let since = |standing: &Standing| standing.no_place.as_ref().map(|(since, _)| *since);
        standing.no_place = no_place.map(|why| (since(standing).unwrap_or_else(Instant::now), why));
        let sum = format!(
            "{}: {} out of {} tasks{reason}",
            standing.name, picture.running, picture.desired
        );
        if standing.last != sum {
            self.show(&sum);
            standing.last = sum;
        }
        let there = match condition {
            Condition::Started => started >= picture.desired,
            Condition::Healthy => picture.converged,
            Condition::Completed => return self.completed(standing, &service).await,
        };
        if there {
            return Ok(Some(End::Converged));
        }
        Ok(self.out_of_time(standing))
    }

    /// Whether a job has ended well.
    async fn completed(
        &self,
        standing: &Standing,
        service: &Service,
    ) -> anyhow::Result<Option<End>> {
        let (mut well, mut live, mut failed) = (0, 0, None);
        for entry in cluster::tasks(self.client, service.id).await? {
            let task = Task::try_from(entry.task.context("an answer without a task")?)?;
            if task.template != service.template {
                continue;
            }
            match task.status.state {
                TaskState::Complete => well += 1,
                state if state.ended() => failed = Some(task.status.error.clone()),
                _ => live += 1,
            }
        }
        let needed = match service.spec.mode {
            Mode::ReplicatedJob { total, .. } => total,
            Mode::Replicated { replicas } => replicas,
            Mode::Global | Mode::GlobalJob => 1,
        };
        if live == 0 && well >= needed {
            return Ok(Some(End::Converged));
        }
        if live == 0
            && let Some(why) = failed
        {
            let text = format!(
                "{} failed, and others wait for its end: {why}",
                standing.name
            );
            return Ok(Some(End::Stuck(text)));
        }
        Ok(self.out_of_time(standing))
    }

    /// How long to wait for the next picture at most.
    fn left(&self, standing: &Standing) -> Option<Duration> {
        let no_place = standing.no_place.as_ref();
        let no_place = no_place.map(|(since, _)| *since + NO_PLACE_FOR);
        let until = [self.deadline, no_place].into_iter().flatten().min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn out_of_time(&self, standing: &Standing) -> Option<End> {
        let now = Instant::now();
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        if let Some((since, why)) = &standing.no_place
            && (late || now >= *since + NO_PLACE_FOR)
        {
            return Some(End::Unschedulable(why.clone()));
        }
        let last = || match standing.last.as_str() {
            "" => format!("{}: nothing is known of it yet", standing.name),
            last => last.to_owned(),
        };
        late.then(|| End::TimedOut(last()))
    }

    fn show(&self, text: &str) {
        if !self.quiet {
            output::notice(text);
        }
    }
}
