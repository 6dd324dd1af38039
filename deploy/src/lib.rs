//! Deploy: from a description to a running release, on the user's side.
//!
//! It holds stacks, which are services read from compose files, drills as they are measured and told, and the lab: a
//! whole cluster on one machine.
//! It prints nothing and calls no cluster; the command line does.

pub mod drill;
pub mod lab;
pub mod stack;
