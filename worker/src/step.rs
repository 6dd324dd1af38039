//! What to do next for one task. Pure.
//!
//! `step` takes what a manager wants of a task and what is true of it on this node, and gives one act and
//! what is to be reported. The driver carries out the act, writes the result into [`Local`] and asks again;
//! it never decides. The same question always gets the same answer, so a daemon that restarts goes on where
//! it was: it fills [`Local`] from its database and from the supervisors that still run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_proto::assignment::{AssignedFile, AssignedTask};
use skep_proto::file::FileId;
use skep_proto::task::{TaskState, TaskStatus};
use skep_proto::time::WallTime;

use crate::health::{Health, Known};

/// Time of this node's monotonic clock, since an arbitrary beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment and `delay`.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }
}

/// What is true of a task on this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Local {
    /// How far it has come.
    pub stage: Stage,
    /// When it came there, by the wall clock.
    pub since: WallTime,
    /// What was connected before it drained has been accepted, or was waited for long enough.
    pub settled: bool,
    /// When the stop signal was sent.
    pub stopped: Option<Moment>,
    /// SIGKILL was sent.
    pub killed: bool,
    /// Its image could not be had yet.
    pub lacking: Option<Lacking>,
    /// What its user is to know while it runs.
    pub note: String,
    /// What the tests of its health have shown.
    pub health: Checked,
    /// Why it is stopped though nobody asked for that: it is not well.
    pub unwell: Option<String>,
    /// Revisions of the secrets and configs that its container shows.
    pub files: BTreeMap<FileId, u64>,
    /// Contents of its secrets and configs that are here.
    pub contents: BTreeSet<(FileId, u64)>,
}

/// How far a task's health is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// It is not known yet whether it has a check.
    Unknown(Known),
    /// It has none: it is well while it runs.
    Never,
    /// By its check.
    By(Health),
}

impl Default for Checked {
    fn default() -> Self {
        Self::Unknown(Known::Nothing)
    }
}

impl Checked {
    /// Whether a test has succeeded, or none is made.
    pub fn is_well(&self) -> bool {
        match self {
            Self::Unknown(known) => *known == Known::Well,
            Self::Never => true,
            Self::By(health) => health.is_well(),
        }
    }
}

/// An image that could not be had yet, though it may be later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lacking {
    /// For a person.
    pub reason: String,
    /// When it was first tried in vain.
    pub since: Moment,
    /// When it is tried again.
    pub again: Moment,
}

/// The first wait for an image that nobody gives; it grows with the time it has been lacking.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Then the task is rejected, and its restart policy says whether another node tries.
const GIVEN_UP: Duration = Duration::from_secs(600);

impl Lacking {
    /// After another attempt in vain; `None` when it is to be given up.
    pub fn again(before: Option<&Self>, reason: String, now: Moment) -> Option<Self> {
        let since = before.map_or(now, |before| before.since);
        let lacked = now.0.saturating_sub(since.0);
        (lacked < GIVEN_UP).then(|| Self {
            reason,
            since,
            again: now.after(lacked.clamp(FIRST_WAIT, LONGEST_WAIT)),
        })
    }
}

/// How far a task has come on this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    /// Nothing of it is here.
    #[default]
    Absent,
    /// Its image is here, whole and verified.
    Fetched,
    /// Its network namespace stands and has its addresses.
    Attached,
    /// Its container is made and waits to be started.
    Created,
    /// It was started.
    Running {
        /// Its first process.
        pid: i32,
    },
    /// It has ended, or could not begin. What is left of it is still here.
    Ended(Ending),
    /// It ended and nothing is left of it save how.
    Removed(Ending),
}

/// How a task ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// What happened.
    pub cause: Cause,
    /// For a person: why it could not begin, or how it was killed. Empty when there is nothing to say.
    pub error: String,
}

/// Why a task is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its first process ended: exit code, 128 + signal when a signal ended it.
    Exited(i32),
    /// It could not begin: no image, no container, no network.
    CouldNotBegin,
    /// It was told to end before it began.
    Cancelled,
    /// Its supervisor is gone and nobody knows how it ended.
    Lost,
}

/// One thing to do. The driver does it and asks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Get the image; leads to [`Stage::Fetched`].
    FetchImage,
    /// Make the network namespace and its interfaces; leads to [`Stage::Attached`].
    Attach,
    /// Make the container; leads to [`Stage::Created`].
    Create,
    /// Start it; leads to [`Stage::Running`].
    Start,
    /// Show it its secrets and configs, and send it a signal where one came with them; leads to [`Local::files`].
    Give,
    /// Find out whether it has a health check; leads to [`Local::health`].
    LearnCheck,
    /// Test its health; leads to [`Local::health`], or to [`Local::unwell`].
    Test,
    /// Let it accept what was connected before everybody knew that it drains; leads to [`Local::settled`].
    Settle,
    /// Send this signal, or the image's own stop signal if `None`; then set [`Local::stopped`].
    SignalStop(Option<i32>),
    /// Send SIGKILL to all of its processes; then set [`Local::killed`].
    Kill,
    /// End it without having started it; leads to [`Stage::Ended`] with [`Cause::Cancelled`].
    Cancel,
    /// Take away what is left of it: container, root, network namespace, log. Leads to [`Stage::Removed`].
    Remove,
    /// Nothing before this moment, unless something changes.
    Wait(Moment),
    /// Nothing until something changes.
    Rest,
    /// It may be forgotten: nothing is left and nobody asks for it.
    Forget,
}

