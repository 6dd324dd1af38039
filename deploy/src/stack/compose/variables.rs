//! Reads files of variables, as `.env` and `env_file` are. Pure.
//!
//! A line is `NAME=VALUE`, with an optional `export` before it. A value in single quotes stands as it is; in
//! double quotes it may have escapes; in double quotes or none it may name variables. `#` begins a comment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interpolate::{Missing, substitute};
use crate::stack::place::{Place, Trouble};

/// Reads variables from `text`. A name without a value takes it from `known`, and is left out where there is none.
///
/// # Errors
/// Names file, line and what is wrong there.
pub fn parse_variables(
    file: &str,
    text: &str,
    known: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, Trouble> {
    let file: Arc<str> = file.into();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut names = known.clone();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let at = Place {
            file: file.clone(),
            line: number + 1,
            column: 1,
        };
        let line = line.trim_start_matches('\u{feff}').trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, rest) = split(line);
        if !good_name(name) {
            return Err(Trouble::new(
                &at,
                format!("\"{name}\" is not the name of a variable; write NAME=VALUE"),
            ));
        }
        let value = match rest {
            None => known.get(name).cloned(),
            Some(rest) => Some(value(
                rest,
                || lines.next().map(|(_, line)| line.to_owned()),
                &names,
                &at,
            )?),
        };
        if let Some(value) = value {
            names
                .entry(name.to_owned())
                .or_insert_with(|| value.clone());
            found.push((name.to_owned(), value));
        }
    }
    Ok(found)
}

/// Reads lines that stand as they are: `NAME=VALUE`, nothing is quoted and nothing replaced.
///
/// # Errors
/// Names file, line and what is wrong there.
pub fn parse_raw(file: &str, text: &str) -> Result<Vec<(String, String)>, Trouble> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if !good_name(name.trim()) {
            let at = Place {
                file: file.into(),
                line: number + 1,
                column: 1,
            };
            return Err(Trouble::new(
                &at,
                format!("\"{name}\" is not the name of a variable; write NAME=VALUE"),
            ));
        }
        found.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(found)
}

fn split(line: &str) -> (&str, Option<&str>) {
    match line.find(['=', ':']) {
        Some(at) => {
            let (name, rest) = line.split_at(at);
            (name.trim_end(), Some(rest.get(1..).unwrap_or_default()))
        }
        None => (line.trim_end(), None),
    }
}

fn good_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn value(
    rest: &str,
    mut more: impl FnMut() -> Option<String>,
    known: &BTreeMap<String, String>,
    at: &Place,
) -> Result<String, Trouble> {
    let trimmed = rest.trim_start();
    let Some(quote @ ('"' | '\'')) = trimmed.chars().next() else {
        return substitute(plain(rest), known, &mut Missing::default(), at);
    };
    let mut text = trimmed.get(1..).unwrap_or_default().to_owned();
    let end = loop {
        if let Some(end) = closing(&text, quote) {
            break end;
        }
        let Some(next) = more() else {
            return Err(Trouble::new(
                at,
                format!("a value begins with {quote} and never ends"),
            ));
        };
        text.push('\n');
        text.push_str(&next);
    };
    let behind = text.get(end + 1..).unwrap_or_default().trim();
    if !behind.is_empty() && !behind.starts_with('#') {
        return Err(Trouble::new(
            at,
            format!("\"{behind}\" stands behind the closing {quote}"),
        ));
    }
    let inner = text.get(..end).unwrap_or_default();
    if quote == '\'' {
        return Ok(inner.to_owned());
    }
    substitute(&unescape(inner), known, &mut Missing::default(), at)
}

/// A value without quotes ends at ` #` or the line's end.
fn plain(rest: &str) -> &str {
    if rest.trim_start().starts_with('#') && rest.starts_with(char::is_whitespace) {
        return "";
    }
    let end = rest.find(" #").or_else(|| rest.find("\t#"));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest).trim()
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Escapes of a value in double quotes; `\$` is a dollar sign that names nothing.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\' | '\'')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}
