//! Consensus: what was acknowledged is on the disks of a majority.
#![expect(dead_code, reason = "the door that opens the log lands next")]

mod codec;
mod disk;
mod log;
mod seal;
#[cfg(test)]
mod sim_disk;
mod types;
