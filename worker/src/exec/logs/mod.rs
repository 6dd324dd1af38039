//! Reads the logs that supervisors write: lines of JSON, in files that are rotated while they are read.
//!
//! It blocks, so it belongs on a thread of its own. It never writes, and it needs no supervisor: a log can be
//! read as long as its files are there.

mod files;
mod line;
#[cfg(test)]
mod tests;
mod wake;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use files::{Numbered, after, snapshot, tail_of};
pub use line::{Record, Stream};
use wake::Wake;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;
/// Bytes of one line of JSON; what is longer is no line of ours.
const LONGEST: usize = 1 << 20;
/// How long a follower waits before it looks by itself whether anybody still wants to know.
const LOOK: Duration = Duration::from_millis(500);

/// Which records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// Only so many at the end; none for all.
    pub tail: Option<u64>,
    /// None before this.
    pub since: Option<SystemTime>,
    /// None after this.
    pub until: Option<SystemTime>,
}

/// What a reader says at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Records in their order.
    Records(Vec<Record>),
    /// There is no more now.
    Drained,
    /// There will be nothing in the range any more.
    Over,
}

/// Reads one log from its oldest to its newest file, and on.
pub struct Reader {
    path: PathBuf,
    range: Range,
    /// What is being read.
    file: Option<Numbered>,
    /// What comes after it, as far as it was there at the last look.
    newer: VecDeque<Numbered>,
    /// Bytes of a line whose end has not been read.
    unfinished: Vec<u8>,
    chunk: Vec<u8>,
    wake: Option<Wake>,
    over: bool,
}

impl Reader {
    /// Opens the log whose newest file is at `path`. One that has no file yet is empty.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(path: PathBuf, range: Range) -> io::Result<Self> {
        let mut files = snapshot(&path)?;
        if let Some(tail) = range.tail {
            files = tail_of(files, tail)?;
        }
        if let Some(since) = range.since {
            // What was last written before is passed over unread; the newest file may be written any time.
            while files.len() > 1
                && files
                    .front()
                    .is_some_and(|oldest| oldest.ends_before(since))
            {
                files.pop_front();
            }
        }
        Ok(Self {
            path,
            range,
            file: files.pop_front(),
            newer: files,
            unfinished: Vec::new(),
            chunk: vec![0; CHUNK],
            wake: None,
            over: false,
        })
    }

    /// Reads on.
    ///
    /// # Errors
    /// Of the file system.
    pub fn read_on(&mut self) -> io::Result<Next> {
        loop {
            if self.over {
                return Ok(Next::Over);
            }
            let records = self.read_once()?;
            if let Some(records) = records {
                if !records.is_empty() {
                    return Ok(Next::Records(records));
                }
                continue;
            }
            if !self.advance()? {
                let passed = self
                    .range
                    .until
                    .is_some_and(|until| SystemTime::now() > until);
                self.over |= passed;
                return Ok(if self.over { Next::Over } else { Next::Drained });
            }
        }
    }

    /// Waits until something may have been written, half a second at most.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn wait(&mut self) -> io::Result<()> {
        match &mut self.wake {
            Some(wake) => wake.wait(LOOK),
            // What was written before the first watch would be missed: the caller reads once more first.
            None => {
                let directory = self.path.parent().unwrap_or(&self.path);
                self.wake = Some(Wake::new(directory)?);
                Ok(())
            }
        }
    }

    /// Reads once from the present file; `None` at its present end.
    fn read_once(&mut self) -> io::Result<Option<Vec<Record>>> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let count = file.file.read(&mut self.chunk)?;
        if count == 0 {
            return Ok(None);
        }
        let bytes = self.chunk.get(..count).unwrap_or_default();
        let mut records = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                if self.unfinished.len() > LONGEST {
                    self.unfinished.clear();
                }
                continue;
            }
            // A line that a crash of the machine cut is passed over.
            let record = line::parse(&self.unfinished);
            self.unfinished.clear();
            let Some(record) = record else { continue };
            if self.range.until.is_some_and(|until| record.at > until) {
                self.over = true;
                break;
            }
            if self.range.since.is_none_or(|since| record.at >= since) {
                records.push(record);
            }
        }
        Ok(Some(records))
    }

    /// Goes on to the next file; false if there is none.
    fn advance(&mut self) -> io::Result<bool> {
        if self.newer.is_empty() {
            let Some(present) = &self.file else {
                self.newer = snapshot(&self.path)?;
                self.file = self.newer.pop_front();
                return Ok(self.file.is_some());
            };
            let newer = after(present, snapshot(&self.path)?);
            if newer.is_empty() {
                return Ok(false);
            }
            self.newer = newer;
            // It may have been written to between its end and its rotation: once more, and for good.
            if self.has_more()? {
                return Ok(true);
            }
        }
        self.file = self.newer.pop_front();
        self.unfinished.clear();
        Ok(self.file.is_some())
    }

    fn has_more(&mut self) -> io::Result<bool> {
        let Some(present) = &mut self.file else {
            return Ok(false);
        };
        let at = present.file.stream_position()?;
        Ok(present.file.metadata()?.len() > at)
    }
}

/// Puts a file's position.
fn seek(file: &mut File, at: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(at)).map(|_| ())
}
