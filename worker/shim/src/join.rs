//! A further program in a container, from clone to exec.
//!
//! As in `child`, nothing here allocates, returns or prints. The process is opaque to the container from
//! before it can be seen there, and the file it runs until exec is sealed: nobody inside can reach through it.

use crate::child;
use crate::kernel::{self, identity};
use crate::report::{Act, During, Fault};
use crate::streams::{self, Streams, Whose};
use skep_shim::plan::{LaunchPlan, Program};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The namespaces of a container that a further program enters, besides that of process ids, which the
/// supervisor's children are born in.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// What it needs, made before clone.
pub struct Prepared<'p> {
    pub plan: &'p LaunchPlan,
    pub program: &'p Program,
    /// The container's first process.
    pub first: BorrowedFd<'p>,
    pub streams: Streams,
    /// A fault goes here; it closes at exec.
    pub report: OwnedFd,
    pub args: Vec<*const libc::c_char>,
    pub env: Vec<*const libc::c_char>,
    pub oom_score: Vec<u8>,
}

/// Runs the child. Never returns.
pub fn run(prepared: &Prepared<'_>) -> ! {
    let fault = match join(prepared) {
        Ok(()) => child::run_program(prepared.program, &prepared.args, &prepared.env),
        Err(fault) => fault,
    };
    // Nobody is left to be told if this fails; the supervisor sees the exit.
    let _ = kernel::write(prepared.report.as_fd(), &fault.bytes());
    kernel::leave(125)
}

fn join(prepared: &Prepared<'_>) -> Result<(), Fault> {
    identity::hide().during(Act::Hide)?;
    identity::die_with_parent().during(Act::DieWithParent)?;
    identity::default_signals(child::IGNORED);
    for tasks in &prepared.plan.groups.tasks {
        kernel::write_file(tasks, b"0").during(Act::JoinCgroup)?;
    }
    child::set_oom_score(&prepared.oom_score)?;
    identity::join(prepared.first, NAMESPACES).during(Act::JoinContainer)?;
    streams::connect(&prepared.streams, prepared.program.uid, Whose::Further)?;
    child::become_user(prepared.program)?;
    identity::die_with_parent().during(Act::DieWithParent)
}
