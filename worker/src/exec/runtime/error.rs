//! What could not be done with a container, and why.

use super::launch::PlanError;
use crate::exec::cgroup::CgroupError;
use crate::exec::shim::ShimError;
use skep_shim::protocol::Failure;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// What could not be done with a container.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The runtime itself.
    #[error("cannot open the container runtime: {act}")]
    Open {
        /// What was being done.
        act: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A bundle.
    #[error("cannot make container {id}")]
    Plan {
        /// Which container.
        id: String,
        /// Why.
        source: PlanError,
    },
    /// An id that is no name for a directory.
    #[error("{0:?} is no container id; use 1 to 128 letters, digits, '.', '_' and '-'")]
    Id(String),
    /// It is there.
    #[error("container {0} exists; delete it first")]
    Exists(String),
    /// Control groups.
    #[error("cannot hold container {id} in its control groups")]
    Cgroup {
        /// Which container.
        id: String,
        /// Why.
        source: CgroupError,
    },
    /// Its own files.
    #[error("cannot {act} container {id}")]
    Files {
        /// What was being done.
        act: &'static str,
        /// Which container.
        id: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Its supervisor.
    #[error("cannot {act}: container {id}")]
    Shim {
        /// What was being done.
        act: &'static str,
        /// Which container.
        id: String,
        /// Why it failed.
        source: ShimError,
    },
    /// It could not be set up, or its program could not be run.
    #[error("container {id} cannot {act}")]
    Start {
        /// Which container.
        id: String,
        /// What was being done.
        act: String,
        /// 127 if the command was not found, 126 if it cannot be executed, otherwise 125.
        code: i32,
        /// Why it failed.
        source: io::Error,
    },
    /// No further program runs in it now.
    #[error("cannot run a program in container {id}: {reason}")]
    Exec {
        /// Which container.
        id: String,
        /// Why, and what to do.
        reason: String,
    },
    /// It does not die.
    #[error("container {id} was killed and has not ended after {after:?}")]
    Immortal {
        /// Which container.
        id: String,
        /// How long was waited.
        after: Duration,
    },
}

impl RuntimeError {
    pub(super) fn start(id: &str, failure: Failure) -> Self {
        let Failure { act, errno, code } = failure;
        let source = io::Error::from_raw_os_error(errno);
        Self::Start {
            id: id.to_owned(),
            act,
            code,
            source,
        }
    }
}
