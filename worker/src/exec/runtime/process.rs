//! Further programs in a running container.
//!
//! A program belongs to whoever asked for it: when its [`Process`] is dropped, or the daemon ends, the
//! container's supervisor kills it with its process group. Only a detached one goes on.

use super::terminal::Master;
use crate::exec::shim::Connection;
use skep_shim::protocol::{Exit, Reply, Request};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

/// How long output may come after the program itself has ended.
const LINGER: Duration = Duration::from_millis(500);
/// Signals that wait for a supervisor that is busy.
const SIGNALS: usize = 16;

/// What is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPlan {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`, besides those of the container; a name without a value takes a variable away.
    pub env: Vec<String>,
    /// Working directory, which must be there; the container's if not given.
    pub cwd: Option<PathBuf>,
    /// `user`, `user:group`, `uid` or `uid:gid`; the container's if not given.
    pub user: Option<String>,
    /// What it may do.
    pub privileges: Privileges,
    /// What it reads and writes.
    pub streams: Streams,
}

/// What a further program may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privileges {
    /// What the container may.
    #[default]
    Container,
    /// All capabilities; the container's system call filter stays.
    All,
}

/// What a further program reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Output and errors; its input is at its end.
    #[default]
    Output,
    /// Input, output and errors.
    All,
    /// A terminal.
    Terminal(TerminalSize),
    /// Nothing: it goes on by itself.
    Detached,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// How a further program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEnd {
    /// Its exit code, or 128 plus the signal that ended it; 255 if nobody saw it.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

/// What is written goes to a program.
pub type Writer = Box<dyn AsyncWrite + Send + Sync + Unpin>;
/// What is read comes from a program.
pub type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// A further program that runs. Dropping it ends the program, unless it is detached.
pub struct Process {
    /// Its standard input; the terminal if it has one.
    pub input: Option<Writer>,
    /// Its standard output; the terminal if it has one.
    pub output: Option<Reader>,
    /// Its standard errors.
    pub errors: Option<Reader>,
    /// To wait for it and to act on it.
    pub control: ProcessControl,
}

/// Our ends of a program's input, output and errors.
pub(super) type Pipes = (Option<Writer>, Option<Reader>, Option<Reader>);

/// To wait for a further program and to act on it; clones are the same one.
#[derive(Clone, Debug)]
pub struct ProcessControl {
    pid: i32,
    terminal: Option<Master>,
    signals: mpsc::Sender<i32>,
    ended: watch::Receiver<Option<ProcessEnd>>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let control = &self.control;
        f.debug_struct("Process").field("control", control).finish()
    }
}

impl Process {
    /// Holds a program that runs, by the connection that began it; must be in a runtime.
    pub(super) fn new(
        (input, output, errors): Pipes,
        (pid, terminal): (i32, Option<Master>),
        connection: Connection,
    ) -> Self {
        let (signals, to_send) = mpsc::channel(SIGNALS);
        let (tell, ended) = watch::channel(None);
        tokio::spawn(keep(connection, to_send, tell));
        let control = ProcessControl {
            pid,
            terminal,
            signals,
            ended,
        };
        Self {
            input,
            output,
            errors,
            control,
        }
    }
}

/// Holds the connection for as long as anybody holds the program.
async fn keep(
    mut connection: Connection,
    mut signals: mpsc::Receiver<i32>,
    tell: watch::Sender<Option<ProcessEnd>>,
) {
    let unseen = ProcessEnd {
        code: 255,
        signal: None,
    };
    let end = loop {
        tokio::select! {
            reply = connection.receive() => match reply {
                Ok(Reply::Exited(Exit { code, signal, .. })) => break ProcessEnd { code, signal },
                // The answers to signals.
                Ok(Reply::Done | Reply::Refused(_)) => {}
                Ok(_) | Err(_) => break unseen,
            },
            signal = signals.recv() => match signal {
                Some(signal) => {
                    if connection.send(&Request::Signal(signal)).await.is_err() {
                        break unseen;
                    }
                }
                // Nobody holds it any more.
                None => return,
            },
        }
    };
    tell.send_replace(Some(end));
}

impl ProcessControl {
    /// Its process id in the daemon's PID namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until it has ended. May be dropped and asked again.
    pub async fn wait(&self) -> ProcessEnd {
        let mut ended = self.ended.clone();
        let found = ended.wait_for(Option::is_some).await.ok();
        found.and_then(|found| *found).unwrap_or(ProcessEnd {
            code: 255,
            signal: None,
        })
    }

    /// Sends it a signal. One that has ended needs none.
    pub async fn signal(&self, signal: i32) {
        // The receiver is gone once it has ended.
        let _ = self.signals.send(signal).await;
    }

    /// Sets the size of its terminal, if it has one.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        let size = rustix::termios::Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(terminal.descriptor(), size)?)
    }

    /// Waits until it has ended and its output had time to come.
    pub async fn lingers(&self) {
        self.wait().await;
        tokio::time::sleep(LINGER).await;
    }
}
