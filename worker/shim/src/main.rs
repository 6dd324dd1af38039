//! The supervisor beside each container.
//!
//! It makes the container, keeps its output and its exit code, and answers on a socket. It outlives
//! the daemon that started it, has one thread, and decides nothing: when to start, stop and remove
//! is the daemon's business. It never restarts a container and never removes what it did not make.

mod child;
mod further;
mod join;
mod kernel;
mod launch;
mod log;
mod report;
mod serve;
mod steps;
mod streams;

use skep_shim::protocol::{self, Note, Reply, Request};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// The daemon's end of the first connection has this number.
const FIRST_CONNECTION: i32 = 3;

fn main() -> ExitCode {
    let Ok(first) = kernel::inherited(FIRST_CONNECTION) else {
        return ExitCode::from(2);
    };
    if kernel::close_from(4).is_err() || std::env::set_current_dir("/").is_err() {
        return ExitCode::from(2);
    }
    kernel::identity::set_name(c"skep-shim");
    kernel::identity::ignore_signals(child::IGNORED);
    // Its container would die with it; without CAP_SYS_RESOURCE this is refused, and no worse.
    let _ = kernel::write_file(c"/proc/self/oom_score_adj", b"-999");
    let mut first = UnixStream::from(first);
    // A daemon that died before it had asked leaves nothing to do.
    let Some(plan) = read_plan(&mut first) else {
        return ExitCode::from(3);
    };
    match launch::launch(plan) {
        Ok(container) => serve::serve(container, first),
        Err((plan, failure)) => {
            let exit = serve::never_ran(failure.clone());
            let _ = serve::leave_note(&plan.notes.ended, &Note::Ended(exit));
            let _ = std::fs::remove_file(&plan.notes.socket);
            send(&mut first, &Reply::Failed(failure));
            ExitCode::from(1)
        }
    }
}

/// Reads the one frame that a supervisor's life begins with.
fn read_plan(first: &mut UnixStream) -> Option<skep_shim::plan::LaunchPlan> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match protocol::decode::<Request>(&bytes) {
            Ok(Some((Request::Create(plan), _))) => {
                return (plan.version == skep_shim::plan::VERSION).then_some(*plan);
            }
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => {
                send(
                    first,
                    &Reply::Refused("the first request must be to create".into()),
                );
                return None;
            }
        }
        match first.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count)?),
        }
    }
}

/// Answers on a connection. A daemon that does not listen any more will find the notes.
fn send(to: &mut UnixStream, reply: &Reply) -> bool {
    let mut frame = Vec::new();
    protocol::encode(reply, &mut frame) && to.write_all(&frame).is_ok()
}
