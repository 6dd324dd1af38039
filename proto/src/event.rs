//! What happened in a cluster, for people and for programs that follow it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::time::{ClusterTime, WallTime};

/// Something that happened. Each is derived from one applied change, the same on every manager.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Log index of the entry that made it so.
    pub revision: u64,
    /// Its place among the events of that entry, from 0. Events are ordered by revision and position.
    pub position: u32,
    /// When, in cluster time: its age counts by it.
    pub time: ClusterTime,
    /// When, for display.
    pub at: WallTime,
    /// Who asked for it, as `user@host` or `token:NAME@ADDRESS`; empty where the cluster did it by itself.
    pub by: String,
    /// What kind of object it happened to.
    pub kind: EventKind,
    /// What happened to it.
    pub action: Action,
    /// The object's id; an image's name.
    pub id: String,
    /// What is to be told of it, by Docker's names: `name`, `image.old`, `node`.
    pub attributes: BTreeMap<String, String>,
    /// The object's labels; a task's are its service's.
    pub labels: BTreeMap<String, String>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$each:meta])* $value:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $($(#[$each])* $value,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$value),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $word,)+
                })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|each| each.to_string() == text);
                found.copied().ok_or_else(|| {
                    let known: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
                    format!("\"{text}\" is no {} of an event; expected one of {}", $what, known.join(", "))
                })
            }
        }
    };
}

words!(
    /// What kind of object an event is about.
    EventKind, "type",
    /// The cluster's own settings and tokens.
    Cluster = "cluster",
    /// A machine.
    Node = "node",
    /// A service.
    Service = "service",
    /// A run of a service.
    Task = "task",
    /// A network.
    Network = "network",
    /// The name of an image.
    Image = "image",
    /// A secret.
    Secret = "secret",
    /// A config.
    Config = "config",
    /// A volume.
    Volume = "volume",
    /// What lets somebody from outside of the nodes in.
    Token = "token",
    /// A failure that is made on purpose.
    Drill = "drill"
);

words!(
    /// What happened.
    Action, "action",
    /// It was made.
    Create = "create",
    /// It was changed.
    Update = "update",
    /// It was removed.
    Remove = "remove",
    /// A node joined.
    Join = "join",
    /// A node is no longer of the cluster.
    Leave = "leave",
    /// A node is there.
    Up = "up",
    /// A node is silent or has left.
    Down = "down",
    /// A task was made.
    New = "new",
    /// A task was given to a node.
    Assigned = "assigned",
    /// A task runs.
    Running = "running",
    /// A task ended by itself and well.
    Complete = "complete",
    /// A task ended as it was told to.
    Shutdown = "shutdown",
    /// A task ran and broke.
    Failed = "failed",
    /// A task could not begin, or a drill's failure could not be made.
    Rejected = "rejected",
    /// A task's node has been gone for too long.
    Orphaned = "orphaned",
    /// The name of an image means this content now.
    Tag = "tag",
    /// The name of an image means nothing any more.
    Untag = "untag",
    /// A drill was begun.
    Start = "start",
    /// The drill's node has taken it: its failure follows.
    Accept = "accept",
    /// The failure is over, and what it did is put back.
    Undo = "undo",
    /// The drill is ended, with its verdict.
    End = "end"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_others_are_refused_with_those_there_are() {
        for kind in EventKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        for action in Action::ALL {
            assert_eq!(action.to_string().parse(), Ok(*action));
        }
        let error = "servce".parse::<EventKind>().expect_err("no kind");
        assert!(
            error.contains("\"servce\"") && error.contains("service, task"),
            "{error}"
        );
    }
}
