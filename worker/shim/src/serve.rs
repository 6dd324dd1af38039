//! The supervisor's life after the container exists: one loop over pipes, the first process and
//! connections.
//!
//! It ends once the container has ended and the note about it is written (or, if the disk refuses
//! the note, once a daemon has been told).

use crate::further::{self, Further};
use crate::kernel::pass;
use crate::kernel::wait::{self, End, Watch};
use crate::kernel::{self, Errno};
use crate::launch::Container;
use crate::log::{self, Stream};
use crate::report::{self, Report};
use crate::send;
use skep_shim::protocol::{self, Exec, Exit, Failure, FrameError, Note, Reply, Request, Stage};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Connections beyond this are closed at once; a daemon needs three, and one for each further program.
const CONNECTIONS: usize = 32 + further::LIMIT;
/// Descriptors that may wait for their request.
const DESCRIPTORS: usize = 4;
/// Bytes read from a pipe at a time.
const CHUNK: usize = 64 << 10;
/// Reads at most this often from a pipe whose writers should all be gone.
const LAST_READS: usize = 1024;

struct Connection {
    /// Never given to another.
    number: u64,
    stream: UnixStream,
    unread: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// Wants to hear of the end.
    waits: bool,
    /// Wants to hear whether the program runs.
    starts: bool,
}

struct Supervisor {
    container: Container,
    connections: Vec<Connection>,
    /// Of the connection before.
    last_number: u64,
    further: Vec<Further>,
    stage: Stage,
    starting: bool,
    failure: Option<Failure>,
    /// True once a daemon was told of the end.
    told: bool,
    chunk: Vec<u8>,
}

/// What the loop watches, in this order; connections follow.
struct Ready {
    listener: bool,
    first_process: bool,
    output: bool,
    errors: bool,
    report: bool,
    connections: Vec<bool>,
    /// Of each further program: its end, and its report.
    further: Vec<(bool, bool)>,
}

/// Serves until the container has ended.
pub fn serve(container: Container, mut first: UnixStream) -> ExitCode {
    let pid = container.pid;
    send(&mut first, &Reply::Created { pid });
    let mut supervisor = Supervisor {
        container,
        connections: Vec::new(),
        last_number: 0,
        further: Vec::new(),
        stage: Stage::Created { pid },
        starting: false,
        failure: None,
        told: false,
        chunk: vec![0; CHUNK],
    };
    supervisor.add(first);
    loop {
        let Ok(ready) = supervisor.sleep() else {
            return ExitCode::from(4);
        };
        supervisor.act(&ready);
        if let Stage::Ended(exit) = &supervisor.stage {
            let exit = exit.clone();
            return supervisor.end(&exit);
        }
    }
}

/// The end of a container whose program was never run.
pub fn never_ran(failure: Failure) -> Exit {
    let code = failure.code;
    Exit {
        code,
        signal: None,
        oom_kills: 0,
        at_ms: now_ms(),
        failure: Some(failure),
    }
}

/// Writes a note, whole or not at all.
pub fn leave_note(path: &str, note: &Note) -> io::Result<()> {
    let unfinished = format!("{path}.new");
    std::fs::write(&unfinished, protocol::note_bytes(note))?;
    std::fs::rename(&unfinished, path)
}

/// Milliseconds since 1970 by the host's clock.
pub fn now_ms() -> u64 {
    u64::try_from(log::since_epoch().as_millis()).unwrap_or(u64::MAX)
}

impl Supervisor {
    fn add(&mut self, stream: UnixStream) {
        if self.connections.len() < CONNECTIONS && stream.set_nonblocking(true).is_ok() {
            self.last_number += 1;
            self.connections.push(Connection {
                number: self.last_number,
                stream,
                unread: Vec::new(),
                descriptors: Vec::new(),
                waits: false,
                starts: false,
            });
        }
    }

    fn sleep(&self) -> kernel::Result<Ready> {
        let container = &self.container;
        let nothing = || Watch {
            fd: -1,
            events: 0,
            revents: 0,
        };
        let maybe = |fd: &Option<OwnedFd>| {
            fd.as_ref()
                .map_or_else(nothing, |fd| wait::watch(fd.as_fd()))
        };
        let report = if self.starting {
            maybe(&container.report)
        } else {
            nothing()
        };
        let mut watches = vec![
            wait::watch(container.listener.as_fd()),
            wait::watch(container.pidfd.as_fd()),
            maybe(&container.output),
            maybe(&container.errors),
            report,
        ];
        watches.extend(
            self.connections
                .iter()
                .map(|known| wait::watch(known.stream.as_fd())),
        );
        let programs = watches.len();
        watches.extend(self.further.iter().flat_map(Further::watches));
        wait::poll(&mut watches, -1)?;
        let woken = |index: usize| watches.get(index).is_some_and(|watch| watch.revents != 0);
        let further = (programs..watches.len()).step_by(2);
        Ok(Ready {
            listener: woken(0),
            first_process: woken(1),
            output: woken(2),
            errors: woken(3),
            report: woken(4),
            connections: (5..programs).map(woken).collect(),
            further: further.map(|at| (woken(at), woken(at + 1))).collect(),
        })
    }

