//! The cluster's certificate authority: makes the root, decides who joins in which role, signs.
//!
//! It keeps nothing: root and secrets are in State, given by the caller. What a request asks for in names is
//! never looked at; a certificate says what the cluster decided. It never sends anything.

#[cfg(test)]
mod channel_tests;
mod door;
mod join;
mod sign;
#[cfg(test)]
mod tests;

pub use door::CaDoor;
pub use join::{JoinRefused, grant, new_secrets, role_of, token};
pub use sign::{CaError, make_root, sign};
pub use skep_proto::channel::{BACKDATED, renewal};
