//! Manager: decides.
//!
//! `state` is what the cluster committed, `plan` what is to be changed about it; both are pure. The other
//! rooms carry entries to them and answers away: `control` is the door for users, `dispatch` the one for
//! workers, `outside` the one for users with a token, `ca` the one for nodes that join, `raft` makes entries durable, `leader` holds what only a leader
//! runs, `streams` passes logs and terminals on from other nodes,
//! `revival` lets a cluster go on from a copy. The manager never runs a container and never imports the worker: they meet on the wire.

mod admit;
pub mod by;
pub mod ca;
pub mod control;
pub mod dispatch;
pub mod leader;
mod manager;
pub mod measures;
pub mod outside;
mod peers;
pub mod plan;
pub mod raft;
mod reconcile;
pub mod record;
pub mod revival;
mod ring;
pub mod state;
pub mod streams;

pub use manager::{Config, Founding, Manager, Reading, StartError, UserDoor};
pub use ring::wall_time;
