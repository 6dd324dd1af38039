//! A further program in a container, with its streams on the wire.

use std::path::PathBuf;
use std::time::Duration;

use skep_proto::wire::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::Answers;
use crate::exec::runtime::{
    Container, ExecPlan, Privileges, Process, ProcessControl, Reader, RuntimeError, Streams,
    TerminalSize, Writer,
};
use crate::report::with_causes;

/// Messages that wait for a slow reader.
const AHEAD: usize = 4;
/// Bytes read from a program at a time.
const CHUNK: usize = 32 << 10;
/// For the first message to come.
const PATIENCE: Duration = Duration::from_secs(10);

type Sender = mpsc::Sender<Result<v1::ExecOutput, Status>>;

/// The start, which is the first message.
pub(super) async fn first(input: &mut Streaming<v1::ExecInput>) -> Result<v1::ExecStart, Status> {
    let message = tokio::time::timeout(PATIENCE, input.message()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("no start came"))??;
    match message.and_then(|message| message.what) {
        Some(v1::exec_input::What::Start(start)) => Ok(start),
        _ => Err(Status::invalid_argument("the first message is no start")),
    }
}

/// Runs what the start says, and sends what comes of it.
pub(super) fn begin(
    container: Container,
    start: v1::ExecStart,
    input: Streaming<v1::ExecInput>,
) -> Result<Answers<v1::ExecOutput>, Status> {
    let plan = plan(start)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        match container.exec(&plan).await {
            Ok(process) => {
                let started = v1::exec_output::What::Started(v1::ExecNothing {});
                if plan.streams == Streams::Detached {
                    tell(&sender, started).await;
                } else if tell(&sender, started).await {
                    serve(process, input, &sender).await;
                }
            }
            Err(error) => {
                let code = match &error {
                    RuntimeError::Start { code, .. } => *code,
                    _ => 125,
                };
                let reason = with_causes(&error);
                let failure = v1::ExecFailure { code, reason };
                tell(&sender, v1::exec_output::What::Failure(failure)).await;
            }
        }
    });
    Ok(Answers::new(receiver))
}

fn plan(start: v1::ExecStart) -> Result<ExecPlan, Status> {
    let streams = match (start.terminal, start.interactive, start.detach) {
        (_, _, true) => Streams::Detached,
        (Some(size), ..) => Streams::Terminal(terminal_size(&size)?),
        (None, true, _) => Streams::All,
        (None, false, _) => Streams::Output,
    };
    Ok(ExecPlan {
        args: start.args,
        env: start.env,
        cwd: start.workdir.map(PathBuf::from),
        user: start.user,
        privileges: if start.privileged {
            Privileges::All
        } else {
            Privileges::Container
        },
        streams,
    })
}

fn terminal_size(size: &v1::TerminalSize) -> Result<TerminalSize, Status> {
    let number = |number: u32| {
        u16::try_from(number).map_err(|_| Status::invalid_argument("no terminal is so large"))
    };
    Ok(TerminalSize {
        rows: number(size.rows)?,
        columns: number(size.columns)?,
    })
}

/// False if nobody listens any more.
async fn tell(sender: &Sender, what: v1::exec_output::What) -> bool {
    let output = v1::ExecOutput { what: Some(what) };
    sender.send(Ok(output)).await.is_ok()
}

/// What became of the side that asks.
enum Asked {
    /// It is gone, and the program goes with it.
    Gone,
    /// The program goes on without it.
    Detached,
}

/// Serves a program to its end. When the other side goes, it is dropped, which kills it.
async fn serve(mut process: Process, input: Streaming<v1::ExecInput>, sender: &Sender) {
    let control = process.control.clone();
    let (output, errors) = (process.output.take(), process.errors.take());
    let copies = async {
        let out = copy(output, sender, v1::exec_output::What::Output);
        let err = copy(errors, sender, v1::exec_output::What::Errors);
        tokio::join!(out, err);
    };
    tokio::pin!(copies);
    let asking = take(input, process.input.take(), control.clone());
    tokio::pin!(asking);
    let code = async {
        // What it left running may hold its pipes for ever.
        tokio::select! {
            () = &mut copies => {}
            () = control.lingers() => {}
        }
        control.wait().await.code
    };
    tokio::pin!(code);
    let detached = tokio::select! {
        code = &mut code => {
            tell(sender, v1::exec_output::What::Exit(v1::ExecExit { code })).await;
            false
        }
        asked = &mut asking => matches!(asked, Asked::Detached),
        () = sender.closed() => false,
    };
    if detached {
        // It is told that it may go: nobody waits for an end any more.
        tell(sender, v1::exec_output::What::Started(v1::ExecNothing {})).await;
        // What is written from now on is read by nobody, and stops nothing: sending fails at once.
        code.await;
    }
    drop(process);
}

async fn copy(from: Option<Reader>, sender: &Sender, what: fn(Vec<u8>) -> v1::exec_output::What) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        let bytes = chunk.get(..count).unwrap_or_default().to_vec();
        tell(sender, what(bytes)).await;
    }
}

/// Takes what the other side sends until it is gone.
async fn take(
    mut input: Streaming<v1::ExecInput>,
    mut to: Option<Writer>,
    control: ProcessControl,
) -> Asked {
    use v1::exec_input::What;
    loop {
        let message = match input.message().await {
            Ok(Some(message)) => message,
            // It has nothing more to say, and may go on listening.
            Ok(None) => {
                drop(to.take());
                return std::future::pending().await;
            }
            Err(_) => return Asked::Gone,
        };
        match message.what {
            Some(What::Bytes(bytes)) => {
                // A program that reads no more loses what is written, as in a shell.
                if let Some(pipe) = &mut to
                    && pipe.write_all(&bytes).await.is_err()
                {
                    to = None;
                }
            }
            Some(What::End(_)) => drop(to.take()),
            Some(What::Resize(size)) => {
                if let Ok(size) = terminal_size(&size) {
                    // Its terminal may have just gone.
                    let _ = control.resize(size);
                }
            }
            Some(What::Signal(signal)) => control.signal(signal).await,
            Some(What::Detach(_)) => return Asked::Detached,
            Some(What::Start(_)) | None => {}
        }
    }
}
