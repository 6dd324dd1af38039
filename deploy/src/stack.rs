//! Stacks: from compose files to what a cluster is asked for, and from what it runs to what must change.
//!
//! `compose` reads files into one canonical tree, `convert` makes specs of it, `plan` compares them with what a
//! cluster has. All of it is a function of its input: files are read through [`Surroundings`], and calls of the
//! cluster are made by the command line.

mod compose;
mod convert;
mod place;
mod plan;
mod wanted;

pub use compose::{Project, Request, Surroundings, parse_variables};
pub use convert::convert;

pub use place::{Place, Trouble};
pub use plan::{FileStep, Plan, Present, ServicePresent, Step, plan};

pub use wanted::{
    Condition, Dependency, FileWanted, NAMESPACE, NetworkWanted, ServiceWanted, Wanted,
};