    fn act(&mut self, ready: &Ready) {
        if ready.report {
            self.learn_start();
        }
        if ready.output {
            self.copy(Stream::Output);
        }
        if ready.errors {
            self.copy(Stream::Errors);
        }
        // From the last, so that removing one moves none that is still to come.
        for index in (0..ready.further.len()).rev() {
            self.follow(index, ready.further[index]);
        }
        for index in (0..ready.connections.len()).rev() {
            if ready.connections[index] && !self.listen_to(index) {
                let gone = self.connections.swap_remove(index).number;
                let its = |one: &&mut Further| one.connection == Some(gone);
                self.further
                    .iter_mut()
                    .filter(its)
                    .for_each(Further::let_go);
            }
        }
        if ready.listener
            && let Ok((stream, _)) = self.container.listener.accept()
        {
            self.add(stream);
        }
        if ready.first_process {
            self.learn_end();
        }
    }

    /// Copies once from a pipe to the log; true while there may be more.
    fn copy(&mut self, stream: Stream) -> bool {
        let pipe = match stream {
            Stream::Output => &mut self.container.output,
            Stream::Errors => &mut self.container.errors,
        };
        let Some(open) = pipe else { return false };
        match kernel::read(open.as_fd(), &mut self.chunk) {
            Ok(count) if count > 0 => {
                self.container
                    .log
                    .take(stream, self.chunk.get(..count).unwrap_or_default());
                true
            }
            Err(Errno(libc::EAGAIN | libc::EINTR)) => false,
            // A pipe ends with zero bytes, a terminal that nobody has open with a refusal.
            _ => {
                *pipe = None;
                false
            }
        }
    }

    /// Reads what the child had to say about exec: nothing if it succeeded.
    fn learn_start(&mut self) {
        let Some(report) = self.container.report.take() else {
            return;
        };
        self.starting = false;
        let mut bytes = [0; report::LENGTH];
        let count = kernel::read(report.as_fd(), &mut bytes).unwrap_or(0);
        let said = bytes.get(..count).and_then(report::read);
        let reply = if let Some(Report::Fault { act, step, errno }) = said {
            let failure = report::explain(
                &self.container.plan.steps,
                &self.container.plan.program,
                (act, step, errno),
            );
            self.failure = Some(failure.clone());
            Reply::Failed(failure)
        } else {
            self.stage = Stage::Running {
                pid: self.container.pid,
            };
            Reply::Done
        };
        for connection in self.connections.iter_mut().filter(|known| known.starts) {
            connection.starts = false;
            send(&mut connection.stream, &reply);
        }
    }

    /// Reaps the first process; with it the kernel has ended every other one of the container.
    fn learn_end(&mut self) {
        if self.starting {
            self.learn_start();
        }
        let end = wait::reap(self.container.pidfd.as_fd());
        let oom_kills = self.oom_kills();
        for stream in [Stream::Output, Stream::Errors] {
            for _ in 0..LAST_READS {
                if !self.is_readable(stream) || !self.copy(stream) {
                    break;
                }
            }
        }
        self.container.log.finish();
        let (code, signal) = match end {
            Ok(End::Code(code)) => (code, None),
            Ok(End::Signal(signal)) => (128 + signal, Some(signal)),
            Err(_) => (255, None),
        };
        self.stage = Stage::Ended(match self.failure.take() {
            Some(failure) => never_ran(failure),
            None => Exit {
                code,
                signal,
                oom_kills,
                at_ms: now_ms(),
                failure: None,
            },
        });
    }

    fn is_readable(&self, stream: Stream) -> bool {
        let pipe = match stream {
            Stream::Output => &self.container.output,
            Stream::Errors => &self.container.errors,
        };
        let Some(pipe) = pipe else { return false };
        let mut watches = [wait::watch(pipe.as_fd())];
        wait::poll(&mut watches, 0).is_ok() && watches[0].revents != 0
    }

