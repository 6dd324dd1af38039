//! Worker: obeys.
//!
//! It carries out its assignment and reports; it invents no work. `step` decides what comes next for one
//! task; the other rooms do it.

pub mod blobs;
pub mod db;
pub mod dial;
pub mod exec;
pub mod report;
pub mod resources;
pub mod step;
