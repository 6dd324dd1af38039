//! The container's first process, from clone to exec.
//!
//! It never allocates, never returns and never prints: it follows the plan and, when the kernel
//! refuses, says so on a pipe and leaves.

use crate::kernel::{self, Errno, identity, mount};
use crate::report::{self, Act, During, Fault};
use crate::steps;
use crate::streams::{self, Streams, Whose};
use skep_shim::plan::{LaunchPlan, Program};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Signals a supervisor ignores; ignoring would outlive exec.
pub const IGNORED: &[i32] = &[libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

/// What the child needs besides the plan, made before clone.
pub struct Prepared {
    /// For kernels whose overlayfs wants all options in one string.
    pub overlay_options: CString,
    /// The network namespace to join.
    pub network: Option<OwnedFd>,
    pub streams: Streams,
    /// Reports go here; it closes at exec.
    pub report: OwnedFd,
    /// A byte from here is the start; its end means that the supervisor is gone.
    pub start: OwnedFd,
    pub args: Vec<*const libc::c_char>,
    pub env: Vec<*const libc::c_char>,
    pub oom_score: Vec<u8>,
}

/// Runs the child. Never returns.
pub fn run(plan: &LaunchPlan, prepared: &Prepared) -> ! {
    let fault = match become_container(plan, prepared) {
        Ok(()) => run_program(&plan.program, &prepared.args, &prepared.env),
        Err(fault) => fault,
    };
    // Nobody is left to be told if this fails; the supervisor sees the exit.
    let _ = kernel::write(prepared.report.as_fd(), &fault.bytes());
    kernel::leave(125)
}

fn become_container(plan: &LaunchPlan, prepared: &Prepared) -> Result<(), Fault> {
    identity::die_with_parent().during(Act::DieWithParent)?;
    identity::default_signals(IGNORED);
    // What the steps make has the mode they say; the program gets a mask of its own.
    identity::set_umask(0);
    enter_groups(plan, prepared)?;
    let mut tied = steps::copy_tied(&plan.steps)?;
    mount::isolate_mounts().during(Act::IsolateMounts)?;
    let root = steps::mount_root(&plan.root, &prepared.overlay_options)?;
    for (number, step) in (0_u32..).zip(&plan.steps) {
        steps::follow(root.as_fd(), number, step, &mut tied).map_err(|fault| Fault {
            step: Some(number),
            ..fault
        })?;
    }
    if mount::open_in(root.as_fd(), &plan.program.cwd, libc::O_PATH, 0).is_err() {
        steps::make_directories(root.as_fd(), &plan.program.cwd)?;
    }
    if plan.root_read_only {
        mount::change(root.as_fd(), mount::MOUNT_ATTR_RDONLY, 0, false)
            .during(Act::RootReadOnly)?;
    }
    mount::enter(root.as_fd()).during(Act::ChangeRoot)?;
    mount::pivot_here().during(Act::ChangeRoot)?;
    streams::connect(&prepared.streams, plan.program.uid, Whose::First)?;
    become_user(&plan.program)?;
    identity::die_with_parent().during(Act::DieWithParent)?;
    await_start(prepared)
}

fn enter_groups(plan: &LaunchPlan, prepared: &Prepared) -> Result<(), Fault> {
    for tasks in &plan.groups.tasks {
        kernel::write_file(tasks, b"0").during(Act::JoinCgroup)?;
    }
    if let Some(network) = &prepared.network {
        identity::join(network.as_fd(), libc::CLONE_NEWNET).during(Act::JoinNetwork)?;
    }
    if plan.groups.private {
        identity::unshare(libc::CLONE_NEWCGROUP).during(Act::CgroupNamespace)?;
    }
    set_oom_score(&prepared.oom_score)
}

/// Sets the kernel's preference when it is short of memory; /proc is still the host's.
pub fn set_oom_score(score: &[u8]) -> Result<(), Fault> {
    match kernel::write_file(c"/proc/self/oom_score_adj", score) {
        // Without CAP_SYS_RESOURCE it cannot be lowered: the container dies a little earlier then.
        Err(Errno(libc::EACCES | libc::EPERM)) => Ok(()),
        other => other.during(Act::OomScore),
    }
}

/// Takes the program's limits, user and rights, and enters its working directory.
pub fn become_user(program: &Program) -> Result<(), Fault> {
    for (resource, soft, hard) in &program.limits {
        identity::set_limit(*resource, *soft, *hard).during(Act::Limits)?;
    }
    identity::set_umask(program.umask);
    let entered = enter_working_directory(program);
    let wanted = program.capabilities;
    identity::bound_capabilities(wanted.bounding).during(Act::BoundCapabilities)?;
    if program.no_new_privileges {
        identity::no_new_privileges().during(Act::NoNewPrivileges)?;
    }
    identity::keep_capabilities().during(Act::User)?;
    identity::become_user(program.uid, program.gid, &program.groups).during(Act::User)?;
    let permitted = identity::permitted_capabilities().during(Act::Capabilities)?;
    if !program.seccomp.is_empty() && !program.no_new_privileges {
        // The filter needs CAP_SYS_ADMIN, which becoming a user has put out of force.
        identity::set_capabilities(permitted & CAP_SYS_ADMIN, permitted, 0)
            .during(Act::Capabilities)?;
        install_filter(program)?;
    }
    let may = wanted.permitted & permitted;
    identity::set_capabilities(wanted.effective & may, may, wanted.inheritable & may)
        .during(Act::Capabilities)?;
    identity::set_ambient(wanted.ambient & may).during(Act::Capabilities)?;
    // It is enough if one of the two may enter: root before the change, or the user itself.
    enter_working_directory(program).or(entered)
}

fn enter_working_directory(program: &Program) -> Result<(), Fault> {
    mount::enter_path(&program.cwd).during(Act::WorkingDirectory)?;
    // A descriptor of the host must never become a working directory by a link through /proc.
    if mount::is_inside_root() {
        return Ok(());
    }
    Err(Errno(libc::EXDEV)).during(Act::WorkingDirectory)
}

fn install_filter(program: &Program) -> Result<(), Fault> {
    identity::filter_calls(&program.seccomp, program.seccomp_flags).during(Act::Seccomp)
}

fn await_start(prepared: &Prepared) -> Result<(), Fault> {
    kernel::write(prepared.report.as_fd(), &report::ready()).during(Act::Ready)?;
    let mut byte = [0];
    match kernel::read(prepared.start.as_fd(), &mut byte).during(Act::AwaitStart)? {
        0 => kernel::leave(125),
        _ => Ok(()),
    }
}

/// Runs the program; returns only if it cannot be run.
pub fn run_program(
    program: &Program,
    args: &[*const libc::c_char],
    env: &[*const libc::c_char],
) -> Fault {
    if program.no_new_privileges
        && !program.seccomp.is_empty()
        && let Err(fault) = install_filter(program)
    {
        return fault;
    }
    let mut reason = Errno(libc::ENOENT);
    for candidate in &program.candidates {
        let errno = kernel::exec(candidate, args, env);
        match errno.0 {
            libc::ENOENT | libc::ENOTDIR => {}
            // As a shell does: look further, and say so if nothing better is found.
            libc::EACCES => reason = errno,
            _ => {
                reason = errno;
                break;
            }
        }
    }
    Fault {
        act: Act::Exec,
        step: None,
        errno: reason,
    }
}