    fn oom_kills(&self) -> u64 {
        let path = self.container.plan.groups.oom.as_ref();
        let text = path
            .and_then(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Reads from a connection and answers what is whole; false once it is of no more use.
    fn listen_to(&mut self, index: usize) -> bool {
        let Some(connection) = self.connections.get_mut(index) else {
            return true;
        };
        let descriptors = &mut connection.descriptors;
        let read = pass::receive(connection.stream.as_fd(), &mut self.chunk, descriptors);
        connection.descriptors.truncate(DESCRIPTORS);
        match read {
            Ok(0) => return false,
            Ok(count) => {
                connection
                    .unread
                    .extend_from_slice(self.chunk.get(..count).unwrap_or_default());
            }
            Err(errno) => return matches!(errno.0, libc::EAGAIN | libc::EINTR),
        }
        let mut unread = std::mem::take(&mut connection.unread);
        let mut useful = true;
        while useful {
            let (reply, length) = match protocol::decode::<Request>(&unread) {
                Ok(None) => break,
                Ok(Some((request, length))) => (self.answer(index, &request), length),
                Err(FrameError::Unknown { length }) => {
                    let text = "this supervisor does not know the request";
                    (Some(Reply::Refused(text.into())), length)
                }
                Err(FrameError::TooLong(_)) => return false,
            };
            unread.drain(..length.min(unread.len()));
            if let (Some(reply), Some(connection)) = (reply, self.connections.get_mut(index)) {
                useful = send(&mut connection.stream, &reply);
            }
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.unread = unread;
        }
        useful
    }

    /// The answer, or `None` if it comes later.
    fn answer(&mut self, index: usize, request: &Request) -> Option<Reply> {
        match request {
            Request::Create(_) => Some(Reply::Refused("the container exists".into())),
            Request::State => Some(Reply::State(self.stage.clone())),
            Request::Kill(signal) => Some(match self.kill(*signal) {
                Ok(()) => Reply::Done,
                Err(errno) => Reply::Refused(io::Error::from_raw_os_error(errno.0).to_string()),
            }),
            Request::Wait => {
                self.connections.get_mut(index)?.waits = true;
                None
            }
            Request::Start => self.start(index),
            Request::Exec(exec) => self.begin(index, exec).err().map(Reply::Refused),
            Request::Signal(signal) => Some(self.signal(index, *signal)),
        }
    }

    /// Begins a further program for a connection; the answer comes when it runs.
    fn begin(&mut self, index: usize, exec: &Exec) -> Result<(), String> {
        if !matches!(self.stage, Stage::Running { .. }) {
            return Err("the container does not run".into());
        }
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let (number, descriptors) = (
            connection.number,
            std::mem::take(&mut connection.descriptors),
        );
        if self
            .further
            .iter()
            .any(|one| one.connection == Some(number))
        {
            return Err("this connection has begun a program before".into());
        }
        if self.further.len() >= further::LIMIT {
            let limit = further::LIMIT;
            return Err(format!(
                "{limit} programs were begun in the container already"
            ));
        }
        let begun = Further::begin(&self.container, exec, descriptors, number)?;
        self.further.push(begun);
        Ok(())
    }

    fn signal(&self, index: usize, signal: i32) -> Reply {
        let number = self.connections.get(index).map(|known| known.number);
        let found = self.further.iter().find(|one| one.connection == number);
        match found.map(|one| one.signal(signal)) {
            Some(Ok(())) => Reply::Done,
            Some(Err(errno)) => Reply::Refused(io::Error::from_raw_os_error(errno.0).to_string()),
            None => Reply::Refused("this connection runs no program".into()),
        }
    }

    /// Hears of a further program and tells its connection.
    fn follow(&mut self, index: usize, (ended, reported): (bool, bool)) {
        let Some(further) = self.further.get_mut(index) else {
            return;
        };
        let mut replies = Vec::new();
        if ended || reported {
            replies.extend(further.learn_start());
        }
        let connection = further.connection;
        if ended {
            replies.extend(further.learn_end());
            self.further.swap_remove(index);
        }
        let its = |known: &&mut Connection| Some(known.number) == connection;
        if let Some(known) = self.connections.iter_mut().find(its) {
            for reply in replies {
                send(&mut known.stream, &reply);
            }
        }
    }

    fn kill(&self, signal: i32) -> kernel::Result<()> {
        wait::signal(self.container.pidfd.as_fd(), signal)
    }

    fn start(&mut self, index: usize) -> Option<Reply> {
        let Some(start) = self.container.start.take() else {
            return Some(Reply::Refused("the container was started before".into()));
        };
        // If the child is gone already, its end tells so.
        let _ = kernel::write(start.as_fd(), b"1");
        self.starting = true;
        self.connections.get_mut(index)?.starts = true;
        None
    }

    /// Leaves the note, tells whoever waits, and goes.
    fn end(mut self, exit: &Exit) -> ExitCode {
        let noted = leave_note(&self.container.plan.notes.ended, &Note::Ended(exit.clone()));
        let ended = Reply::Ended(exit.clone());
        for connection in &mut self.connections {
            if connection.waits {
                self.told |= send(&mut connection.stream, &ended);
            }
        }
        self.connections.retain(|connection| !connection.waits);
        while noted.is_err() && !self.told {
            self.linger(&ended);
        }
        let _ = std::fs::remove_file(&self.container.plan.notes.socket);
        ExitCode::SUCCESS
    }

    /// Waits for a daemon to ask, since the disk took no note.
    fn linger(&mut self, ended: &Reply) {
        let mut watches = [wait::watch(self.container.listener.as_fd())];
        if wait::poll(&mut watches, -1).is_err() {
            self.told = true;
            return;
        }
        let Ok((mut stream, _)) = self.container.listener.accept() else {
            return;
        };
        if stream.set_nonblocking(false).is_ok() {
            self.told = send(&mut stream, ended);
        }
    }
}
