//! The container's output as lines of JSON, in files of bounded size and number.
//!
//! A full or broken disk never stops the container: what cannot be written is dropped. A line
//! longer than [`LINE_LIMIT`] is kept in pieces, of which only the last ends in a newline.

use skep_shim::plan;
use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a line that are kept together.
const LINE_LIMIT: usize = 16 << 10;

/// Which pipe it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Output,
    Errors,
}

/// An open log.
pub struct Log {
    bounds: plan::Log,
    file: File,
    written: u64,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Log {
    /// Opens the log, going on where it ends.
    pub fn open(bounds: &plan::Log) -> io::Result<Self> {
        let file = open(&bounds.path)?;
        let written = file.metadata()?.len();
        let bounds = bounds.clone();
        Ok(Self {
            bounds,
            file,
            written,
            output: Vec::new(),
            errors: Vec::new(),
        })
    }

    /// Takes what was read from a pipe now.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let now = since_epoch();
        let mut pending = std::mem::take(self.pending(stream));
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_LIMIT) {
                if pending.len() + part.len() > LINE_LIMIT {
                    push_line(&mut lines, &pending, stream, now);
                    pending.clear();
                }
                pending.extend_from_slice(part);
                if pending.ends_with(b"\n") {
                    push_line(&mut lines, &pending, stream, now);
                    pending.clear();
                }
            }
        }
        *self.pending(stream) = pending;
        self.write(&lines);
    }

    /// Writes what is left of lines that never ended.
    pub fn finish(&mut self) {
        let mut lines = Vec::new();
        for stream in [Stream::Output, Stream::Errors] {
            let rest = std::mem::take(self.pending(stream));
            if !rest.is_empty() {
                push_line(&mut lines, &rest, stream, since_epoch());
            }
        }
        self.write(&lines);
    }

    fn pending(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Output => &mut self.output,
            Stream::Errors => &mut self.errors,
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if length == 0 {
            return;
        }
        if self.written > 0 && self.written.saturating_add(length) > self.bounds.max_bytes {
            self.rotate();
        }
        if self.file.write_all(lines).is_ok() {
            self.written = self.written.saturating_add(length);
        }
    }

    /// Begins a new file. If that fails, the present one goes on: too long is better than lost.
    fn rotate(&mut self) {
        let path = &self.bounds.path;
        let oldest = self.bounds.max_files.saturating_sub(1);
        for number in (1..oldest).rev() {
            let _ = rename(format!("{path}.{number}"), format!("{path}.{}", number + 1));
        }
        let moved = if oldest == 0 {
            std::fs::remove_file(path)
        } else {
            rename(path, format!("{path}.1"))
        };
        if let (Ok(()), Ok(file)) = (moved, open(path)) {
            self.file = file;
            self.written = 0;
        }
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Time since 1970 by the host's clock.
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn push_line(to: &mut Vec<u8>, line: &[u8], stream: Stream, at: Duration) {
    let name = if stream == Stream::Output {
        "stdout"
    } else {
        "stderr"
    };
    to.extend_from_slice(b"{\"log\":\"");
    for character in String::from_utf8_lossy(line).chars() {
        match character {
            '"' => to.extend_from_slice(b"\\\""),
            '\\' => to.extend_from_slice(b"\\\\"),
            '\n' => to.extend_from_slice(b"\\n"),
            '\r' => to.extend_from_slice(b"\\r"),
            '\t' => to.extend_from_slice(b"\\t"),
            control if u32::from(control) < 0x20 => {
                to.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            other => to.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    to.extend_from_slice(format!("\",\"stream\":\"{name}\",\"time\":\"").as_bytes());
    to.extend_from_slice(rfc3339(at).as_bytes());
    to.extend_from_slice(b"\"}\n");
}

/// A time such as `2026-03-01T12:00:00.000000001Z`.
fn rfc3339(at: Duration) -> String {
    let seconds = at.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years, so that a leap day ends a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60,
        at.subsec_nanos()
    )
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
