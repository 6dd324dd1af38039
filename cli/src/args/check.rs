//! `skep check`.

use std::path::PathBuf;

use clap::Args;

use crate::output::Format;

/// What to look at, and how to show it.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Exit codes: 0 all that is needed is there, 1 something is missing.\n\
    Probes make what they ask for in namespaces of their own, which end with them; nothing is left."
)]
pub struct CheckArgs {
    /// Configuration file of the daemon (TOML); the default is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the daemon is to keep what must last [default: as configured, or /var/lib/skep].
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Port for control traffic between nodes.
    #[arg(long, value_name = "PORT", default_value_t = 2377)]
    pub control_port: u16,
    /// UDP port of the overlay networks.
    #[arg(long, value_name = "PORT", default_value_t = 4789)]
    pub data_path_port: u16,
    /// `table`, `json`, or a template such as `{{.Check}}`.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}
