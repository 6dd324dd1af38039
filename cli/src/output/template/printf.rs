//! `printf`, as Go's users know it. Pure.

use serde_json::Value;

use super::functions::{kind, shown};

/// `%s %v %q %d %t %x %X %c %f %e %g %%` with `-`, `0`, `+`, a width and a precision.
pub(super) fn printf(arguments: &[Value]) -> Result<Value, String> {
    let Some((Value::String(pattern), values)) = arguments.split_first() else {
        return Err("printf takes a pattern such as \"%s\" first".into());
    };
    let mut values = values.iter();
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut shape = Shape::default();
        while let Some(flag) = rest.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#')) {
            shape.flags.push(flag);
        }
        let digits = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut text = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                text.push(digit);
            }
            text.parse::<usize>().ok().map(|number| number.min(4096))
        };
        shape.width = digits(&mut rest).unwrap_or(0);
        if rest.next_if_eq(&'.').is_some() {
            shape.precision = Some(digits(&mut rest).unwrap_or(0));
        }
        match rest.next() {
            Some('%') => out.push('%'),
            Some(verb) => {
                let value = values
                    .next()
                    .ok_or_else(|| format!("printf: %{verb} has no argument"))?;
                out.push_str(&shape.fill(verb, value)?);
            }
            None => return Err("printf: the pattern ends with %".into()),
        }
    }
    match values.next() {
        Some(_) => Err("printf: there are more arguments than the pattern takes".into()),
        None => Ok(out.into()),
    }
}

/// How a value of a pattern is to look.
#[derive(Default)]
struct Shape {
    flags: String,
    width: usize,
    precision: Option<usize>,
}

impl Shape {
    fn fill(&self, verb: char, value: &Value) -> Result<String, String> {
        let wrong = || format!("printf: %{verb} does not take {}", kind(value));
        let text = match verb {
            'v' => shown(value),
            's' => {
                let text = shown(value);
                match self.precision {
                    Some(most) => text.chars().take(most).collect(),
                    None => text,
                }
            }
            'q' => Value::from(shown(value)).to_string(),
            't' => value.as_bool().ok_or_else(wrong)?.to_string(),
            'd' => value.as_i64().ok_or_else(wrong)?.to_string(),
            'c' => {
                let code = value.as_u64().and_then(|code| u32::try_from(code).ok());
                code.and_then(char::from_u32).ok_or_else(wrong)?.to_string()
            }
            'x' | 'X' => {
                let text = match value {
                    Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                    other => format!("{:x}", other.as_i64().ok_or_else(wrong)?),
                };
                if verb == 'X' {
                    text.to_uppercase()
                } else {
                    text
                }
            }
            'f' | 'F' => format!(
                "{:.*}",
                self.precision.unwrap_or(6),
                value.as_f64().ok_or_else(wrong)?
            ),
            'e' => format!(
                "{:.*e}",
                self.precision.unwrap_or(6),
                value.as_f64().ok_or_else(wrong)?
            ),
            'g' => shown(&value.as_f64().ok_or_else(wrong)?.into()),
            _ => {
                return Err(format!(
                    "printf: %{verb} is not one of %s %v %q %d %t %x %c %f %e %g %%"
                ));
            }
        };
        Ok(self.widen(text, value))
    }

    fn widen(&self, text: String, value: &Value) -> String {
        // Signs and zeros are for numbers.
        let numeric = value.is_number();
        let text = if self.flags.contains('+') && numeric && !text.starts_with('-') {
            format!("+{text}")
        } else {
            text
        };
        let missing = self.width.saturating_sub(text.chars().count());
        if self.flags.contains('-') {
            return format!("{text}{}", " ".repeat(missing));
        }
        if self.flags.contains('0') && numeric {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => (&text[..1], digits),
                None => ("", text.as_str()),
            };
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        format!("{}{text}", " ".repeat(missing))
    }
}
