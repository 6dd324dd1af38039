//! Where the daemon's log goes.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use super::config::Config;

/// Sends log lines to the file or the standard error output. openraft speaks up only when something is wrong,
/// as what it does is told by the manager, unless the level asks for it: `info,openraft=debug`.
///
/// # Errors
/// When the file cannot be opened.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("openraft=error,h2=error,{}", config.log_level))
        .with_context(|| format!("--log-level {}", config.log_level))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    match &config.log_file {
        None => lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .init(),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("cannot log to {}", path.display()))?;
            lines.with_ansi(false).with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}
