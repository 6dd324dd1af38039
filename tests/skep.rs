//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    skep_cli::run()
}
