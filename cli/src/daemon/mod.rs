//! The daemon: the only place that wires manager, worker and netd together.
//!
//! `node` is the daemon's life in and out of a cluster, `local` its door for users, `node_door` the one for
//! other nodes. Nothing is decided here: managers decide, workers obey.

pub mod address;
mod again;
mod caller;
pub mod config;
mod copies;
mod founding;
mod images;
mod joining;
mod local;
pub(crate) mod lock;
mod logging;
pub mod membership;
mod metrics;
mod node;
mod notify;
mod serve;
mod streams;
mod volumes;

use std::process::ExitCode;

use anyhow::Context;

use config::Config;

/// Threads of the daemon's own runtime; Raft and netd have others.
const THREADS: usize = 2;

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT) or cannot go on. Containers stay either way.
///
/// # Errors
/// What keeps it from starting or from going on.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    logging::start(&config)?;
    skep_proto::channel::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("skep")
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve::serve(config))?;
    Ok(ExitCode::SUCCESS)
}
