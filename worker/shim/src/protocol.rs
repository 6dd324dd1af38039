//! Requests, replies and notes, and how they are framed.
//!
//! A frame is a length (u32, little endian, at most [`MAX_FRAME`]) and a postcard value. A daemon
//! speaks to supervisors of every earlier release, so enums get new variants at their end only and
//! a variant that has been released never changes; the tests pin the bytes. A supervisor that does
//! not know a request answers [`Reply::Refused`] and goes on.

use crate::plan::LaunchPlan;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ffi::CString;

/// The longest frame that is read: a plan with a long environment and a seccomp program.
pub const MAX_FRAME: usize = 4 << 20;

/// What the daemon asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make the container, up to the point before exec. Only on the inherited connection, once.
    Create(Box<LaunchPlan>),
    /// Run its program.
    Start,
    /// How is it?
    State,
    /// Send a signal to its first process.
    Kill(i32),
    /// Answer once it has ended.
    Wait,
    /// Run a further program in the container. With a terminal one descriptor comes along with the
    /// frame's first bytes, a socket to which the terminal's master is sent; without one three come:
    /// standard input, output and errors. One for a connection, which is told [`Reply::Started`] or
    /// [`Reply::Failed`], and [`Reply::Exited`] at the end. If the connection ends first, the program
    /// is killed with its process group, unless it is detached.
    Exec(Box<Exec>),
    /// Send a signal to the further program of this connection.
    Signal(i32),
}

/// A further program. Limits, capabilities and the system call filter are those of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Paths to try in turn for exec.
    pub candidates: Vec<CString>,
    /// Arguments, from the zeroth.
    pub args: Vec<CString>,
    /// `NAME=value`.
    pub env: Vec<CString>,
    /// Working directory, which must be there.
    pub cwd: CString,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// True for all capabilities that there are, instead of the container's.
    pub privileged: bool,
    /// Rows and columns of its terminal, if it gets one.
    pub terminal: Option<(u16, u16)>,
    /// True if it goes on without its connection.
    pub detached: bool,
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It exists and waits for [`Request::Start`]; its first process in the daemon's PID namespace.
    Created {
        /// Process id.
        pid: i32,
    },
    /// Done.
    Done,
    /// Where it stands.
    State(Stage),
    /// It has ended.
    Ended(Exit),
    /// It could not be made or its program could not be run.
    Failed(Failure),
    /// The request makes no sense now, or is not known to this release.
    Refused(String),
    /// The further program runs.
    Started {
        /// Its process id in the daemon's PID namespace.
        pid: i32,
    },
    /// The further program has ended.
    Exited(Exit),
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Waits for the start.
    Created {
        /// Process id of its first process.
        pid: i32,
    },
    /// Its program runs.
    Running {
        /// Process id of its first process.
        pid: i32,
    },
    /// It has ended.
    Ended(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The program's exit code, or 128 plus the signal that ended it.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// How many of its processes the kernel killed because its memory limit was reached.
    pub oom_kills: u64,
    /// When, in milliseconds since 1970 by the host's clock.
    pub at_ms: u64,
    /// Why the program never ran, if it did not.
    pub failure: Option<Failure>,
}

/// What could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done, such as `mount proc on /proc: open the mount point`.
    pub act: String,
    /// The kernel's reason.
    pub errno: i32,
    /// 127 if the command was not found, 126 if it cannot be executed, 125 for everything before.
    pub code: i32,
}

/// What a file below the container's directories says; each is written once and never replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// The container exists.
    Created {
        /// Its first process.
        pid: i32,
        /// The supervisor.
        supervisor: i32,
    },
    /// It has ended.
    Ended(Exit),
}

/// A frame that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Its length is above [`MAX_FRAME`]: nothing behind it can be trusted.
    TooLong(usize),
    /// Its content is of a newer release, or damaged; the next frame can be read.
    Unknown {
        /// How many bytes to skip to reach the next frame.
        length: usize,
    },
}

/// Writes a frame at the end of `to`. False if the value cannot be encoded or is too long; `to` is
/// then as before.
#[must_use]
pub fn encode<T: Serialize>(value: &T, to: &mut Vec<u8>) -> bool {
    let Ok(body) = postcard::to_stdvec(value) else {
        return false;
    };
    if body.len() > MAX_FRAME {
        return false;
    }
    let Ok(length) = u32::try_from(body.len()) else {
        return false;
    };
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&body);
    true
}

/// Reads the frame at the beginning of `from`: its value and how many bytes it took, or `None`
/// while it is not whole.
///
/// # Errors
/// [`FrameError`], which says whether the bytes behind the frame can still be read.
pub fn decode<T: DeserializeOwned>(from: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((head, rest)) = from.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    match postcard::from_bytes(body) {
        Ok(value) => Ok(Some((value, length + 4))),
        Err(_) => Err(FrameError::Unknown { length: length + 4 }),
    }
}

/// The bytes of a note's file.
#[must_use]
pub fn note_bytes(note: &Note) -> Vec<u8> {
    postcard::to_stdvec(note).unwrap_or_default()
}

/// The note in a file, or `None` if it is damaged or of a newer release.
#[must_use]
pub fn read_note(bytes: &[u8]) -> Option<Note> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
