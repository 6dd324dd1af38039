//! What a log file holds after a container has written.

use super::*;
use std::path::PathBuf;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skep-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn bounds(&self, max_bytes: u64, max_files: u32) -> plan::Log {
        let path = self.0.join("log").to_string_lossy().into_owned();
        plan::Log {
            path,
            max_bytes,
            max_files,
        }
    }

    /// The texts of a file's lines, with their streams.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(file)).unwrap();
        text.lines()
            .map(|line| line.split("\",\"time").next().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn lines_are_whole_whatever_the_reads() {
    let place = Place::new("whole");
    let mut log = Log::open(Some(&place.bounds(1 << 20, 1))).unwrap();
    log.take(Stream::Output, b"one\ntw");
    log.take(Stream::Errors, b"bad \"\x01\\\t\xff\n");
    log.take(Stream::Output, b"o\nthree");
    log.finish();
    let expected = [
        r#"{"log":"one\n","stream":"stdout"#,
        "{\"log\":\"bad \\\"\\u0001\\\\\\t\u{fffd}\\n\",\"stream\":\"stderr",
        r#"{"log":"two\n","stream":"stdout"#,
        r#"{"log":"three","stream":"stdout"#,
    ];
    assert_eq!(place.lines("log"), expected);
}

#[test]
fn special_bytes_are_found_wherever_they_stand() {
    for special in [b'"', b'\\', b'\n', 0, 0x1f] {
        for length in 1..40 {
            for at in 0..length {
                let mut text = "aé~ \u{7f}z".repeat(8).into_bytes();
                text.truncate(length);
                text[at] = special;
                let before = text.iter().position(|byte| *byte == special);
                assert_eq!(plain(&text), before.unwrap(), "{text:?}");
            }
        }
    }
    assert_eq!(plain("aé~ \u{7f}z".repeat(8).as_bytes()), 7 * 8);
}

#[test]
fn without_bounds_nothing_is_kept() {
    let mut log = Log::open(None).unwrap();
    log.take(Stream::Output, b"one\ntw");
    log.finish();
    assert!(log.output.is_empty());
}

#[test]
fn endless_line_is_kept_in_pieces() {
    let place = Place::new("endless");
    let mut log = Log::open(Some(&place.bounds(1 << 20, 1))).unwrap();
    let long = vec![b'x'; LINE_LIMIT * 2 + 5];
    log.take(Stream::Output, &long);
    log.take(Stream::Output, b"\n");
    let lengths: Vec<_> = place
        .lines("log")
        .iter()
        .map(|line| line.matches('x').count())
        .collect();
    assert_eq!(lengths, [LINE_LIMIT, LINE_LIMIT, 5]);
}

#[test]
fn files_are_bounded_in_size_and_number() {
    let place = Place::new("bounded");
    let mut log = Log::open(Some(&place.bounds(200, 3))).unwrap();
    for number in 0..20 {
        log.take(Stream::Output, format!("line {number}\n").as_bytes());
    }
    assert!(!place.0.join("log.3").exists());
    for file in ["log", "log.1", "log.2"] {
        assert!(std::fs::metadata(place.0.join(file)).unwrap().len() <= 200);
    }
    assert_eq!(
        place.lines("log").last().unwrap(),
        r#"{"log":"line 19\n","stream":"stdout"#
    );
}

#[test]
fn dates_are_those_of_the_calendar() {
    let check = |seconds, expected: &str| {
        assert_eq!(
            rfc3339(Duration::new(seconds, 7)),
            format!("{expected}.000000007Z")
        );
    };
    check(0, "1970-01-01T00:00:00");
    check(951_827_696, "2000-02-29T12:34:56");
    check(1_735_689_599, "2024-12-31T23:59:59");
    check(4_107_542_400, "2100-03-01T00:00:00");
}