/// What to do and what to report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The next act.
    pub action: Action,
    /// What is true now. The driver sends it when it differs from what was last acknowledged; `None` when
    /// managers no longer know the task.
    pub status: Option<TaskStatus>,
}

/// What to do next for a task. `task` is `None` when no assignment names it: then nothing of it is to be here.
pub fn step(task: Option<&AssignedTask>, local: &Local, now: Moment) -> Step {
    let Some(task) = task else {
        return Step {
            action: unwanted(local),
            status: None,
        };
    };
    let action = if task.desired > TaskState::Running {
        stop(task, local, now)
    } else {
        go(task, local, now)
    };
    Step {
        action,
        status: Some(status(task, local, action)),
    }
}

/// On the way up: one rung at a time, and no further than desired.
fn go(task: &AssignedTask, local: &Local, now: Moment) -> Action {
    match local.stage {
        Stage::Absent => match &local.lacking {
            Some(lacking) if now < lacking.again => Action::Wait(lacking.again),
            _ => Action::FetchImage,
        },
        Stage::Fetched => Action::Attach,
        Stage::Attached => Action::Create,
        Stage::Running { .. } if local.unwell.is_some() => end(task, local, now),
        Stage::Created | Stage::Running { .. } if can_give(task, local) => Action::Give,
        Stage::Running { .. } => test(local, now),
        Stage::Created if ungiven(task, local).next().is_some() => Action::Rest,
        Stage::Created if task.desired >= TaskState::Running => Action::Start,
        Stage::Created | Stage::Ended(_) | Stage::Removed(_) => Action::Rest,
    }
}

/// Secrets and configs that its container does not show as it is to.
pub fn ungiven<'a>(
    task: &'a AssignedTask,
    local: &'a Local,
) -> impl Iterator<Item = &'a AssignedFile> {
    let shown = |it: &AssignedFile| local.files.get(&it.file) == Some(&it.revision);
    task.files.iter().filter(move |it| !shown(it))
}

/// Whether there is something to show, and all of it is here.
fn can_give(task: &AssignedTask, local: &Local) -> bool {
    let here = |it: &AssignedFile| local.contents.contains(&(it.file, it.revision));
    ungiven(task, local).next().is_some() && ungiven(task, local).all(here)
}

/// Signals that come with what a running container has not been shown: each once, ascending. What it has never
/// shown comes without one.
pub fn signals(task: &AssignedTask, local: &Local) -> BTreeSet<i32> {
    let signals = ungiven(task, local).filter_map(|it| {
        let shown = *local.files.get(&it.file)?;
        let (since, signal) = it.signal?;
        (since > shown).then_some(signal)
    });
    signals.collect()
}

/// The first secret or config that is waited for, as its user knows it.
fn waits_for(task: &AssignedTask, local: &Local) -> Option<String> {
    let missing = |it: &&AssignedFile| !local.contents.contains(&(it.file, it.revision));
    let file = ungiven(task, local).find(missing)?.file;
    let container = &task.spec.container;
    let secrets = container.secrets.iter();
    let secrets = secrets.map(|used| (FileId::from(used.id), &used.name));
    let configs = container.configs.iter();
    let mut all = secrets.chain(configs.map(|used| (FileId::from(used.id), &used.name)));
    let name = all.find(|(id, _)| *id == file).map(|(_, name)| name);
    Some(format!(
        "waiting for a manager to send {} \"{}\"",
        file.kind(),
        name.map_or("", String::as_str)
    ))
}

/// A task that runs and is to run is looked after, if it has a check.
fn test(local: &Local, now: Moment) -> Action {
    match &local.health {
        Checked::Unknown(_) => Action::LearnCheck,
        Checked::Never => Action::Rest,
        Checked::By(health) if now >= health.next() => Action::Test,
        Checked::By(health) => Action::Wait(health.next()),
    }
}

/// Signal, grace, kill.
fn end(task: &AssignedTask, local: &Local, now: Moment) -> Action {
    let container = &task.spec.container;
    match local.stopped {
        None => Action::SignalStop(container.stop_signal),
        Some(at) => kill_after(at.after(container.stop_grace), local, now),
    }
}

