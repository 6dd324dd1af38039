//! The daemon that starts itself again, for a drill.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// This program, whatever has become of its file.
const SELF: &str = "/proc/self/exe";

/// Starts the daemon again in place of this program, with what it was started with. Nobody is told and nothing is
/// closed in order, as when it had crashed; its process keeps its number. Returns only when that fails.
pub fn again() -> io::Error {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program());
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).exec()
}

/// The file that was started, or what is still running where that was replaced.
fn program() -> PathBuf {
    let file = std::env::current_exe().ok();
    file.filter(|file| file.exists())
        .unwrap_or_else(|| Path::new(SELF).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_runs_is_found() {
        assert!(program().exists());
    }
}
