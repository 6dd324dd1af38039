//! Makes the container: everything that allocates first, then clone, then the child's report.

use crate::child::{self, Prepared};
use crate::kernel::wait::{self, Side};
use crate::kernel::{self, Errno, pass};
use crate::log::Log;
use crate::report::{self, Report};
use crate::serve;
use crate::streams::Streams;
use skep_shim::plan::{LaunchPlan, Root};
use skep_shim::protocol::{Failure, Note};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Bytes that a container may write ahead of its log. The kernel keeps 40 bytes for each 4 KiB of it, and the room
/// itself only while it is used.
const OUTPUT_ROOM: i32 = 256 << 10;

/// A container that exists and waits for its start.
pub struct Container {
    pub plan: LaunchPlan,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub listener: UnixListener,
    /// One byte on it lets the program run.
    pub start: Option<OwnedFd>,
    /// Where the child reports; its end means that exec succeeded.
    pub report: Option<OwnedFd>,
    pub output: Option<OwnedFd>,
    pub errors: Option<OwnedFd>,
    pub log: Log,
}

/// Our ends of the child's pipes.
struct Ends {
    start: OwnedFd,
    report: OwnedFd,
    output: Output,
}

/// Where what the child writes can be read.
enum Output {
    /// Standard output and errors.
    Pipes(OwnedFd, OwnedFd),
    /// Here the master of its terminal comes before it reports.
    MasterFrom(UnixStream),
}

/// What failed before the child could report: the act and the kernel's reason.
type Early = (String, i32);

/// Makes the container of a plan.
///
/// # Errors
/// The plan again, and what could not be done. Nothing is left running.
#[expect(
    clippy::result_large_err,
    reason = "built once in the life of the program"
)]
pub fn launch(plan: LaunchPlan) -> Result<Container, (LaunchPlan, Failure)> {
    match try_launch(&plan) {
        Ok(Ok((pid, pidfd, listener, ends, log))) => {
            let (start, report) = (Some(ends.start), Some(ends.report));
            let (output, errors) = ends.output.descriptors();
            let note = Note::Created {
                pid,
                supervisor: std::process::id().cast_signed(),
            };
            let container = Container {
                plan,
                pid,
                pidfd,
                listener,
                start,
                report,
                output,
                errors,
                log,
            };
            match serve::leave_note(&container.plan.notes.created, &note) {
                Ok(()) => Ok(container),
                Err(error) => {
                    let _ = wait::signal(container.pidfd.as_fd(), libc::SIGKILL);
                    let _ = wait::reap(container.pidfd.as_fd());
                    let failure = early("leave a note", error.raw_os_error().unwrap_or(0));
                    Err((container.plan, failure))
                }
            }
        }
        Ok(Err(failure)) => Err((plan, failure)),
        Err((act, errno)) => Err((plan, early(&act, errno))),
    }
}

fn early(act: &str, errno: i32) -> Failure {
    Failure {
        act: act.to_owned(),
        errno,
        code: 125,
    }
}

type Launched = Result<(i32, OwnedFd, UnixListener, Ends, Log), Failure>;

fn try_launch(plan: &LaunchPlan) -> Result<Launched, Early> {
    let listener = listen(plan)?;
    let log = Log::open(plan.log.as_ref()).map_err(|error| io("open the log file", &error))?;
    let cgroup = plan
        .groups
        .unified
        .as_ref()
        .map(|path| kernel::open(path, libc::O_PATH | libc::O_DIRECTORY))
        .transpose()
        .map_err(during("open the container's cgroup"))?;
    let (prepared, ends) = prepare(plan)?;
    let side = wait::clone(plan.namespaces, cgroup.as_ref().map(|fd| fd.as_fd()));
    let (pid, pidfd) = match side.map_err(during("clone into new namespaces"))? {
        Side::Child => child::run(plan, &prepared),
        Side::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(prepared);
    let mut bytes = [0; report::LENGTH];
    let count = kernel::read(ends.report.as_fd(), &mut bytes).unwrap_or(0);
    let failure = match bytes.get(..count).and_then(report::read) {
        Some(Report::Ready) => return Ok(Ok((pid, pidfd, listener, ends, log))),
        Some(Report::Fault { act, step, errno }) => {
            report::explain(&plan.steps, &plan.program, (act, step, errno))
        }
        None => early("set up the container: its first process was killed", 0),
    };
    let _ = wait::signal(pidfd.as_fd(), libc::SIGKILL);
    let _ = wait::reap(pidfd.as_fd());
    Ok(Err(failure))
}

fn listen(plan: &LaunchPlan) -> Result<UnixListener, Early> {
    for tasks in &plan.supervisor_groups {
        kernel::write_file(tasks, b"0").map_err(during("leave the daemon's cgroup"))?;
    }
    let listener = bind(Path::new(&plan.notes.socket))
        .map_err(|error| io(&format!("listen on {}", plan.notes.socket), &error))?;
    listener
        .set_nonblocking(true)
        .map_err(|error| io("listen", &error))?;
    Ok(listener)
}

/// Binds from inside its directory, since a socket's path may have 107 bytes at most.
fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    let missing = || std::io::Error::from_raw_os_error(libc::EINVAL);
    std::env::set_current_dir(socket.parent().ok_or_else(missing)?)?;
    let listener = UnixListener::bind(socket.file_name().ok_or_else(missing)?)?;
    std::env::set_current_dir("/")?;
    Ok(listener)
}

