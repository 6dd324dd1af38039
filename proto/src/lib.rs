//! The language that skep's managers, workers and users share.
//!
//! Here are the ids, the specs a user writes, the objects a cluster keeps, the ladder a task climbs, what a
//! node is told to run and what its network must look like. `wire` holds the generated messages and the
//! one door that converts between them and these types; outside that door nobody names a generated type.
//!
//! Proto knows nobody: it imports no other room, asks no clock and opens no file.

pub mod assignment;
pub mod channel;
pub mod cluster;
pub mod constraint;
pub mod difference;
pub mod drill;
pub mod event;
pub mod file;
pub mod ids;
pub mod image;
pub mod log;
pub mod network;
pub mod node;
pub mod resources;
pub mod service;
pub mod spec;
pub mod task;
pub mod time;
pub mod token;
pub mod unit;
pub mod validate;
pub mod view;
pub mod wire;
