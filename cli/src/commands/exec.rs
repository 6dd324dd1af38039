//! `skep task exec` and `skep container exec`: a program elsewhere, as if it ran here.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use skep_proto::wire::v1;
use skep_proto::wire::v1::exec_input::What as In;
use skep_proto::wire::v1::exec_output::What as Out;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::client::{Client, said};
use crate::args::streams::ExecArgs;
use crate::output;
use crate::terminal::{self, Raw};

/// Messages that wait to be sent.
const AHEAD: usize = 4;

/// Where the container is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the whole cluster.
    Cluster,
    /// On this node.
    Node,
}

/// Runs it and gives its exit code.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, args: ExecArgs, place: Place) -> anyhow::Result<ExitCode> {
    let (detach_keys, interactive) = (args.detach_keys.0.clone(), args.interactive);
    let (detach, tty) = (args.detach, args.tty);
    if tty && interactive && !io::stdin().is_terminal() {
        anyhow::bail!("the standard input is no terminal; leave --tty (-t) out");
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    // There is room: nothing was sent before.
    let _ = sender.try_send(message(In::Start(start(args))));
    let input = ReceiverStream::new(receiver);
    let begun = match place {
        Place::Cluster => client.streams.clone().exec(input).await,
        Place::Node => client.containers.clone().exec(input).await,
    };
    let begun = begun.map(Response::into_inner);
    let mut outputs = begun.map_err(|status| said(&status))?;
    match outputs.message().await {
        Ok(Some(v1::ExecOutput {
            what: Some(Out::Started(_)),
        })) => {}
        Ok(Some(v1::ExecOutput {
            what: Some(Out::Failure(failure)),
        })) => {
            output::notice(&format!("Error: {}", failure.reason));
            return Ok(code(failure.code));
        }
        Ok(_) => anyhow::bail!("the daemon gave an answer that is not understood"),
        Err(status) => return Err(said(&status)),
    }
    if detach {
        return Ok(ExitCode::SUCCESS);
    }
    // Dropped on every way out of here, which gives the terminal back.
    let _raw = (tty && interactive).then(Raw::begin).transpose()?;
    let session = Session {
        sender,
        keys: if tty {
            Matcher::new(detach_keys)
        } else {
            Matcher::new(Vec::new())
        },
        tty,
    };
    session.run(outputs, interactive).await
}

fn start(args: ExecArgs) -> v1::ExecStart {
    let (rows, columns) = terminal::size();
    let size = v1::TerminalSize {
        rows: rows.into(),
        columns: columns.into(),
    };
    let env = args.env.into_iter().filter_map(|entry| {
        if entry.contains('=') {
            return Some(entry);
        }
        // As Docker does: a bare name takes the value from here, and is left out where there is none.
        let value = std::env::var(&entry).ok()?;
        Some(format!("{entry}={value}"))
    });
    v1::ExecStart {
        reference: args.object,
        args: args.command,
        env: env.collect(),
        workdir: args.workdir,
        user: args.user,
        privileged: args.privileged,
        interactive: args.interactive,
        terminal: args.tty.then_some(size),
        detach: args.detach,
    }
}

fn message(what: In) -> v1::ExecInput {
    v1::ExecInput { what: Some(what) }
}

fn code(number: i32) -> ExitCode {
    ExitCode::from(u8::try_from(number).unwrap_or(255))
}

/// A program that runs, seen from here.
struct Session {
    sender: mpsc::Sender<v1::ExecInput>,
    keys: Matcher,
    tty: bool,
}

