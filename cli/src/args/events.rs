//! `skep events`.

use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use skep_proto::time::WallTime;

use super::{Format, read};

/// Which events to show.
#[derive(Args, Debug, Clone)]
pub struct EventsArgs {
    /// From then on: a time, how long ago (10m), or rev:N for all after that revision [default: now].
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Up to then, and end; the same forms [default: for ever].
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only what fits: type=service, event=update, service=web, node=, task=, network=, image=, label=, scope=, by=.
    /// One key given twice: either; several keys: all.
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// `json` for a line of JSON each, or a template such as `{{.Type}} {{.Action}} {{.Actor.ID}}`.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
}

/// A point in a cluster's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// By the wall clock.
    Wall(WallTime),
    /// After an event: its revision, and its position there where that is named.
    Revision(u64, Option<u32>),
}

/// Reads a time (RFC 3339, or without a zone in the local one), seconds since 1970, how long ago it was, or a
/// revision.
///
/// # Errors
/// Says what is expected.
pub fn moment(text: &str) -> Result<Moment, String> {
    let wrong = || {
        format!(
            "\"{text}\" is no moment: expected a time such as 2026-01-31T12:00:00Z, seconds since 1970, how long \
             ago such as 10m, or rev:N"
        )
    };
    if let Some(revision) = text.strip_prefix("rev:") {
        let (revision, position) = match revision.split_once('.') {
            Some((revision, position)) => (revision, Some(position.parse().map_err(|_| wrong())?)),
            None => (revision, None),
        };
        return Ok(Moment::Revision(
            revision.parse().map_err(|_| wrong())?,
            position,
        ));
    }
    let millis = if let Ok(at) = text.parse::<Timestamp>() {
        at.as_millisecond()
    } else if let Some(millis) = seconds(text) {
        millis
    } else if let Ok(ago) = read::duration(text) {
        let ago = i64::try_from(ago.as_millis()).map_err(|_| wrong())?;
        Timestamp::now().as_millisecond().saturating_sub(ago)
    } else {
        let local = text.parse::<DateTime>().map_err(|_| wrong())?;
        let zoned = local.to_zoned(TimeZone::system()).map_err(|_| wrong())?;
        zoned.timestamp().as_millisecond()
    };
    let millis = u64::try_from(millis).map_err(|_| wrong())?;
    Ok(Moment::Wall(WallTime::from_unix_millis(millis)))
}

/// Seconds since 1970, with a fraction or without, in milliseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let millis: i64 = thousandths.parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(millis: u64) -> Result<Moment, String> {
        Ok(Moment::Wall(WallTime::from_unix_millis(millis)))
    }

    #[test]
    fn a_moment_is_read_in_every_form() {
        assert_eq!(moment("rev:17"), Ok(Moment::Revision(17, None)));
        assert_eq!(moment("rev:17.3"), Ok(Moment::Revision(17, Some(3))));
        assert_eq!(moment("1970-01-01T00:00:02Z"), wall(2000));
        assert_eq!(moment("1970-01-01T01:00:02+01:00"), wall(2000));
        assert_eq!(moment("2"), wall(2000));
        assert_eq!(moment("2.5"), wall(2500));
        assert!(matches!(moment("10m"), Ok(Moment::Wall(_))));
        assert!(matches!(moment("2026-01-31T12:00:00"), Ok(Moment::Wall(_))));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "yesterday", "rev:", "rev:x", "rev:1.", "-5", "12:00"] {
            let error = moment(text).expect_err(text);
            assert!(error.contains("rev:N"), "{error}");
        }
    }
}
