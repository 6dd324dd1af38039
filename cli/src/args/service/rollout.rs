//! How tasks are replaced, `skep service rollback` and `skep rollout`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use skep_proto::spec::{FailureAction, UpdateConfig, UpdateOrder};

use super::WaitArgs;
use crate::args::read;

/// How tasks are replaced by those of a new spec, and on the way back.
#[derive(Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutArgs {
    /// Tasks that are replaced at the same time; 0 is all [default: 1].
    #[arg(long, value_name = "NUMBER")]
    pub update_parallelism: Option<u32>,
    /// From one replacement to the next [default: 0s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub update_delay: Option<Duration>,
    /// What follows when too many new tasks fail [default: pause].
    #[arg(long, value_enum, value_name = "ACTION")]
    pub update_failure_action: Option<UpdateActionArg>,
    /// A new task that ends within this time has failed [default: 5s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub update_monitor: Option<Duration>,
    /// Part of the new tasks that may fail, from 0 to 1 [default: 0].
    #[arg(long, value_name = "RATIO", value_parser = read::share)]
    pub update_max_failure_ratio: Option<u32>,
    /// Which comes first when a task is replaced [default: stop-first].
    #[arg(long, value_enum, value_name = "ORDER")]
    pub update_order: Option<OrderArg>,
    /// A new task that does not run after this time has failed; 0s is never [default: 0s].
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub update_progress_deadline: Option<Duration>,
    /// As --update-parallelism, on the way back.
    #[arg(long, value_name = "NUMBER")]
    pub rollback_parallelism: Option<u32>,
    /// As --update-delay, on the way back.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub rollback_delay: Option<Duration>,
    /// What follows when too many tasks fail on the way back [default: pause].
    #[arg(long, value_enum, value_name = "ACTION")]
    pub rollback_failure_action: Option<RollbackActionArg>,
    /// As --update-monitor, on the way back.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub rollback_monitor: Option<Duration>,
    /// As --update-max-failure-ratio, on the way back.
    #[arg(long, value_name = "RATIO", value_parser = read::share)]
    pub rollback_max_failure_ratio: Option<u32>,
    /// As --update-order, on the way back.
    #[arg(long, value_enum, value_name = "ORDER")]
    pub rollback_order: Option<OrderArg>,
    /// As --update-progress-deadline, on the way back.
    #[arg(long, value_name = "DURATION", value_parser = read::duration)]
    pub rollback_progress_deadline: Option<Duration>,
}

impl RolloutArgs {
    /// Puts what was typed into the two sets of settings.
    pub fn fill(&self, update: &mut UpdateConfig, rollback: &mut UpdateConfig) {
        set(&mut update.parallelism, self.update_parallelism);
        set(&mut update.delay, self.update_delay);
        let action = self.update_failure_action.map(UpdateActionArg::meant);
        set(&mut update.failure_action, action);
        set(&mut update.monitor, self.update_monitor);
        set(
            &mut update.max_failure_millionths,
            self.update_max_failure_ratio,
        );
        set(&mut update.order, self.update_order.map(OrderArg::meant));
        let deadline = self.update_progress_deadline.map(none_if_zero);
        set(&mut update.progress_deadline, deadline);
        set(&mut rollback.parallelism, self.rollback_parallelism);
        set(&mut rollback.delay, self.rollback_delay);
        let action = self.rollback_failure_action.map(RollbackActionArg::meant);
        set(&mut rollback.failure_action, action);
        set(&mut rollback.monitor, self.rollback_monitor);
        set(
            &mut rollback.max_failure_millionths,
            self.rollback_max_failure_ratio,
        );
        set(
            &mut rollback.order,
            self.rollback_order.map(OrderArg::meant),
        );
        let deadline = self.rollback_progress_deadline.map(none_if_zero);
        set(&mut rollback.progress_deadline, deadline);
    }
}

fn set<T>(field: &mut T, typed: Option<T>) {
    if let Some(value) = typed {
        *field = value;
    }
}

fn none_if_zero(deadline: Duration) -> Option<Duration> {
    Some(deadline).filter(|deadline| !deadline.is_zero())
}

/// What follows when an update fails.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateActionArg {
    /// Nothing more is replaced until somebody decides.
    Pause,
    /// It goes on.
    Continue,
    /// Back to the spec before.
    Rollback,
}

impl UpdateActionArg {
    fn meant(self) -> FailureAction {
        match self {
            Self::Pause => FailureAction::Pause,
            Self::Continue => FailureAction::Continue,
            Self::Rollback => FailureAction::Rollback,
        }
    }
}

/// What follows when a rollback fails.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackActionArg {
    /// Nothing more is replaced until somebody decides.
    Pause,
    /// It goes on.
    Continue,
}

impl RollbackActionArg {
    fn meant(self) -> FailureAction {
        match self {
            Self::Pause => FailureAction::Pause,
            Self::Continue => FailureAction::Continue,
        }
    }
}

/// Which comes first when a task is replaced.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderArg {
    /// The old one ends, then the new one starts.
    StopFirst,
    /// The new one runs, then the old one ends.
    StartFirst,
}

impl OrderArg {
    fn meant(self) -> UpdateOrder {
        match self {
            Self::StopFirst => UpdateOrder::StopFirst,
            Self::StartFirst => UpdateOrder::StartFirst,
        }
    }
}

/// Exit codes of commands that roll something out, as `--help` says them.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  converged, or nothing to do (which is said)
   2  with --plan: something would change
  10  rolled back
  11  paused
  12  not in time (--timeout)
  13  tasks cannot be scheduled
  14  superseded by a later revision
  15  refused
  16  no quorum, or no connection";

/// A service to take back to an earlier revision.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct RollbackArgs {
    /// Id, beginning of an id, or name.
    pub service: String,
    /// The revision to go back to [default: the one before].
    #[arg(long, value_name = "REVISION")]
    pub to: Option<u64>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub plan: bool,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What becomes of services that are being updated.
#[derive(Subcommand, Debug)]
pub enum RolloutCommand {
    /// Wait for the end of what is going on, and say how it ended.
    Status(RolloutWaitArgs),
    /// Stop an update where it is.
    Pause(RolloutTurnArgs),
    /// Let a paused update go on.
    Resume(RolloutResumeArgs),
    /// Take a service back to an earlier revision.
    Undo(RollbackArgs),
    /// Show the revisions that are kept: who, when, why.
    History(RolloutHistoryArgs),
}

/// A service to wait for.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct RolloutWaitArgs {
    /// Id, beginning of an id, or name.
    pub service: String,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// An update to pause.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct RolloutTurnArgs {
    /// Id, beginning of an id, or name.
    pub service: String,
    /// Why, for those who see it paused.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// An update to resume.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct RolloutResumeArgs {
    /// Id, beginning of an id, or name.
    pub service: String,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// A service whose revisions to show.
#[derive(Args, Debug)]
pub struct RolloutHistoryArgs {
    /// Id, beginning of an id, or name.
    pub service: String,
    /// Show what this revision changed.
    #[arg(long, value_name = "REVISION", conflicts_with = "quiet")]
    pub revision: Option<u64>,
    /// How to print it.
    #[command(flatten)]
    pub list: crate::args::ListArgs,
}
