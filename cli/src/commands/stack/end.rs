//! How a deploy ended: an exit code and a sentence. Pure.

use std::fmt;

/// How a deploy ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// All runs as the files say.
    Converged,
    /// It was so before.
    NothingToDo,
    /// A job failed that others wait for.
    Stuck(String),
    /// It is still going on.
    TimedOut(String),
    /// Tasks find no node.
    Unschedulable(String),
    /// Somebody asked for something else meanwhile.
    Superseded(String),
    /// The files or a manager said no.
    Refused(String),
    /// Nobody answers.
    NoAnswer(String),
}

impl End {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Converged | Self::NothingToDo => 0,
            Self::Stuck(_) => 11,
            Self::TimedOut(_) => 12,
            Self::Unschedulable(_) => 13,
            Self::Superseded(_) => 14,
            Self::Refused(_) => 15,
            Self::NoAnswer(_) => 16,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Converged => f.write_str("all services run as asked for"),
            Self::NothingToDo => f.write_str("nothing to do: the stack is as its files say"),
            Self::Stuck(why) => write!(f, "stopped: {why}"),
            Self::TimedOut(why) => write!(f, "not in time: {why}"),
            Self::Unschedulable(why) => write!(f, "cannot be scheduled: {why}"),
            Self::Superseded(why) => write!(f, "superseded: {why}"),
            Self::Refused(why) | Self::NoAnswer(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for End {}

/// The worst of several ends: the one with the greatest code.
pub fn worst(ends: impl IntoIterator<Item = End>) -> End {
    let worst = ends.into_iter().max_by_key(End::code);
    worst.unwrap_or(End::Converged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_end_counts() {
        let ends = [
            End::Converged,
            End::Unschedulable("no node".into()),
            End::TimedOut("late".into()),
        ];
        assert_eq!(worst(ends), End::Unschedulable("no node".into()));
        assert_eq!(worst([]), End::Converged);
    }
}
