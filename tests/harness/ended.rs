//! A command that has to end: what it printed, or when it was given up.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No command of a test takes longer, not beside many others: `service update` alone waits for an update's end.
const LONGEST: Duration = Duration::from_secs(180);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(2);

/// What a command ended with.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error output.
    pub err: String,
}

/// Runs a command without input to its end.
///
/// # Errors
/// What it printed, when it did not end within three minutes; then it is killed.
///
/// # Panics
/// When it cannot be started.
pub fn ended(command: &mut Command) -> Result<Ended, Ended> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a command starts");
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // Each is read to its end on a thread of its own: a full pipe would hold the command.
    let (code, out, err) = thread::scope(|scope| {
        let (out, err) = (scope.spawn(|| read(out)), scope.spawn(|| read(err)));
        let code = code_in_time(&mut child);
        if code.is_none() {
            drop(child.kill());
            drop(child.wait());
        }
        let out = out.join().expect("a reader does not panic");
        let err = err.join().expect("a reader does not panic");
        (code, out, err)
    });
    let ended = Ended {
        code: code.unwrap_or(-1),
        out,
        err,
    };
    match code {
        Some(_) => Ok(ended),
        None => Err(ended),
    }
}

fn code_in_time(child: &mut Child) -> Option<i32> {
    let begin = Instant::now();
    while begin.elapsed() < LONGEST {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status.code().unwrap_or(-1));
        }
        thread::park_timeout(LOOK);
    }
    None
}

fn read(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        drop(stream.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
