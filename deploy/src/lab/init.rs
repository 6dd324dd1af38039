//! PID 1 of a machine: starts the daemon when told to, reaps whatever is orphaned, passes signals on
//! to the daemon, and answers the lab. It restarts nothing by itself and ends only by being killed.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::control::{self, Answer, Question};
use super::record::{Kind, Machine, Place, Record};
use super::{enter, machine, mounts, options};

struct Init {
    /// The daemon's command in this machine; none where there is no daemon.
    argv: Option<Vec<String>>,
    daemon: Option<Pid>,
    last_end: Option<String>,
}

/// Makes the machine's files and names, then serves until killed.
pub(crate) fn serve(place: &Place, record: &Record, name: &str) -> Result<ExitCode, String> {
    let machine = record.machine(name).map_err(|e| e.to_string())?;
    let says = |act: &str| {
        let act = act.to_string();
        move |e: io::Error| format!("{act}: {e}")
    };
    let socket = place.run_of(name).join(control::SOCKET);
    let listener = UnixListener::bind(&socket).map_err(says("listen for the lab"))?;
    listener
        .set_nonblocking(true)
        .map_err(says("listen for the lab"))?;
    let watched = SigSet::all();
    watched
        .thread_block()
        .map_err(|e| format!("block signals: {e}"))?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|e| format!("watch signals: {e}"))?;
    mounts::lay_out(place, record, machine)?;
    nix::unistd::sethostname(name).map_err(|e| format!("set the hostname: {e}"))?;
    let mut init = Init {
        argv: argv(record, machine),
        daemon: None,
        last_end: None,
    };
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(|e| format!("wait: {e}"))?;
        while let Ok(Some(got)) = signals.read_signal() {
            init.take(i32::try_from(got.ssi_signo).unwrap_or_default());
        }
        init.reap();
        while let Ok((stream, _)) = listener.accept() {
            // Who asks and goes away before the answer has lost nothing but the answer.
            let _ = init.answer(stream);
        }
    }
}

fn argv(record: &Record, machine: &Machine) -> Option<Vec<String>> {
    let (Kind::Node(_), Some(file)) = (machine.kind, record.daemon.file_name()) else {
        return None;
    };
    let mut argv = vec![format!("{}/{}", mounts::BIN, file.to_string_lossy())];
    argv.extend(options::fill(
        &record.daemon_args,
        &machine.name,
        machine.address,
    ));
    Some(argv)
}

impl Init {
    fn take(&mut self, number: i32) {
        let passed = [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ];
        if let (Some(pid), Ok(signal)) = (self.daemon, Signal::try_from(number))
            && passed.contains(&signal)
        {
            let _ = kill(pid, signal);
        }
    }

    /// Takes leave of every child that has ended, ours or orphaned; there are finitely many.
    fn reap(&mut self) {
        loop {
            let end = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(end) => end,
                Err(_) => continue,
            };
            if end.pid().is_some() && end.pid() == self.daemon {
                self.daemon = None;
                self.last_end = Some(match end {
                    WaitStatus::Exited(_, code) => format!("ended with exit code {code}"),
                    WaitStatus::Signaled(_, signal, _) => format!("ended by {signal}"),
                    _ => "ended".into(),
                });
            }
        }
    }

    fn answer(&mut self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        control::bound(&stream)?;
        let question: Question = control::receive(&stream)?;
        let met = match question {
            Question::Status => Ok(()),
            Question::StartDaemon => self.start(),
            Question::SignalDaemon(number) => self.signal(number),
        };
        let answer = Answer {
            daemon: self.daemon.and_then(|pid| u32::try_from(pid.as_raw()).ok()),
            last_end: self.last_end.clone(),
            refused: met.err(),
        };
        control::send(&mut stream, &answer)
    }

    fn start(&mut self) -> Result<(), String> {
        let Some(argv) = &self.argv else {
            return Err("this machine runs no daemon".into());
        };
        if self.daemon.is_some() {
            return Err("the daemon runs already".into());
        }
        let open = || File::options().create(true).append(true).open(mounts::LOG);
        let output = open().map_err(|e| format!("open {}: {e}", mounts::LOG))?;
        let errors = open().map_err(|e| format!("open {}: {e}", mounts::LOG))?;
        let child = machine::runner(false)
            .args(argv)
            .env("PATH", enter::path())
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("start the daemon: {e}"))?;
        self.daemon = i32::try_from(child.id()).ok().map(Pid::from_raw);
        Ok(())
    }

    fn signal(&mut self, number: i32) -> Result<(), String> {
        let Some(pid) = self.daemon else {
            return Err("no daemon runs".into());
        };
        let signal = Signal::try_from(number).map_err(|e| format!("signal {number}: {e}"))?;
        kill(pid, signal).map_err(|e| format!("send {signal} to the daemon: {e}"))
    }
}
