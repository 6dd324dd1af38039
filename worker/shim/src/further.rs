//! Further programs in the container: begun for a connection, told of, and ended with it.

use crate::join::{self, Prepared};
use crate::kernel::wait::{self, End, Side};
use crate::kernel::{self, Errno, identity};
use crate::launch::Container;
use crate::report::{self, Report};
use crate::serve::now_ms;
use crate::streams::Streams;
use skep_shim::plan::{Capabilities, Program};
use skep_shim::protocol::{Exec, Exit, Failure, Reply};
use std::os::fd::{AsFd, OwnedFd};

/// Programs beside the first at a time.
pub const LIMIT: usize = 64;

/// A further program.
pub struct Further {
    pid: i32,
    pidfd: OwnedFd,
    /// Where it says why it cannot run; gone once it runs.
    report: Option<OwnedFd>,
    program: Program,
    failed: bool,
    detached: bool,
    /// The number of its connection; none once that has ended.
    pub connection: Option<u64>,
}

impl Further {
    /// Clones into the container. What comes of it is heard later: this does not wait.
    ///
    /// # Errors
    /// In words.
    pub fn begin(
        container: &Container,
        exec: &Exec,
        descriptors: Vec<OwnedFd>,
        connection: u64,
    ) -> Result<Self, String> {
        let program = program(container, exec);
        let refused = |act: &str| {
            let act = act.to_owned();
            move |errno: Errno| format!("cannot {act}: {}", io_error(errno))
        };
        let (report, reporting) = kernel::pipe(0).map_err(refused("make a pipe"))?;
        let streams = streams(exec, descriptors)?;
        // Children are born in the container's PID namespace from now on; there are no others.
        identity::join(container.pidfd.as_fd(), libc::CLONE_NEWPID)
            .map_err(refused("enter the container, which may have just ended"))?;
        let unified = container.plan.groups.unified.as_ref();
        let cgroup = unified
            .map(|path| kernel::open(path, libc::O_PATH | libc::O_DIRECTORY))
            .transpose()
            .map_err(refused("open the container's cgroup"))?;
        let prepared = Prepared {
            plan: &container.plan,
            program: &program,
            first: container.pidfd.as_fd(),
            streams,
            report: reporting,
            args: kernel::pointers(&program.args),
            env: kernel::pointers(&program.env),
            oom_score: program.oom_score.to_string().into_bytes(),
        };
        let side = wait::clone(0, cgroup.as_ref().map(|fd| fd.as_fd()));
        let (pid, pidfd) = match side.map_err(refused("clone into the container"))? {
            Side::Child => join::run(&prepared),
            Side::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(prepared);
        Ok(Self {
            pid,
            pidfd,
            report: Some(report),
            program,
            failed: false,
            detached: exec.detached,
            connection: Some(connection),
        })
    }

    /// What to watch: its end, and its report while one may come.
    pub fn watches(&self) -> [wait::Watch; 2] {
        let nothing = wait::Watch {
            fd: -1,
            events: 0,
            revents: 0,
        };
        let report = self.report.as_ref();
        [
            wait::watch(self.pidfd.as_fd()),
            report.map_or(nothing, |fd| wait::watch(fd.as_fd())),
        ]
    }

    /// Hears whether it runs; to be asked when its report can be read, or it has ended.
    pub fn learn_start(&mut self) -> Option<Reply> {
        let report = self.report.take()?;
        let mut bytes = [0; report::LENGTH];
        let count = kernel::read(report.as_fd(), &mut bytes).unwrap_or(0);
        let said = bytes.get(..count).and_then(report::read);
        Some(if let Some(Report::Fault { act, step, errno }) = said {
            self.failed = true;
            Reply::Failed(report::explain(&[], &self.program, (act, step, errno)))
        } else {
            Reply::Started { pid: self.pid }
        })
    }

    /// Reaps it; nothing is to be said of one that never ran.
    pub fn learn_end(&self) -> Option<Reply> {
        let (code, signal) = match wait::reap(self.pidfd.as_fd()) {
            Ok(End::Code(code)) => (code, None),
            Ok(End::Signal(signal)) => (128 + signal, Some(signal)),
            Err(_) => (255, None),
        };
        let exit = Exit {
            code,
            signal,
            oom_kills: 0,
            at_ms: now_ms(),
            failure: None::<Failure>,
        };
        (!self.failed).then_some(Reply::Exited(exit))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> kernel::Result<()> {
        wait::signal(self.pidfd.as_fd(), signal)
    }

    /// Its connection has ended.
    pub fn let_go(&mut self) {
        self.connection = None;
        if !self.detached {
            wait::end_group(self.pid, self.pidfd.as_fd());
        }
    }
}

fn io_error(errno: Errno) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno.0)
}

fn streams(exec: &Exec, descriptors: Vec<OwnedFd>) -> Result<Streams, String> {
    match (exec.terminal, <[OwnedFd; 3]>::try_from(descriptors)) {
        (None, Ok(files)) => Ok(Streams::Files(files)),
        (Some(size), Err(mut few)) if few.len() == 1 => {
            let master_to = few.pop().ok_or("no descriptor came along")?;
            Ok(Streams::Terminal { master_to, size })
        }
        (_, Ok(_)) => Err("three descriptors came along where one was expected".into()),
        (_, Err(other)) => Err(format!("{} descriptors came along", other.len())),
    }
}

/// The container's own program, with what differs.
fn program(container: &Container, exec: &Exec) -> Program {
    let mut program = container.plan.program.clone();
    program.candidates.clone_from(&exec.candidates);
    program.args.clone_from(&exec.args);
    program.env.clone_from(&exec.env);
    program.cwd.clone_from(&exec.cwd);
    program.groups.clone_from(&exec.groups);
    (program.uid, program.gid) = (exec.uid, exec.gid);
    if exec.privileged {
        // Those that the kernel does not know are not permitted, and so fall away.
        program.capabilities = Capabilities {
            bounding: u64::MAX,
            effective: u64::MAX,
            permitted: u64::MAX,
            inheritable: 0,
            ambient: 0,
        };
    }
    program
}