/// On the way down: signal, grace, kill. What ended is kept until it is to be removed.
fn stop(task: &AssignedTask, local: &Local, now: Moment) -> Action {
    match local.stage {
        Stage::Absent | Stage::Fetched | Stage::Attached | Stage::Created => Action::Cancel,
        // One that is being stopped because it is not well goes on being stopped.
        Stage::Running { .. } if !task.drained && local.unwell.is_none() => Action::Rest,
        Stage::Running { .. } if unsettled(task, local) => Action::Settle,
        Stage::Running { .. } => end(task, local, now),
        Stage::Ended(_) if task.desired == TaskState::Remove => Action::Remove,
        Stage::Ended(_) | Stage::Removed(_) => Action::Rest,
    }
}

/// Whether somebody may be connected whom it has not accepted: it stops listening when it gets its signal, and the
/// kernel sends away who waits then.
fn unsettled(task: &AssignedTask, local: &Local) -> bool {
    let begun = local.settled || local.stopped.is_some() || local.unwell.is_some();
    !begun && !task.attachments.is_empty()
}

fn kill_after(grace_ends: Moment, local: &Local, now: Moment) -> Action {
    if local.killed {
        Action::Rest
    } else if now >= grace_ends {
        Action::Kill
    } else {
        Action::Wait(grace_ends)
    }
}

/// Nobody asks for it: no grace is known, so it is ended at once and taken away.
fn unwanted(local: &Local) -> Action {
    match local.stage {
        Stage::Running { .. } if local.killed => Action::Rest,
        Stage::Running { .. } => Action::Kill,
        Stage::Fetched | Stage::Attached | Stage::Created | Stage::Ended(_) => Action::Remove,
        Stage::Absent | Stage::Removed(_) => Action::Forget,
    }
}

fn status(task: &AssignedTask, local: &Local, next: Action) -> TaskStatus {
    let of = |state, message: &str| TaskStatus {
        message: message.into(),
        ..TaskStatus::of(state, local.since)
    };
    match &local.stage {
        Stage::Absent if next == Action::Cancel => of(TaskState::Accepted, "stopping"),
        Stage::Absent => match &local.lacking {
            Some(lacking) => of(TaskState::Preparing, &lacking.reason),
            None => of(TaskState::Preparing, "fetching the image"),
        },
        Stage::Fetched => of(TaskState::Preparing, "attaching networks"),
        Stage::Attached => of(TaskState::Preparing, "making the container"),
        Stage::Created if next == Action::Give => {
            of(TaskState::Preparing, "giving it its secrets and configs")
        }
        Stage::Created
            if task.desired <= TaskState::Running && waits_for(task, local).is_some() =>
        {
            of(
                TaskState::Preparing,
                &waits_for(task, local).unwrap_or_default(),
            )
        }
        Stage::Created if next == Action::Start => of(TaskState::Starting, "starting"),
        Stage::Created => of(TaskState::Ready, "waiting to be started"),
        Stage::Running { pid } => {
            let (state, message) = running(local);
            TaskStatus {
                pid: Some(*pid),
                ..of(state, &message)
            }
        }
        Stage::Ended(ending) | Stage::Removed(ending) => ended(local, ending),
    }
}

/// A task with a check is starting until its first success.
fn running(local: &Local) -> (TaskState, String) {
    let state = match local.health.is_well() {
        true => TaskState::Running,
        false => TaskState::Starting,
    };
    let message = match (&local.unwell, &local.health) {
        (Some(reason), _) => format!("stopping: {reason}"),
        _ if local.stopped.is_some() => "stopping".to_owned(),
        (None, Checked::By(health)) if !health.is_well() => match health.last() {
            "" => "waiting for its first health check".to_owned(),
            last => format!("not healthy yet; the last check: {last}"),
        },
        _ => local.note.clone(),
    };
    (state, message)
}

/// A task that was told to end has shut down, whatever its code; one that ended by itself is complete or
/// has failed.
fn ended(local: &Local, ending: &Ending) -> TaskStatus {
    let told = (local.stopped.is_some() || local.killed) && local.unwell.is_none();
    let (state, exit_code) = match ending.cause {
        Cause::Exited(code) if told => (TaskState::Shutdown, Some(code)),
        Cause::Exited(code) if local.unwell.is_some() => (TaskState::Failed, Some(code)),
        Cause::Exited(0) => (TaskState::Complete, Some(0)),
        Cause::Exited(code) => (TaskState::Failed, Some(code)),
        Cause::Cancelled => (TaskState::Shutdown, None),
        Cause::CouldNotBegin => (TaskState::Rejected, None),
        Cause::Lost => (TaskState::Failed, None),
    };
    let error = match (&*ending.error, ending.cause) {
        _ if local.unwell.is_some() => local.unwell.clone().unwrap_or_default(),
        ("", Cause::Exited(code)) if state == TaskState::Failed => {
            format!("exited with code {code}")
        }
        ("", Cause::Lost) => "its supervisor is gone; how it ended is not known".to_owned(),
        (error, _) => error.to_owned(),
    };
    TaskStatus {
        exit_code,
        error,
        ..TaskStatus::of(state, local.since)
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
