//! Logs that are written and rotated while they are read.

use super::*;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

struct Log {
    directory: tempfile::TempDir,
    written: u32,
}

impl Log {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            written: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Appends lines, numbered through; each is a second after the one before.
    fn write(&mut self, lines: u32) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path())
            .unwrap();
        for _ in 0..lines {
            let (number, second) = (self.written, self.written % 60);
            let minute = self.written / 60;
            writeln!(
                file,
                "{{\"log\":\"{number}\\n\",\"stream\":\"stdout\",\"time\":\"2026-03-01T12:{minute:02}:{second:02}.5Z\"}}"
            )
            .unwrap();
            self.written += 1;
        }
    }

    /// As a supervisor does it.
    fn rotate(&self, files: u32) {
        let name = |number: u32| format!("{}.{number}", self.path().display());
        for number in (1..files - 1).rev() {
            let _ = fs::rename(name(number), name(number + 1));
        }
        fs::rename(self.path(), name(1)).unwrap();
    }

    fn reader(&self, range: Range) -> Reader {
        Reader::open(self.path(), range).unwrap()
    }
}

/// The numbers of what is there now.
fn drain(reader: &mut Reader) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Next::Records(records) = reader.read_on().unwrap() {
        numbers.extend(records.iter().map(|record| {
            let text = std::str::from_utf8(&record.line).unwrap();
            text.trim_end().parse::<u32>().unwrap()
        }));
    }
    numbers
}

fn at(minute: u64, second: u64) -> SystemTime {
    // 2026-03-01T12:00:00Z.
    std::time::UNIX_EPOCH + Duration::from_secs(1_772_366_400 + minute * 60 + second)
}

#[test]
fn files_are_read_from_the_oldest_on() {
    let mut log = Log::new();
    for _ in 0..3 {
        log.write(10);
        log.rotate(9);
    }
    log.write(5);
    let mut reader = log.reader(Range::default());
    assert_eq!(drain(&mut reader), (0..35).collect::<Vec<_>>());
    assert_eq!(reader.read_on().unwrap(), Next::Drained);
}

#[test]
fn a_follower_loses_nothing_and_doubles_nothing_over_rotations() {
    let mut log = Log::new();
    let mut reader = log.reader(Range::default());
    let mut seen = drain(&mut reader);
    assert!(seen.is_empty());
    let mut state = 7_u32;
    for _ in 0..200 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 28 {
            0..6 => log.write(3),
            6..11 if Path::new(&log.path()).exists() => log.rotate(9),
            _ => seen.extend(drain(&mut reader)),
        }
    }
    seen.extend(drain(&mut reader));
    assert_eq!(seen, (0..log.written).collect::<Vec<_>>());
    assert!(seen.len() > 150, "{}", seen.len());
}

#[test]
fn what_is_written_between_the_end_and_the_rotation_is_read() {
    let mut log = Log::new();
    log.write(2);
    let mut reader = log.reader(Range::default());
    assert_eq!(drain(&mut reader), [0, 1]);
    log.write(2);
    log.rotate(3);
    log.write(1);
    assert_eq!(drain(&mut reader), [2, 3, 4]);
}

#[test]
fn half_a_line_is_waited_for() {
    let log = Log::new();
    let line = "{\"log\":\"7\\n\",\"stream\":\"stderr\",\"time\":\"2026-03-01T12:00:00Z\"}\n";
    let (first, rest) = line.split_at(20);
    fs::write(log.path(), first).unwrap();
    let mut reader = log.reader(Range::default());
    assert!(drain(&mut reader).is_empty());
    let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
    file.write_all(rest.as_bytes()).unwrap();
    assert_eq!(drain(&mut reader), [7]);
}

#[test]
fn the_tail_reaches_over_files() {
    let mut log = Log::new();
    log.write(10);
    log.rotate(9);
    log.write(3);
    for tail in [0, 1, 2, 3, 4, 12, 13, 14, 1_000] {
        let range = Range {
            tail: Some(tail),
            ..Range::default()
        };
        let first = 13_u32.saturating_sub(u32::try_from(tail).unwrap());
        let expected: Vec<u32> = (first..13).collect();
        assert_eq!(drain(&mut log.reader(range)), expected, "{tail}");
    }
}

#[test]
fn times_bound_what_is_read() {
    let mut log = Log::new();
    log.write(30);
    log.rotate(9);
    log.write(70);
    let range = |since, until| Range {
        tail: None,
        since,
        until,
    };
    let from = |range: Range| drain(&mut log.reader(range));
    assert_eq!(
        from(range(Some(at(0, 20)), None)),
        (20..100).collect::<Vec<_>>()
    );
    assert_eq!(
        from(range(None, Some(at(1, 5)))),
        (0..65).collect::<Vec<_>>()
    );
    assert_eq!(from(range(Some(at(1, 0)), Some(at(1, 2)))), [60, 61]);
    let mut reader = log.reader(range(None, Some(at(0, 5))));
    assert_eq!(drain(&mut reader), (0..5).collect::<Vec<_>>());
    assert_eq!(reader.read_on().unwrap(), Next::Over);
}

#[test]
fn what_is_no_line_of_a_log_is_passed_over() {
    let mut log = Log::new();
    fs::write(log.path(), "{\"log\":\"cut\nnot json\n{}\n").unwrap();
    log.write(1);
    assert_eq!(drain(&mut log.reader(Range::default())), [0]);
}

#[test]
fn a_follower_is_woken() {
    let mut log = Log::new();
    let mut reader = log.reader(Range::default());
    reader.wait().unwrap();
    log.write(1);
    reader.wait().unwrap();
    assert_eq!(drain(&mut reader), [0]);
}
