//! Worker: obeys.
//!
//! It carries out its assignment and reports; it invents no work. `step` decides what comes next for one
//! task; the other rooms do it.

pub mod exec;
pub mod step;
