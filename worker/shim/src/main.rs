//! The supervisor beside each container.

fn main() {}
