//! Turns a layer's tar stream into a directory, by a confined child.
//!
//! The daemon starts itself again with a hidden word as first argument; that child gives away its file
//! system and nearly all capabilities before it reads the first byte. The daemon only feeds it and judges
//! what it answers: it never parses a layer itself, and never uses a directory before its digest fits.

mod attributes;
mod confine;
mod extract;
mod path;
mod pax;
mod place;
mod reader;
mod stream;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

/// First argument by which the binary knows that it is to unpack and nothing else.
pub const HIDDEN_WORD: &str = "skep-unpack";

/// The most that an answer of the child may take: the list of opaque directories is in it.
const MAX_ANSWER: u64 = 16 << 20;

/// What the stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A layer: owners, modes, devices and whiteouts count.
    Layer,
    /// An archive of images: only its files and links matter, all owned by root.
    Archive,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Archive => "archive",
        }
    }
}

/// The most that one stream may make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries of the tar stream.
    pub entries: u64,
    /// Bytes of the stream once decompressed, and bytes of files written.
    pub bytes: u64,
}

impl Default for Limits {
    /// Far above any real image, far below what would fill a machine's inodes by accident.
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            bytes: 128 << 30,
        }
    }
}

/// What came of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unpacked {
    /// SHA-256 of the decompressed stream: the diff id of a layer.
    pub diff_id: [u8; 32],
    /// Bytes of the decompressed stream.
    pub bytes: u64,
    /// Entries of it.
    pub entries: u64,
    /// Directories that hide what lower layers have there, relative to the layer's root.
    pub opaque: Vec<Vec<u8>>,
    /// Directories that it has something in and does not name, relative to the layer's root.
    pub implied: Vec<Vec<u8>>,
}

/// Why the child did not unpack a stream.
#[derive(Debug, Serialize, Deserialize)]
enum Refusal {
    /// The stream is not what it should be.
    Stream(String),
    /// There is no room for it.
    Full(String),
}

type Answer = Result<Unpacked, Refusal>;

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The child could not be started, fed or asked.
    #[error("cannot {act} the unpacking child: {source}")]
    Child {
        /// What was tried.
        act: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The stream is not what it should be, or too much.
    #[error("{0}")]
    Refused(String),
    /// There is no room for it.
    #[error("{0}")]
    Full(String),
    /// The child died: a limit of its own, most likely.
    #[error("the unpacking child ended without an answer ({0}): the stream is broken or hostile")]
    Died(String),
}

/// An unpacking under way: write the stream into it, then ask for what came of it.
///
/// Dropping it ends the child; what is in the directory then is of no use.
#[derive(Debug)]
pub struct Unpacking {
    child: Child,
    refused: bool,
}

impl Unpacking {
    /// Starts to unpack into `target`, an empty directory. The stream comes from `write`.
    pub fn start(target: &Path, kind: Kind, limits: Limits) -> Result<Self, UnpackError> {
        Self::spawn(target, kind, limits, Stdio::piped())
    }

    /// Starts to unpack a file that is there whole.
    pub fn start_file(
        target: &Path,
        kind: Kind,
        limits: Limits,
        file: File,
    ) -> Result<Self, UnpackError> {
        Self::spawn(target, kind, limits, Stdio::from(file))
    }

    fn spawn(target: &Path, kind: Kind, limits: Limits, input: Stdio) -> Result<Self, UnpackError> {
        let child = Command::new("/proc/self/exe")
            .arg(HIDDEN_WORD)
            .arg(kind.word())
            .arg(limits.entries.to_string())
            .arg(limits.bytes.to_string())
            .env_clear()
            .current_dir(target)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| UnpackError::Child {
                act: "start",
                source,
            })?;
        Ok(Self {
            child,
            refused: false,
        })
    }

    /// Whether the child takes no more: `finish` says why.
    pub fn has_refused(&self) -> bool {
        self.refused
    }

    /// Ends the stream and waits for the answer.
    pub fn finish(mut self) -> Result<Unpacked, UnpackError> {
        drop(self.child.stdin.take());
        let mut answer = Vec::new();
        if let Some(output) = self.child.stdout.take() {
            output
                .take(MAX_ANSWER)
                .read_to_end(&mut answer)
                .map_err(|source| UnpackError::Child {
                    act: "hear",
                    source,
                })?;
        }
        let status = self.child.wait().map_err(|source| UnpackError::Child {
            act: "wait for",
            source,
        })?;
        match postcard::from_bytes::<Answer>(&answer) {
            Ok(Ok(unpacked)) if status.success() => Ok(unpacked),
            Ok(Err(Refusal::Stream(reason))) => Err(UnpackError::Refused(reason)),
            Ok(Err(Refusal::Full(reason))) => Err(UnpackError::Full(reason)),
            _ => Err(UnpackError::Died(status.to_string())),
        }
    }
}

impl Write for Unpacking {
    /// Bytes after the child has refused are swallowed: `finish` says why it did.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(input) = self.child.stdin.as_mut().filter(|_| !self.refused) else {
            return Ok(bytes.len());
        };
        match input.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.refused = true;
                Ok(bytes.len())
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Main of the child: `arguments` are those after the hidden word.
///
/// Reads the stream from standard input, unpacks it into the working directory and writes the answer to
/// standard output. To be called before the program starts threads or opens files.
pub fn unpack_main<A: AsRef<OsStr>>(arguments: &[A]) -> ExitCode {
    match answered(arguments) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn answered<A: AsRef<OsStr>>(arguments: &[A]) -> bool {
    let answer: Answer = unpack_child(arguments);
    let good = answer.is_ok();
    let written = postcard::to_stdvec(&answer)
        .map_err(io::Error::other)
        .and_then(|bytes| io::stdout().lock().write_all(&bytes))
        .and_then(|()| io::stdout().lock().flush());
    good && written.is_ok()
}

fn unpack_child<A: AsRef<OsStr>>(arguments: &[A]) -> Answer {
    let words: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.as_ref().to_str())
        .collect();
    let (kind, limits) = match words.as_slice() {
        ["layer", entries, bytes] => (Kind::Layer, limits(entries, bytes)?),
        ["archive", entries, bytes] => (Kind::Archive, limits(entries, bytes)?),
        _ => return Err(stream("the unpacking child was started by hand")),
    };
    let root = confine::confine(limits.bytes).map_err(stream)?;
    stream::unpack(io::stdin(), root, kind, limits).map_err(|error| match error.is_full() {
        true => Refusal::Full(error.to_string()),
        false => Refusal::Stream(error.to_string()),
    })
}

fn stream(reason: impl ToString) -> Refusal {
    Refusal::Stream(reason.to_string())
}

fn limits(entries: &str, bytes: &str) -> Result<Limits, Refusal> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| stream(format!("\"{text}\" is no limit")))
    };
    Ok(Limits {
        entries: number(entries)?,
        bytes: number(bytes)?,
    })
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
