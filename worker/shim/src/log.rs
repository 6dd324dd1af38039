//! The container's output as lines of JSON, in files of bounded size and number.
//!
//! A full or broken disk never stops the container: what cannot be written is dropped. A line
//! longer than [`LINE_LIMIT`] is kept in pieces, of which only the last ends in a newline.

use memchr::memchr;
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

/// An open log; without bounds it keeps nothing.
pub struct Log {
    open: Option<Open>,
    output: Vec<u8>,
    errors: Vec<u8>,
    /// Kept, so that its memory is.
    lines: Vec<u8>,
}

/// The file that is written.
struct Open {
    bounds: plan::Log,
    file: File,
    written: u64,
}

impl Log {
    /// Opens the log, going on where it ends.
    pub fn open(bounds: Option<&plan::Log>) -> io::Result<Self> {
        let open = bounds.map(Open::new).transpose()?;
        Ok(Self {
            open,
            output: Vec::new(),
            errors: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Takes what was read from a pipe now.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(open) = &mut self.open else { return };
        let end = line_end(stream, since_epoch());
        let pending = match stream {
            Stream::Output => &mut self.output,
            Stream::Errors => &mut self.errors,
        };
        self.lines.clear();
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (piece, after) = rest.split_at(length);
            rest = after;
            for part in piece.chunks(LINE_LIMIT) {
                if pending.len() + part.len() > LINE_LIMIT {
                    push_line(&mut self.lines, pending, &end);
                    pending.clear();
                }
                if !part.ends_with(b"\n") {
                    pending.extend_from_slice(part);
                } else if pending.is_empty() {
                    push_line(&mut self.lines, part, &end);
                } else {
                    pending.extend_from_slice(part);
                    push_line(&mut self.lines, pending, &end);
                    pending.clear();
                }
            }
        }
        open.write(&self.lines);
    }

    /// Writes what is left of lines that never ended.
    pub fn finish(&mut self) {
        let Some(open) = &mut self.open else { return };
        let rests = [
            (Stream::Output, &mut self.output),
            (Stream::Errors, &mut self.errors),
        ];
        for (stream, rest) in rests {
            if !rest.is_empty() {
                self.lines.clear();
                push_line(&mut self.lines, rest, &line_end(stream, since_epoch()));
                rest.clear();
                open.write(&self.lines);
            }
        }
    }
}

impl Open {
    fn new(bounds: &plan::Log) -> io::Result<Self> {
        let file = open(&bounds.path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            bounds: bounds.clone(),
            file,
            written,
        })
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

/// What follows the text in each line that is read at the same time.
fn line_end(stream: Stream, at: Duration) -> Vec<u8> {
    let name = match stream {
        Stream::Output => "stdout",
        Stream::Errors => "stderr",
    };
    let time = rfc3339(at);
    format!("\",\"stream\":\"{name}\",\"time\":\"{time}\"}}\n").into_bytes()
}

fn push_line(to: &mut Vec<u8>, line: &[u8], end: &[u8]) {
    to.extend_from_slice(b"{\"log\":\"");
    match std::str::from_utf8(line) {
        Ok(text) => push_text(to, text.as_bytes()),
        Err(_) => push_text(to, String::from_utf8_lossy(line).as_bytes()),
    }
    to.extend_from_slice(end);
}

/// Writes a text as JSON has it. Nearly all of it is copied as it is, in runs.
fn push_text(to: &mut Vec<u8>, mut text: &[u8]) {
    while !text.is_empty() {
        let (plain, rest) = text.split_at(plain(text));
        to.extend_from_slice(plain);
        let Some((special, rest)) = rest.split_first() else {
            return;
        };
        match special {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            other => to.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        text = rest;
    }
}

/// How many bytes at the beginning mean themselves in JSON; looked at eight at a time.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let is = |word: u64, byte: u8| has_zero(word ^ (ONES * u64::from(byte)));
    let control = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let (words, _) = text.as_chunks::<8>();
    let clean = words.iter().take_while(|bytes| {
        let word = u64::from_le_bytes(**bytes);
        control(word) | is(word, b'"') | is(word, b'\\') == 0
    });
    let skipped = clean.count() * 8;
    let rest = text.get(skipped..).unwrap_or_default();
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    skipped + rest.iter().position(special).unwrap_or(rest.len())
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
