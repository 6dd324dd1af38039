//! Worker: obeys.
//!
//! It carries out its assignment and reports; it invents no work. `step` decides what comes next for one
//! task; the other rooms do it.

mod agent;
pub mod blobs;
pub mod db;
pub mod dial;
mod drill;
pub mod exec;
pub mod features;
pub mod health;
mod holders;
pub mod identity;
pub mod measures;
mod reach;
pub mod report;
pub mod resources;
mod session;
pub mod step;
pub mod streams;
mod task;
pub mod volumes;
mod worker;

pub use agent::{AgentError, Refused};
pub use dial::Dial;
pub use drill::Again;
pub use exec::image::unpack::{HIDDEN_WORD, unpack_main};
pub use session::Told;
pub use worker::{Config, Worker, WorkerError};