/// The signals that mean something while it runs.
struct Signals {
    resized: Signal,
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Session {
    async fn run(
        mut self,
        mut outputs: Streaming<v1::ExecOutput>,
        interactive: bool,
    ) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::new().context("cannot wait for signals")?;
        let mut typed = interactive.then(terminal::input);
        if !interactive {
            self.send(In::End(v1::ExecNothing {})).await;
        }
        loop {
            tokio::select! {
                output = outputs.message() => {
                    if let Some(ended) = shown(output)? {
                        return Ok(ended);
                    }
                }
                bytes = next(&mut typed) => match bytes {
                    Some(bytes) => {
                        let (bytes, detached) = self.keys.pass(&bytes);
                        if !bytes.is_empty() {
                            self.send(In::Bytes(bytes)).await;
                        }
                        if detached {
                            return self.detach(outputs).await;
                        }
                    }
                    None => {
                        typed = None;
                        self.send(In::End(v1::ExecNothing {})).await;
                    }
                },
                _ = signals.resized.recv(), if self.tty => {
                    let (rows, columns) = terminal::size();
                    let (rows, columns) = (rows.into(), columns.into());
                    self.send(In::Resize(v1::TerminalSize { rows, columns })).await;
                }
                // On a raw terminal they are typed and arrive as bytes.
                _ = signals.interrupt.recv() => self.send(In::Signal(2)).await,
                _ = signals.terminate.recv() => self.send(In::Signal(15)).await,
                _ = signals.quit.recv() => self.send(In::Signal(3)).await,
                // With its terminal its user is gone.
                _ = signals.hangup.recv() => return Ok(code(129)),
            }
        }
    }

    /// The other side has ended, if this fails; then its output says how.
    async fn send(&self, what: In) {
        drop(self.sender.send(message(what)).await);
    }

    /// Lets the program go on by itself; its node says once more that it runs when it knows.
    async fn detach(&self, mut outputs: Streaming<v1::ExecOutput>) -> anyhow::Result<ExitCode> {
        self.send(In::Detach(v1::ExecNothing {})).await;
        let known = |output: &v1::ExecOutput| matches!(output.what, Some(Out::Started(_)));
        while let Ok(Some(output)) = outputs.message().await {
            if known(&output) {
                break;
            }
        }
        output::notice("\r\ndetached: the program goes on");
        Ok(ExitCode::SUCCESS)
    }
}

/// What was typed; never, once it has ended.
async fn next(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

/// Shows what the program wrote; its exit code if it has ended.
fn shown(output: Result<Option<v1::ExecOutput>, Status>) -> anyhow::Result<Option<ExitCode>> {
    let write = |mut to: Box<dyn Write>, bytes: &[u8]| {
        match to.write_all(bytes).and_then(|()| to.flush()) {
            // Who reads no more still wants the exit code.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    };
    let output = output.map_err(|status| said(&status))?;
    let output = output.context("the connection to the daemon ended before the program did")?;
    match output.what {
        Some(Out::Output(bytes)) => write(Box::new(io::stdout().lock()), &bytes)?,
        Some(Out::Errors(bytes)) => write(Box::new(io::stderr().lock()), &bytes)?,
        Some(Out::Exit(exit)) => return Ok(Some(code(exit.code))),
        Some(Out::Failure(failure)) => anyhow::bail!(failure.reason),
        Some(Out::Started(_)) | None => {}
    }
    Ok(None)
}

/// Finds the keys for letting go among what is typed.
struct Matcher {
    keys: Vec<u8>,
    /// How many of them were typed and held back.
    matched: usize,
}

impl Matcher {
    fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What is to be passed on of it, and whether all keys have come.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend(self.keys.get(..self.matched).unwrap_or_default());
            self.matched = usize::from(self.keys.first() == Some(byte));
            if self.matched == 0 {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_let_go_are_found_over_several_reads_and_others_pass() {
        let mut keys = Matcher::new(vec![16, 17]);
        assert_eq!(keys.pass(b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(keys.pass(&[16]), (Vec::new(), false));
        assert_eq!(keys.pass(b"x"), (vec![16, b'x'], false));
        assert_eq!(keys.pass(&[16, 16]), (vec![16], false));
        assert_eq!(keys.pass(&[17, b'y']), (Vec::new(), true));
        let mut none = Matcher::new(Vec::new());
        assert_eq!(none.pass(&[16, 17]), (vec![16, 17], false));
    }
}
