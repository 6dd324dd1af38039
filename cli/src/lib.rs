//! The one binary `skep`: arguments, output, and the daemon.
//!
//! `args` is what can be typed, `output` how it is shown, `commands` turn one into calls of the daemon and
//! its answers into the other. `daemon` is the only place that wires manager, worker and netd together.

pub mod args;
pub mod daemon;
pub mod output;

use std::process::ExitCode;

/// Reads the command line, does what it says and gives the exit code.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
