//! Writes a project in one canonical form: keys in order, long forms, a text in quotes where it could be
//! taken for something else. Reading it gives the same project. Pure.

use super::load::Project;
use super::tree::{Map, Node, Value};

/// The order of what a file is made of; everything else follows by name.
const SECTIONS: [&str; 6] = [
    "name", "services", "networks", "volumes", "secrets", "configs",
];

impl Project {
    /// The project as one file.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        if let Some(map) = self.root.as_map() {
            let known = SECTIONS.iter().filter_map(|key| map.get_key_value(*key));
            let others = map
                .iter()
                .filter(|(key, _)| !SECTIONS.contains(&key.as_str()));
            for (key, entry) in known.chain(others) {
                pair(key, &entry.node, 0, &mut out);
            }
        }
        out
    }
}

fn pair(key: &str, node: &Node, depth: usize, out: &mut String) {
    out.push_str(&"  ".repeat(depth));
    out.push_str(&scalar(key, Style::Key));
    out.push(':');
    behind(node, depth, out);
}

/// The value behind a key, on its line or below.
fn behind(node: &Node, depth: usize, out: &mut String) {
    match &node.value {
        Value::Map(map) if !map.is_empty() => {
            out.push('\n');
            entries(map, depth + 1, out);
        }
        Value::List(list) if !list.is_empty() => {
            out.push('\n');
            items(list, depth + 1, out);
        }
        _ => {
            out.push(' ');
            out.push_str(&inline(node));
            out.push('\n');
        }
    }
}

fn entries(map: &Map, depth: usize, out: &mut String) {
    for (key, entry) in map {
        pair(key, &entry.node, depth, out);
    }
}

fn items(list: &[Node], depth: usize, out: &mut String) {
    for item in list {
        out.push_str(&"  ".repeat(depth));
        out.push('-');
        match &item.value {
            Value::Map(map) if !map.is_empty() => {
                let mut inner = String::new();
                entries(map, depth + 1, &mut inner);
                out.push(' ');
                out.push_str(inner.trim_start());
            }
            Value::List(inner) if !inner.is_empty() => {
                out.push('\n');
                items(inner, depth + 1, out);
            }
            _ => {
                out.push(' ');
                out.push_str(&inline(item));
                out.push('\n');
            }
        }
    }
}

fn inline(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Text { text, quoted: true } => scalar(&text.replace('$', "$$"), Style::Text),
        Value::Text { text, .. } => scalar(&text.replace('$', "$$"), Style::Plain),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Key,
    /// It must be read as a text.
    Text,
    /// It may be read as a number or `true`.
    Plain,
}

fn scalar(text: &str, style: Style) -> String {
    let ambiguous = style != Style::Plain && looks_typed(text);
    let null = matches!(text, "~" | "null" | "Null" | "NULL");
    if is_plain(text) && !ambiguous && !null {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\U{:08x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// It can stand without quotes.
fn is_plain(text: &str) -> bool {
    let inner = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, ' ' | '_' | '.' | '/' | '-' | '+' | '=' | '@' | ':' | '$')
    };
    let begins = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '$');
    text.starts_with(begins)
        && text.chars().all(inner)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
}

/// YAML would take it for something other than a text.
fn looks_typed(text: &str) -> bool {
    let words = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", ".inf", ".nan",
    ];
    let number =
        |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '-' | '+' | '_' | 'x' | 'o');
    words.contains(&text.to_ascii_lowercase().as_str())
        || (text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.chars().all(number))
}
