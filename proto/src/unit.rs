//! Reads single values as Docker's users write them: durations, sizes, cores, signals. Pure.

use std::time::Duration;

/// Signals by number, from 1, as Linux counts them on all architectures that skep runs on.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Reads a duration such as `1m30s`, `500ms` or `1.5h`.
///
/// # Errors
/// Says what is not understood.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration such as 500ms, 10s or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
        rest = next;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

/// Writes a duration as [`duration`] reads it: `1m30s`.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let parts = [
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1000 % 60, "s"),
        (millis % 1000, "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() { "0s".into() } else { text }
}

/// Reads a size such as `64m` or `1.5g`: units are powers of 1024.
///
/// # Errors
/// Says what is not understood.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size such as 512k, 64m or 1g");
    let lower = text.to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    scaled(number, 1 << shift).ok_or_else(wrong)
}

/// Reads a number of cores such as `0.5`, as billionths.
///
/// # Errors
/// Says what is not understood.
pub fn cpus(text: &str) -> Result<u64, String> {
    scaled(text, 1_000_000_000)
        .ok_or_else(|| format!("\"{text}\" is not a number of cores such as 0.5"))
}

/// Reads a share from 0 to 1 such as `0.25`, as millionths.
///
/// # Errors
/// Says what is not understood.
pub fn share(text: &str) -> Result<u32, String> {
    scaled(text, 1_000_000)
        .and_then(|millionths| u32::try_from(millionths).ok())
        .filter(|millionths| *millionths <= 1_000_000)
        .ok_or_else(|| format!("\"{text}\" is not a share from 0 to 1 such as 0.25"))
}

/// `text`, a decimal fraction, times `factor`; exact, rounded down.
fn scaled(text: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = fraction.get(..fraction.len().min(9)).unwrap_or_default();
    let numerator: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u64::try_from(numerator * u128::from(factor) / divisor).ok()?;
    whole.checked_mul(factor)?.checked_add(part)
}

/// Reads a signal by name (`SIGTERM`, `TERM`) or number.
///
/// # Errors
/// Says what is not understood.
pub fn signal(text: &str) -> Result<i32, String> {
    let wrong = || format!("\"{text}\" is not a signal such as SIGTERM, INT or 15");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(wrong())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let at = SIGNALS.iter().position(|known| *known == name);
    at.and_then(|at| i32::try_from(at + 1).ok())
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_duration_reads_back() {
        for (millis, text) in [
            (0, "0s"),
            (90_000, "1m30s"),
            (3_600_500, "1h500ms"),
            (7, "7ms"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(duration_text(duration), text);
            assert_eq!(super::duration(text), Ok(duration));
        }
    }

    #[test]
    fn a_share_lies_between_nothing_and_all() {
        assert_eq!(share("0.25"), Ok(250_000));
        assert_eq!(share("1"), Ok(1_000_000));
        assert!(share("1.1").is_err() && share("-1").is_err() && share("x").is_err());
    }

    #[test]
    fn signals_are_numbered_as_linux_does() {
        for (text, number) in [("SIGHUP", 1), ("KILL", 9), ("term", 15), ("SYS", 31)] {
            assert_eq!(signal(text), Ok(number));
        }
        assert!(signal("SIGSIG").is_err() && signal("0").is_err());
    }
}
