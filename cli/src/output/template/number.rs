//! Numbers as Go writes them. Pure.

use serde_json::{Number, Value};

/// A whole number (decimal, 0x, 0o, 0b, with underscores) or a fraction.
pub(super) fn read(text: &str) -> Option<Value> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let based = [("0x", 16), ("0o", 8), ("0b", 2)];
    let based = based
        .into_iter()
        .find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, base)));
    if let Some((digits, base)) = based {
        let whole = i64::from_str_radix(digits, base).ok()?;
        return Some(Value::from(if negative { -whole } else { whole }));
    }
    if let Ok(whole) = plain.parse::<i64>() {
        return Some(whole.into());
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let fraction = plain.parse::<f64>().ok()?;
    Number::from_f64(fraction).map(Value::Number)
}

/// A number as Go prints it: whole ones without a point, large fractions with an exponent.
pub(super) fn show(number: &Number) -> String {
    let Some(fraction) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let size = fraction.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{fraction:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{fraction}")
}
