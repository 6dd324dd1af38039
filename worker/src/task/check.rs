//! A health test as a further program in a container, and what its end means.

use std::time::Duration;

use crate::exec::ExecError;
use crate::exec::runtime::{ExecPlan, Privileges, RunEnd, Streams};
use crate::health::{Check, Outcome};

/// Bytes of a test's output that are kept: they are shown with the task.
pub(super) const KEPT: usize = 1024;

pub(super) fn plan(check: &Check) -> ExecPlan {
    ExecPlan {
        args: check.command.clone(),
        env: Vec::new(),
        cwd: None,
        user: None,
        privileges: Privileges::Container,
        streams: Streams::Output,
    }
}

pub(super) fn outcome(ran: Result<RunEnd, ExecError>, timeout: Duration) -> Outcome {
    let (what, output) = match ran {
        Ok(RunEnd { code: Some(0), .. }) => return Outcome::Well,
        Ok(RunEnd {
            code: Some(code),
            output,
        }) => (format!("exit code {code}"), output),
        Ok(RunEnd { code: None, output }) => (
            format!("it took longer than {} ms", timeout.as_millis()),
            output,
        ),
        Err(error) => (format!("it cannot be run: {error}"), Vec::new()),
    };
    let output = String::from_utf8_lossy(&output);
    Outcome::Failed(match output.trim() {
        "" => what,
        output => format!("{what}: {output}"),
    })
}
