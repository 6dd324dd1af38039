//! Reads how much of a log, from when, and which keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many lines at the end of a log; none for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail(pub Option<u64>);

/// Bytes that a terminal sends for a sequence of keys; none where there is to be no such sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys(pub Vec<u8>);

/// Reads a number of lines, or `all`.
///
/// # Errors
/// Says what is not understood.
pub fn tail(text: &str) -> Result<Tail, String> {
    if text == "all" {
        return Ok(Tail(None));
    }
    let number = text.parse();
    let number = number.map_err(|_| format!("\"{text}\" is neither a number of lines nor all"))?;
    Ok(Tail(Some(number)))
}

/// Reads a moment, in nanoseconds since 1970: a time of RFC 3339, seconds since 1970, or a duration ago.
///
/// # Errors
/// Says what is not understood.
pub fn moment(text: &str) -> Result<u64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    moment_at(text, now.unwrap_or_default())
}

fn moment_at(text: &str, now: Duration) -> Result<u64, String> {
    let nanos = |since: Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && let Ok(seconds) = text.parse::<f64>()
        && let Ok(since) = Duration::try_from_secs_f64(seconds)
    {
        return Ok(nanos(since));
    }
    if let Ok(ago) = super::duration(text) {
        return Ok(nanos(now.saturating_sub(ago)));
    }
    let stamp: Result<jiff::Timestamp, _> = text.parse();
    let stamp = stamp.map_err(|_| {
        format!(
            "\"{text}\" is not a time such as 2026-03-01T12:00:00Z, seconds since 1970, or a duration such \
             as 42m for \"42 minutes ago\""
        )
    })?;
    u64::try_from(stamp.as_nanosecond()).map_err(|_| format!("\"{text}\" is before 1970"))
}

/// Reads keys such as `ctrl-p,ctrl-q` or `a,ctrl-[`.
///
/// # Errors
/// Says what is not understood.
pub fn keys(text: &str) -> Result<Keys, String> {
    let key = |word: &str| -> Option<u8> {
        let mut bytes = word.strip_prefix("ctrl-").unwrap_or(word).bytes();
        let (byte, rest) = (bytes.next()?, bytes.next());
        match (word.starts_with("ctrl-"), byte, rest) {
            (false, b'!'..=b'~', None) => Some(byte),
            (true, b'a'..=b'z' | b'@'..=b'_', None) => Some(byte & 0x1f),
            _ => None,
        }
    };
    if text.is_empty() {
        return Ok(Keys(Vec::new()));
    }
    let all: Option<Vec<u8>> = text.split(',').map(key).collect();
    let all = all.ok_or_else(|| format!("\"{text}\" are no keys such as ctrl-p,ctrl-q or a,b"))?;
    Ok(Keys(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_seconds_or_durations_ago() {
        let check = |text: &str, expected: u64| {
            let found = moment_at(text, Duration::from_secs(10_000));
            assert_eq!(found, Ok(expected * 1_000_000_000), "{text}");
        };
        check("10s", 9_990);
        check("1h", 6_400);
        check("77", 77);
        check("1970-01-01T00:01:17Z", 77);
        check("1970-01-01T01:01:17+01:00", 77);
        assert!(moment("yesterday").unwrap_err().contains("yesterday"));
        assert!(moment("1960-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn keys_are_what_a_terminal_sends() {
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(Keys(vec![16, 17])));
        assert_eq!(keys("a,ctrl-["), Ok(Keys(vec![b'a', 27])));
        assert_eq!(keys(""), Ok(Keys(Vec::new())));
        assert!(keys("ctrl-").is_err() && keys("ab").is_err() && keys("a,,b").is_err());
    }

    #[test]
    fn tails_are_numbers_or_all() {
        assert_eq!(tail("all"), Ok(Tail(None)));
        assert_eq!(tail("0"), Ok(Tail(Some(0))));
        assert!(tail("-1").is_err());
    }
}
