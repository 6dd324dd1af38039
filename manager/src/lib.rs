//! Manager: decides.
//!
//! `state` is what the cluster committed, `plan` what is to be changed about it; both are pure. The other
//! rooms carry entries to them and answers away. The manager never runs a container and never imports the
//! worker: they meet on the wire.

pub mod ca;
pub mod dispatch;
pub mod plan;
pub mod raft;
pub mod record;
pub mod state;
