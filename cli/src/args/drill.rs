//! `skep drill`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{InspectArgs, ListArgs, read};

/// Failures that are made on purpose.
#[derive(Subcommand, Debug)]
pub enum DrillCommand {
    /// Kill all programs of one task, as when it crashes.
    ///
    /// Its restart policy replaces it, with the delay of that policy. Its node and daemon go on.
    Task(TaskArgs),
    /// Let a node's daemon start again without a farewell, as when it crashes; its containers go on.
    ///
    /// On a manager its part in Raft ends and begins again too. Requests should not be lost.
    RestartDaemon(NodeArgs),
    /// Take a node away for a while: it falls silent and its containers are killed, as when its power is cut.
    ///
    /// The node drops what passes between it and other nodes by the ports of skep (TCP of daemons, UDP of
    /// overlay networks), then kills its containers. The machine itself stays: what else runs there, logins and
    /// other ports go on, nothing on its disks is lost, and a connection to a published port of it is taken and
    /// not answered. When the time is over, or its daemon ends, everything passes again.
    Node(CutArgs),
    /// Cut a node off from all others for a while; its containers go on where nobody reaches them.
    ///
    /// The node drops what passes between it and other nodes by the ports of skep (TCP of daemons, UDP of
    /// overlay networks). Clients from outside still reach what it publishes and runs itself. When the time is
    /// over, or its daemon ends, everything passes again; what was replaced meanwhile is given up there.
    Link(CutArgs),
    /// Fill the file system of a node's data for a while, down to a reserve; its containers and its daemon go on.
    ///
    /// A file without a name takes what is free below the node's data root, and what becomes free meanwhile. Whoever
    /// writes there is told that the disk is full: the daemon, pulls of images, containers, volumes. When the time is
    /// over, or its daemon ends, all of it is free again. Refused by the node where the system itself is on the same
    /// file system, unless that is allowed.
    Disk(DiskArgs),
    /// Cut the leader off from all other nodes for a while: another manager has to lead.
    Leader(LeaderArgs),
    /// Hold several drills one after another, as a file says, and tell them as one; stop at the first that is over its
    /// budget or refused.
    ///
    /// The file is TOML: `name`; for all steps `pause`, `wait`, `for`, `max-recovery`, `max-lost`, `probe`, `no-probe`,
    /// `rate` and `probe-timeout`; then each step as `[[step]]` with `drill = "KIND"`, `target`, and any of the same
    /// that is another for it (of a disk `reserve` and `allow-shared` besides). A step that would be refused is looked at again for as long as `wait` says (60s).
    GameDay(GameDayArgs),
    /// Print what a drill would touch and do, and what speaks against it; change nothing.
    Plan(PlanArgs),
    /// List the drills that were held, the newest first, with what they cost.
    ///
    /// Of each kind the last 16 are kept. USUALLY is the median of the recoveries of its kind before it; where there
    /// were three or more, a drill is called slower or faster when it differs by more than 0.2 s and a fifth.
    Ls(ListArgs),
    /// Show drills with their reports.
    Inspect(ReportArgs),
    /// End the drill that goes on. A node that is cut off cannot be told: it comes back when its time is over.
    Stop(StopArgs),
}

/// What a drill may cost, how it is measured, and how it is told.
#[derive(Args, Debug, Clone)]
pub struct MeasureArgs {
    /// Longest time from the failure until everything runs again and all nodes know where; longer fails the drill.
    #[arg(long, value_name = "DURATION", value_parser = read::duration, default_value = "30s")]
    pub max_recovery: Duration,
    /// Requests that may be lost; more fail the drill [default: they are counted and not judged].
    #[arg(long, value_name = "NUMBER")]
    pub max_lost: Option<u64>,
    /// Ask here while the drill goes on: http://HOST:PORT/PATH or tcp://HOST:PORT; without a HOST every node that
    /// is not cut off [default: TCP connections to every port that the services it touches publish].
    #[arg(long, value_name = "URL", value_parser = crate::commands::drill::probe::read)]
    pub probe: Vec<crate::commands::drill::probe::Probe>,
    /// Make no requests.
    #[arg(long, conflicts_with_all = ["probe", "max_lost"])]
    pub no_probe: bool,
    /// Requests a second, to each place.
    #[arg(long, value_name = "NUMBER", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub rate: u32,
    /// A request that is not answered within this time is lost.
    #[arg(long, value_name = "DURATION", value_parser = read::duration, default_value = "2s")]
    pub probe_timeout: Duration,
    /// How to print the report.
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    pub output: ReportForm,
    /// Write the report there too: a page of its own, or JSON where the name ends so.
    #[arg(long, value_name = "FILE.html|FILE.json")]
    pub report: Option<PathBuf>,
}

