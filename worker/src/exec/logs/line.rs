//! One line of a log, in Docker's json-file format. Pure.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which pipe a record came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output, or a terminal.
    Output,
    /// Standard errors.
    Errors,
}

/// A line, or a piece of a long one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it was read from the pipe.
    pub at: SystemTime,
    /// From which.
    pub stream: Stream,
    /// With its end; a piece that is not the last has none.
    pub line: Vec<u8>,
}

#[derive(serde::Deserialize)]
struct Written<'w> {
    #[serde(borrow)]
    log: Cow<'w, str>,
    #[serde(borrow)]
    stream: Cow<'w, str>,
    #[serde(borrow)]
    time: Cow<'w, str>,
}

/// Reads a line; `None` if it is none of a log.
pub fn parse(line: &[u8]) -> Option<Record> {
    let written: Written<'_> = serde_json::from_slice(line).ok()?;
    Some(Record {
        at: moment(&written.time)?,
        stream: match &*written.stream {
            "stdout" => Stream::Output,
            "stderr" => Stream::Errors,
            _ => return None,
        },
        line: written.log.into_owned().into_bytes(),
    })
}

/// A time such as `2026-03-01T12:00:00.000000001Z`, with up to nine digits behind the point.
fn moment(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (date, time) = whole.split_once('T')?;
    let three = |text: &str, by: char| -> Option<[i64; 3]> {
        let mut parts = text.split(by).map(|part| part.parse().ok());
        let all = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(all)
    };
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    // Years begin in March, so that a leap day ends one; eras have 400 years.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).ok()?;
    let digits = fraction.get(..fraction.len().min(9))?;
    let mut nanos = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    for _ in digits.len()..9 {
        nanos *= 10;
    }
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}
