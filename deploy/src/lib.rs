//! Deploy: from a description to a running release, on the user's side.
//!
//! For now it holds the lab: a whole cluster on one machine. It prints nothing; the command line does.

pub mod lab;