/// How to print a report.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportForm {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A task to kill.
#[derive(Args, Debug)]
pub struct TaskArgs {
    /// A service, a task such as web.2, or a task's id [default: a task that can be spared is chosen].
    pub target: Option<String>,
    /// How it is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// A node whose daemon starts again.
#[derive(Args, Debug)]
pub struct NodeArgs {
    /// Its id, the beginning of it, or its host name [default: one that can be spared is chosen].
    pub node: Option<String>,
    /// How it is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// A node that is cut off.
#[derive(Args, Debug)]
pub struct CutArgs {
    /// Its id, the beginning of it, or its host name [default: one that can be spared is chosen].
    pub node: Option<String>,
    /// How long; it should be longer than managers take to see that a node is down (3 s by default).
    #[arg(long = "for", value_name = "DURATION", value_parser = read::duration, default_value = "15s")]
    pub lasts: Duration,
    /// How it is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// A node whose disk is full.
#[derive(Args, Debug)]
pub struct DiskArgs {
    /// Its id, the beginning of it, or its host name [default: one that can be spared is chosen].
    pub node: Option<String>,
    /// How long.
    #[arg(long = "for", value_name = "DURATION", value_parser = read::duration, default_value = "15s")]
    pub lasts: Duration,
    /// How full.
    #[command(flatten)]
    pub fill: FillArgs,
    /// How it is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// How full a disk is made.
#[derive(Args, Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillArgs {
    /// So much stays free.
    #[arg(long, value_name = "BYTES", value_parser = read::bytes, default_value = "0")]
    pub reserve: u64,
    /// Also where the system itself is on that file system; then at least 64m stay free.
    #[arg(long)]
    pub allow_shared: bool,
}

/// The leader, cut off.
#[derive(Args, Debug)]
pub struct LeaderArgs {
    /// How long.
    #[arg(long = "for", value_name = "DURATION", value_parser = read::duration, default_value = "15s")]
    pub lasts: Duration,
    /// How it is measured.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// A drill to look at.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Which kind.
    #[arg(value_enum)]
    pub kind: KindArg,
    /// As the drill takes it.
    pub target: Option<String>,
    /// How long it would last, where it lasts.
    #[arg(long = "for", value_name = "DURATION", value_parser = read::duration, default_value = "15s")]
    pub lasts: Duration,
    /// How full a disk would be.
    #[command(flatten)]
    pub fill: FillArgs,
    /// How to print it.
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    pub output: ReportForm,
}

/// Several drills.
#[derive(Args, Debug)]
pub struct GameDayArgs {
    /// The file.
    pub file: PathBuf,
    /// Print what each step would touch and do now, and what speaks against it; change nothing.
    #[arg(long, conflicts_with_all = ["report", "keep_going"])]
    pub plan: bool,
    /// Hold the other steps too where one is over its budget or refused.
    #[arg(long)]
    pub keep_going: bool,
    /// How to print the report.
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    pub output: ReportForm,
    /// Write the report there too: a page of its own, or JSON where the name ends so.
    #[arg(long, value_name = "FILE.html|FILE.json")]
    pub report: Option<PathBuf>,
}

/// Kinds of drills.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindArg {
    /// Kill all programs of one task.
    Task,
    /// Let a daemon start again.
    RestartDaemon,
    /// Take a node away.
    Node,
    /// Cut a node off.
    Link,
    /// Cut the leader off.
    Leader,
    /// Fill a disk.
    Disk,
}

/// Drills to show.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// How they are shown.
    #[command(flatten)]
    pub inspect: InspectArgs,
    /// Write the first one's report there too: a page of its own, or JSON where the name ends so.
    #[arg(long, value_name = "FILE.html|FILE.json")]
    pub report: Option<PathBuf>,
}

/// A drill to end.
#[derive(Args, Debug)]
pub struct StopArgs {
    /// Its id, or the beginning of it [default: the one that goes on].
    pub drill: Option<String>,
}
