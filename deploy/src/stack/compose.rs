//! Reads compose files: schema 3.x and the Compose Specification.
//!
//! A file goes `parse` → `keys` (known ones only) → `interpolate` → `canonical` (long forms) → `extend` →
//! `merge` with the other files → `project` (profiles, variables of services, references, order) → `write`.
//! Every value keeps its place all the way, so that whatever is wrong is named by file, line and column.

mod canonical;
mod extend;
mod interpolate;
mod keys;
mod load;
mod merge;
mod order;
mod parse;
mod project;
pub mod tree;
mod variables;
mod write;

pub use load::{Project, Request, Surroundings};
pub use order::order;
pub use variables::parse_variables;