fn prepare(plan: &LaunchPlan) -> Result<(Prepared, Ends), Early> {
    let pipe = || kernel::pipe(0).map_err(during("make a pipe"));
    let ((report, reporting), (starting, start)) = (pipe()?, pipe()?);
    let (streams, output) = streams(plan)?;
    let network = plan
        .join_network
        .as_ref()
        .map(|path| kernel::open(path, libc::O_RDONLY))
        .transpose()
        .map_err(during("open the network namespace"))?;
    let prepared = Prepared {
        overlay_options: overlay_options(&plan.root),
        network,
        streams,
        report: reporting,
        start: starting,
        args: kernel::pointers(&plan.program.args),
        env: kernel::pointers(&plan.program.env),
        oom_score: plan.program.oom_score.to_string().into_bytes(),
    };
    Ok((
        prepared,
        Ends {
            start,
            report,
            output,
        },
    ))
}

/// The child's side, and ours.
fn streams(plan: &LaunchPlan) -> Result<(Streams, Output), Early> {
    if plan.terminal {
        let pair = UnixStream::pair().and_then(|(ours, theirs)| {
            // It has come, or it never will.
            ours.set_nonblocking(true)?;
            Ok((ours, theirs))
        });
        let (ours, theirs) = pair.map_err(|error| io("make a socket", &error))?;
        let master_to = theirs.into();
        let size = (0, 0);
        return Ok((
            Streams::Terminal { master_to, size },
            Output::MasterFrom(ours),
        ));
    }
    let pipe = || kernel::pipe(0).map_err(during("make a pipe"));
    let ((output, child_output), (errors, child_errors)) = (pipe()?, pipe()?);
    for end in [&child_output, &child_errors] {
        kernel::widen(end.as_fd(), OUTPUT_ROOM);
        // So that /dev/stdout can be opened by a program that does not run as root.
        kernel::give(end.as_fd(), plan.program.uid, plan.program.gid)
            .map_err(during("give the output to the user"))?;
    }
    let input =
        kernel::open(c"/dev/null", libc::O_RDONLY).map_err(during("open the null device"))?;
    let files = Streams::Files([input, child_output, child_errors]);
    Ok((files, Output::Pipes(output, errors)))
}

impl Output {
    /// What is read of the child, which has reported: its output, and its errors if they come apart.
    fn descriptors(self) -> (Option<OwnedFd>, Option<OwnedFd>) {
        match self {
            Self::Pipes(output, errors) => (Some(output), Some(errors)),
            Self::MasterFrom(socket) => {
                let mut came = Vec::new();
                let _ = pass::receive(socket.as_fd(), &mut [0], &mut came);
                (came.pop(), None)
            }
        }
    }
}

/// All options in one string; empty if that cannot be, and then only the new way is left.
fn overlay_options(root: &Root) -> CString {
    let Root::Overlay {
        lower, upper, work, ..
    } = root
    else {
        return CString::default();
    };
    let mut text = b"lowerdir=".to_vec();
    let layers: Vec<_> = lower.iter().map(|layer| layer.to_bytes()).collect();
    text.extend(layers.join(&b':'));
    text.extend(
        [
            b",upperdir=",
            upper.to_bytes(),
            b",workdir=",
            work.to_bytes(),
        ]
        .concat(),
    );
    CString::new(text).unwrap_or_default()
}

fn during(act: &'static str) -> impl Fn(Errno) -> Early {
    move |errno| (act.to_owned(), errno.0)
}

fn io(act: &str, error: &std::io::Error) -> Early {
    (act.to_owned(), error.raw_os_error().unwrap_or(0))
}
