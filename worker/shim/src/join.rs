//! A further program in a container, from clone to exec.
//!
//! As in `child`, nothing here allocates, returns or prints. The process is opaque to the container from
//! before it can be seen there, and the file it runs until exec is sealed: nobody inside can reach through it.

use crate::child;
use crate::kernel::{self, identity, pass, terminal};
use crate::report::{Act, During, Fault};
use skep_shim::plan::{LaunchPlan, Program};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The namespaces of a container that a further program enters, besides that of process ids, which the
/// supervisor's children are born in.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// Where its input and output are.
pub enum Streams {
    /// Standard input, output and errors.
    Files([OwnedFd; 3]),
    /// A new terminal, whose master goes to a socket.
    Terminal {
        master_to: OwnedFd,
        size: (u16, u16),
    },
}

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
    identity::own_session().during(Act::Session)?;
    connect(prepared)?;
    kernel::close_at_exec(3).during(Act::Output)?;
    child::become_user(prepared.program)?;
    identity::die_with_parent().during(Act::DieWithParent)
}

fn connect(prepared: &Prepared<'_>) -> Result<(), Fault> {
    match &prepared.streams {
        Streams::Files(files) => {
            for (file, number) in files.iter().zip(0..) {
                kernel::place(file.as_fd(), number).during(Act::Output)?;
            }
            Ok(())
        }
        Streams::Terminal { master_to, size } => {
            let (master, peer) = terminal::open_new().during(Act::Terminal)?;
            terminal::resize(peer.as_fd(), *size).during(Act::Terminal)?;
            let (uid, gid) = (prepared.program.uid, u32::MAX);
            kernel::give(peer.as_fd(), uid, gid).during(Act::Terminal)?;
            pass::send(master_to.as_fd(), master.as_fd()).during(Act::Terminal)?;
            for number in 0..3 {
                kernel::place(peer.as_fd(), number).during(Act::Output)?;
            }
            terminal::control(peer.as_fd()).during(Act::Terminal)
        }
    }
}
