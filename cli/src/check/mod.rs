//! `skep check`: whether this machine has what a node needs, before it becomes one.
//!
//! A probe tries what it asks for, in threads with namespaces of their own or on descriptors that are closed again:
//! nothing is left, whatever ends it. It never changes the machine; what mends a miss is told, not done.

mod calls;
mod cgroups;
mod firewall;
mod kernel;
mod machine;
mod network;
mod overlay;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use serde::Serialize;

use crate::args::check::CheckArgs;
use crate::args::{DaemonArgs, ListArgs};
use crate::daemon::config;
use crate::output::{self, Column, Format};

pub use calls::{ALONE, user_namespace_main};

/// Columns of the table; what mends a miss stands below it.
const COLUMNS: &[Column<Finding>] = &[
    ("CHECK", |it, _| it.check.clone()),
    ("STATE", |it, _| it.state.word().to_owned()),
    ("FOUND", |it, _| it.found.clone()),
];

/// What one probe found.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub check: String,
    /// How it is.
    pub state: State,
    /// What was found, and what does not work without it.
    pub found: String,
    /// A command or a step that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How it is.
#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// skep runs, with less or in another way.
    Degraded,
    /// A node does not work without it.
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state: State::Ok,
            found: found.into(),
            mend: None,
        }
    }

    fn degraded(
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            state: State::Degraded,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn missing(
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            state: State::Missing,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }
}

/// Looks at this machine and shows what was found.
///
/// # Errors
/// A configuration or a template that is wrong.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let settings = DaemonArgs {
        config: args.config,
        data_root: args.data_root,
        ..DaemonArgs::default()
    };
    let settings = config::read(settings, None)?;
    let findings = findings(&settings.data_root, args.control_port, args.data_path_port);
    let table = args.format == Format::Table;
    let form = ListArgs {
        format: args.format,
        filter: Vec::new(),
        quiet: false,
        no_trunc: true,
    };
    output::list(&findings, COLUMNS, |it| &it.check, &form)?;
    if table {
        for text in to_mend(&findings) {
            output::line(&text)?;
        }
    }
    Ok(code(&findings))
}

/// Everything that is looked at.
fn findings(data_root: &Path, control: u16, data_path: u16) -> Vec<Finding> {
    let mut all = machine::rights();
    all.push(machine::release());
    all.extend(calls::findings());
    all.push(overlay::finding(data_root, "overlay"));
    all.extend(cgroups::findings());
    all.extend(network::findings());
    all.push(firewall::finding());
    all.extend(machine::ports(data_root, control, data_path));
    all.push(machine::clock());
    all.push(machine::mtu());
    all.push(machine::room(data_root));
    all
}

fn to_mend(findings: &[Finding]) -> Vec<String> {
    let misses = findings.iter().filter_map(|it| {
        let mend = it.mend.as_deref()?;
        Some(format!("{} is {}: {mend}", it.check, it.state.word()))
    });
    let mut lines: Vec<String> = misses.collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

/// 0 where all that is needed is there.
fn code(findings: &[Finding]) -> ExitCode {
    if findings.iter().any(|it| it.state == State::Missing) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Does `work` on a thread in namespaces of its own, which end with it.
fn apart<T: Send>(flags: CloneFlags, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("check".to_owned())
            .spawn_scoped(scope, || {
                unshare(flags)?;
                work()
            })?;
        let ended_early = |_| io::Error::other("the thread of the probe ended early");
        thread.join().map_err(ended_early)?
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
