//! How a container ended, in numbers and in words. Pure.

use super::container::lost;
use skep_shim::protocol::{Exit, Failure};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The program's exit code, 128 plus the signal that ended it, 125 to 127 if it never ran, or
    /// 255 if nobody saw it.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// True if the kernel killed a process of it because its memory limit was reached.
    pub out_of_memory: bool,
    /// When.
    pub at: SystemTime,
    /// In words for a user; `None` for exit code 0.
    pub reason: Option<String>,
}

impl Ended {
    pub(super) fn new(exit: &Exit, memory_limit: Option<u64>) -> Self {
        let out_of_memory = exit.oom_kills > 0 && exit.code != 0;
        let limit = memory_limit.map_or(String::new(), |bytes| format!(" of {bytes} bytes"));
        let reason = match (&exit.failure, exit.signal, exit.code) {
            (Some(Failure { act, errno: 0, .. }), ..) => Some(act.clone()),
            (Some(Failure { act, errno, .. }), ..) => Some(format!(
                "cannot {act}: {}",
                io::Error::from_raw_os_error(*errno)
            )),
            _ if out_of_memory => Some(format!("killed: it reached its memory limit{limit}")),
            (None, Some(signal), _) => Some(format!("killed by signal {signal}")),
            (None, None, 0) => None,
            (None, None, code) => Some(format!("exited with code {code}")),
        };
        let at = UNIX_EPOCH + Duration::from_millis(exit.at_ms);
        Self {
            code: exit.code,
            signal: exit.signal,
            out_of_memory,
            at,
            reason,
        }
    }

    pub(super) fn unknown() -> Self {
        Self::new(&lost("the daemon stopped watching the container"), None)
    }
}
