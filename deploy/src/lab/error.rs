//! What can go wrong with a lab, in sentences that say the way out.

use std::io;

/// Why a lab did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces and cgroups are for root.
    #[error("a lab makes namespaces and cgroups, which only root may: run it again with sudo")]
    NotRoot,
    /// The name cannot stand in a path or an interface.
    #[error("{name:?} cannot name a lab: use 1 to 32 of a-z, 0-9 and '-', not starting with '-'")]
    BadName {
        /// What was given.
        name: String,
    },
    /// None, or more nodes than the switch has addresses.
    #[error("a lab has between 1 and {most} nodes, not {asked}")]
    BadCount {
        /// How many were asked for.
        asked: usize,
        /// How many fit.
        most: usize,
    },
    /// A lab of this name is up.
    #[error("lab {name} is already up: use it, or end it with `skep lab down --name {name}`")]
    AlreadyUp {
        /// The lab.
        name: String,
    },
    /// Something of this name is left.
    #[error(
        "lab {name} was left half made or half dead ({what}): clean it with `skep lab down --name {name}`"
    )]
    HalfDead {
        /// The lab.
        name: String,
        /// What was seen.
        what: String,
    },
    /// No lab has this name.
    #[error("there is no lab {name}: `skep lab ls` shows those there are, `skep lab up` makes one")]
    NoLab {
        /// What was asked for.
        name: String,
    },
    /// No machine of the lab has this name.
    #[error("lab {lab} has no node {node}: it has {known}")]
    NoNode {
        /// The lab.
        lab: String,
        /// What was asked for.
        node: String,
        /// What there is.
        known: String,
    },
    /// The node was killed.
    #[error("{node} is off: `skep lab start {node}` brings it back")]
    Off {
        /// The node.
        node: String,
    },
    /// There was nothing to start.
    #[error("{node} is up and its daemon runs: there is nothing to start")]
    Running {
        /// The node.
        node: String,
    },
    /// There is no daemon to signal.
    #[error("no daemon runs in {node}: `skep lab start {node}` starts it")]
    NoDaemon {
        /// The node.
        node: String,
    },
    /// `outside` and the switch never run one.
    #[error("{node} is no node of the cluster and runs no daemon")]
    NotANode {
        /// The machine.
        node: String,
    },
    /// Another command holds the labs.
    #[error("another lab command has held {path} for {seconds} s: wait for it or end it")]
    Busy {
        /// What is locked.
        path: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The kernel, or the way it is set up, lacks something.
    #[error("a lab needs {feature}, which is not there on this machine: {advice}")]
    Missing {
        /// What is missing.
        feature: String,
        /// What to do.
        advice: String,
    },
    /// All our ranges are routed by this machine already.
    #[error(
        "this machine routes all of 192.168.200.0 to 192.168.249.255: no range is free for a lab"
    )]
    NoRange,
    /// A machine did not come up.
    #[error("{node} did not come up: {why}")]
    Machine {
        /// Which one.
        node: String,
        /// What it said.
        why: String,
    },
    /// A netlink request failed.
    #[error("cannot {act}: {why}")]
    Link {
        /// What was tried.
        act: String,
        /// The kernel's answer.
        why: String,
    },
    /// A bounded wait ended.
    #[error("waited {seconds} s for {what}, in vain")]
    Late {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A file or a system call failed.
    #[error("cannot {act}: {source}")]
    Io {
        /// What was tried.
        act: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl LabError {
    /// Turns a system error into ours, with the act that failed.
    pub(crate) fn io<E: Into<io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> LabError {
        let act = act.into();
        move |source| LabError::Io {
            act,
            source: source.into(),
        }
    }
}
