//! What a machine's PID 1 is asked and answers: one line of JSON each way on a socket in the lab's run
//! directory, one question per connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The socket's name in the machine's run directory.
pub(crate) const SOCKET: &str = "init.sock";
/// PID 1 does nothing that takes time; a busy machine may leave it unscheduled for a while.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest line: an error's text.
const LONGEST: u64 = 16 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    Status,
    StartDaemon,
    SignalDaemon(i32),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The daemon's pid in the machine.
    pub(crate) daemon: Option<u32>,
    /// How the last daemon ended.
    pub(crate) last_end: Option<String>,
    /// Why the question was not met.
    pub(crate) refused: Option<String>,
}

/// Asks a machine's PID 1.
pub(crate) fn ask(socket: &Path, question: &Question) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    bound(&stream)?;
    send(&mut stream, question)?;
    receive(&stream)
}

pub(crate) fn bound(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))
}

pub(crate) fn send(stream: &mut UnixStream, said: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    stream.write_all(&line)
}

pub(crate) fn receive<T: for<'a> Deserialize<'a>>(stream: &UnixStream) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
