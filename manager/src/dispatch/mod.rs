//! The door for workers: one stream each, with assignments out and reports in.
//!
//! `assign` says what a node is to do; it is pure. Nothing here decides.

pub mod assign;
