//! How a rollout ended, as an exit code and a sentence. Pure.

use skep_proto::service::{Service, Update, UpdateState};

/// Who writes the revision that undoes a failed update.
const BY_ITSELF: &str = "skep";

/// What was asked for, and how to tell that it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// The service is as its newest spec says, whoever asked for it.
    Settled,
    /// This revision is there.
    Revision(u64),
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// All runs as asked for.
    Converged,
    /// It was so before.
    NothingToDo,
    /// The new version failed; the one before runs again.
    RolledBack(String),
    /// Somebody has to decide.
    Paused(String),
    /// It is still going on.
    TimedOut(String),
    /// Tasks find no node.
    Unschedulable(String),
    /// Somebody asked for something else meanwhile.
    Superseded(String),
    /// The manager said no.
    Refused(String),
    /// Nobody answers.
    NoAnswer(String),
}

impl End {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Converged | Self::NothingToDo => 0,
            Self::RolledBack(_) => 10,
            Self::Paused(_) => 11,
            Self::TimedOut(_) => 12,
            Self::Unschedulable(_) => 13,
            Self::Superseded(_) => 14,
            Self::Refused(_) => 15,
            Self::NoAnswer(_) => 16,
        }
    }

    /// One word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::NothingToDo => "nothing_to_do",
            Self::RolledBack(_) => "rolled_back",
            Self::Paused(_) => "paused",
            Self::TimedOut(_) => "timed_out",
            Self::Unschedulable(_) => "unschedulable",
            Self::Superseded(_) => "superseded",
            Self::Refused(_) => "refused",
            Self::NoAnswer(_) => "no_answer",
        }
    }

    /// A sentence for people.
    pub fn text(&self) -> String {
        match self {
            Self::Converged => "Service converged".to_owned(),
            Self::NothingToDo => "nothing to do: the service is as asked for".to_owned(),
            Self::RolledBack(why) => format!("rolled back: {why}"),
            Self::Paused(why) => format!("paused: {why}"),
            Self::TimedOut(why) => format!("not in time: {why}"),
            Self::Unschedulable(why) => format!("cannot be scheduled: {why}"),
            Self::Superseded(why) => format!("superseded: {why}"),
            Self::Refused(why) | Self::NoAnswer(why) => why.clone(),
        }
    }
}

/// The end, if a picture of the service shows one. `converged` is what the manager says of its tasks.
pub fn verdict(goal: Goal, service: &Service, converged: bool) -> Option<End> {
    let reached = || converged.then_some(End::Converged);
    let Some(update) = &service.update else {
        return superseded(goal, service).or_else(reached);
    };
    match update.state {
        _ if !undoes(goal, service, update) && superseded(goal, service).is_some() => {
            superseded(goal, service)
        }
        UpdateState::Updating | UpdateState::RollbackStarted => None,
        UpdateState::Paused | UpdateState::RollbackPaused => {
            Some(End::Paused(update.message.clone()))
        }
        UpdateState::RollbackCompleted if undoes(goal, service, update) => {
            let why = service.kept(update.to).map(|it| it.why.clone());
            Some(End::RolledBack(why.unwrap_or_default()))
        }
        UpdateState::Completed | UpdateState::RollbackCompleted => reached(),
    }
}

/// Whether the update leads back by itself from what is waited for.
fn undoes(goal: Goal, service: &Service, update: &Update) -> bool {
    let from_there = match goal {
        Goal::Settled => true,
        Goal::Revision(wanted) => update.from == wanted && update.to > wanted,
    };
    let itself = service
        .kept(update.to)
        .is_some_and(|revision| revision.by == BY_ITSELF);
    update.state.rolls_back() && from_there && itself
}

/// Whether something else was asked for since. Changes that replace no task (another number of replicas) do
/// not count while the tasks that were asked for are being made.
fn superseded(goal: Goal, service: &Service) -> Option<End> {
    let Goal::Revision(wanted) = goal else {
        return None;
    };
    let leads = service.update.as_ref().map_or(0, |update| update.to);
    let by = if leads > wanted {
        leads
    } else if service.revision > wanted && leads < wanted {
        service.revision
    } else {
        return None;
    };
    let who = service.kept(by).map_or(String::new(), |revision| {
        match (&*revision.by, &*revision.why) {
            ("", _) => String::new(),
            (who, "") => format!(" by {who}"),
            (who, why) => format!(" by {who} ({why})"),
        }
    });
    Some(End::Superseded(format!("by revision {by}{who}")))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
