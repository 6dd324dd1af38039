//! Objects in the structure that Docker's API gives them: what templates of `inspect` look into.
//!
//! Fields keep Docker's names, units and defaults; durations are nanoseconds. What skep has and Docker has not
//! is left to our own keys, which stand beside these.

mod container;
mod network;
mod node;
mod service;
mod task;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};
use skep_proto::time::WallTime;

pub use network::network;
pub use node::node;
pub use service::service;
pub use task::task;

use super::rows;

fn nanos(duration: Duration) -> Value {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .into()
}

fn version(index: u64) -> Value {
    json!({ "Index": index })
}

pub(super) fn time(at: WallTime) -> Value {
    rows::time(at).into()
}

/// Each as the command line writes it.
fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    items.into_iter().map(|item| item.to_string()).collect()
}
