//! Placement constraints: what a user may demand of a node.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::node::Node;

/// One demand, or several of which one is enough.
///
/// As Docker writes them: `KEY==VALUE`, `KEY!=VALUE`. Beyond Docker: `KEY in (A, B)`, `KEY exists`, `KEY<NUMBER`,
/// `KEY>NUMBER`, and any of these joined by `||`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Constraint {
    /// What is looked at.
    pub key: Key,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with; empty for `exists`, separated by commas for `in`. `*` stands for any run of
    /// characters.
    pub value: String,
    /// A node that does not meet this may meet one of these instead.
    pub or: Vec<Constraint>,
}

/// What a constraint looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// `node.id`
    Id,
    /// `node.hostname`
    Hostname,
    /// `node.ip`
    Ip,
    /// `node.role`: `manager` or `worker`
    Role,
    /// `node.platform.os`
    Os,
    /// `node.platform.arch`
    Arch,
    /// `node.labels.NAME`
    Label(String),
    /// `engine.labels.NAME`
    EngineLabel(String),
}

/// How a constraint compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `in`: equal to one of several.
    In,
    /// `exists`: there is such a label, or such a word about the node, with any value.
    Exists,
    /// `<`: both are numbers, and the node's is less.
    Less,
    /// `>`: both are numbers, and the node's is greater.
    Greater,
}

/// Why a constraint cannot be read, with the place in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("constraint \"{text}\", at character {}: {reason}", .at + 1)]
pub struct ConstraintError {
    /// What was to be read.
    pub text: String,
    /// Index of the character that is wrong, from 0.
    pub at: usize,
    /// What is wrong and what is right.
    pub reason: String,
}

const KEYS: &str = "node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, \
                    node.labels.NAME, engine.labels.NAME";

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let mut begin = 0usize;
        let mut found: Option<Self> = None;
        for piece in text.split("||") {
            let one = read_one(piece).map_err(|(at, reason)| ConstraintError {
                text: text.to_owned(),
                at: text
                    .get(..begin.saturating_add(at))
                    .map_or(at, |before| before.chars().count()),
                reason,
            })?;
            match &mut found {
                None => found = Some(one),
                Some(first) => first.or.push(one),
            }
            begin = begin.saturating_add(piece.len()).saturating_add(2);
        }
        found.ok_or_else(|| ConstraintError {
            text: text.to_owned(),
            at: 0,
            reason: "a constraint is missing".into(),
        })
    }
}

const EXPECTED: &str = "expected ==, !=, <, >, in (A, B) or exists after the key";

/// One demand without `||`, or the byte that is wrong and why.
fn read_one(text: &str) -> Result<Constraint, (usize, String)> {
    let (at, operator, rest) = find_operator(text)?;
    let name = text.get(..at).unwrap_or_default();
    let begin = text.len().saturating_sub(rest.trim_start().len());
    let value = rest.trim();
    let key = read_key(name.trim()).ok_or_else(|| {
        let reason = format!("unknown key \"{}\"; expected one of {KEYS}", name.trim());
        (name.len().saturating_sub(name.trim_start().len()), reason)
    })?;
    let value = read_value(operator, value).map_err(|(within, reason)| {
        let end = matches!(operator, Operator::Equal | Operator::NotEqual) && value.is_empty();
        (
            if end {
                text.len()
            } else {
                begin.saturating_add(within)
            },
            reason,
        )
    })?;
    Ok(Constraint {
        key,
        operator,
        value,
        or: Vec::new(),
    })
}

/// Where the operator begins, which it is, and what stands behind it.
fn find_operator(text: &str) -> Result<(usize, Operator, &str), (usize, String)> {
    if let Some(at) = text.find(['=', '!', '<', '>']) {
        let (_, rest) = text.split_at(at);
        for (sign, operator) in [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ] {
            if let Some(value) = rest.strip_prefix(sign) {
                return Ok((at, operator, value));
            }
        }
        return Err((at, EXPECTED.into()));
    }
    let trimmed = text.trim_end();
    if let Some(name) = trimmed.strip_suffix("exists")
        && name.ends_with(char::is_whitespace)
    {
        return Ok((name.len(), Operator::Exists, ""));
    }
    match text.find('(').map(|open| text.split_at(open)) {
        Some((before, list)) => match before.trim_end().strip_suffix("in") {
            Some(name) if name.ends_with(char::is_whitespace) => {
                Ok((name.len(), Operator::In, list))
            }
            _ => Err((before.len(), EXPECTED.into())),
        },
        None => Err((text.len(), EXPECTED.into())),
    }
}

/// The value as it is kept, or the byte of it that is wrong and why.
fn read_value(operator: Operator, value: &str) -> Result<String, (usize, String)> {
    let bad = |c: char| matches!(c, '=' | '!' | '<' | '>' | '|') || c.is_control();
    if let Some(at) = value.find(bad) {
        return Err((at, "a value cannot hold this character".into()));
    }
    let missing = (0, "a value is missing".to_owned());
    match operator {
        Operator::Exists => Ok(String::new()),
        Operator::Equal | Operator::NotEqual if value.is_empty() => Err(missing),
        Operator::Equal | Operator::NotEqual => Ok(value.to_owned()),
        Operator::Less | Operator::Greater => match number(value) {
            Some(_) => Ok(value.to_owned()),
            None => Err((0, "expected a number such as 4 or 2.5".into())),
        },
        Operator::In => {
            let inner = value
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'));
            let Some(inner) = inner else {
                return Err((value.len(), "expected a list such as (A, B)".into()));
            };
            let words: Vec<&str> = inner.split(',').map(str::trim).collect();
            if words.iter().any(|word| word.is_empty()) {
                return Err(missing);
            }
            Ok(words.join(","))
        }
    }
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|it| it.is_finite())
}

fn read_key(name: &str) -> Option<Key> {
    let label = |rest: &str| {
        (!rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| rest.to_owned())
    };
    Some(match name {
        "node.id" => Key::Id,
        "node.hostname" => Key::Hostname,
        "node.ip" => Key::Ip,
        "node.role" => Key::Role,
        "node.platform.os" => Key::Os,
        "node.platform.arch" => Key::Arch,
        _ => {
            if let Some(rest) = name.strip_prefix("node.labels.") {
                Key::Label(label(rest)?)
            } else {
                Key::EngineLabel(label(name.strip_prefix("engine.labels.")?)?)
            }
        }
    })
}

/// Reads `node.labels.NAME` and its like, as they stand in constraints and in `spread=`.
impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read_key(text).ok_or_else(|| format!("unknown key \"{text}\"; expected one of {KEYS}"))
    }
}

impl Key {
    /// What a node says there; `None` where it has no such label.
    pub fn of<'a>(&self, node: &'a Node) -> Option<Cow<'a, str>> {
        let label = |labels: &'a BTreeMap<String, String>, name: &str| {
            labels.get(name).map(|it| Cow::Borrowed(it.as_str()))
        };
        match self {
            Self::Id => Some(Cow::Owned(node.id.to_string())),
            Self::Hostname => Some(Cow::Borrowed(&node.description.hostname)),
            Self::Ip => Some(Cow::Owned(node.address.to_string())),
            Self::Role => Some(Cow::Owned(node.spec.role.to_string())),
            Self::Os => Some(Cow::Borrowed(&node.description.os)),
            Self::Arch => Some(Cow::Borrowed(&node.description.arch)),
            Self::Label(name) => label(&node.spec.labels, name),
            Self::EngineLabel(name) => label(&node.description.labels, name),
        }
    }
}

impl Constraint {
    /// `KEY==VALUE`.
    pub fn equal(key: Key, value: impl Into<String>) -> Self {
        Self {
            key,
            operator: Operator::Equal,
            value: value.into(),
            or: Vec::new(),
        }
    }

    /// Whether `node` meets this. An absent label is unequal to every value; case does not count.
    pub fn met_by(&self, node: &Node) -> bool {
        self.met_alone(node) || self.or.iter().any(|other| other.met_by(node))
    }

    fn met_alone(&self, node: &Node) -> bool {
        let found = self.key.of(node);
        let equal = || {
            found
                .as_deref()
                .is_some_and(|found| like(&self.value, found))
        };
        let ordered = |order: std::cmp::Ordering| {
            let found = found.as_deref().and_then(number);
            let found = found.zip(number(&self.value));
            found.is_some_and(|(found, bound)| found.partial_cmp(&bound) == Some(order))
        };
        match self.operator {
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::In => {
                let mut words = self.value.split(',');
                found
                    .as_deref()
                    .is_some_and(|found| words.any(|word| like(word, found)))
            }
            Operator::Exists => found.is_some(),
            Operator::Less => ordered(std::cmp::Ordering::Less),
            Operator::Greater => ordered(std::cmp::Ordering::Greater),
        }
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any run of characters; case does not count.
fn like(pattern: &str, text: &str) -> bool {
    if !pattern.contains('*') && pattern.is_ascii() && text.is_ascii() {
        return pattern.eq_ignore_ascii_case(text);
    }
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(middle) = last.replace(piece) {
            let Some(at) = rest.find(middle) else {
                return false;
            };
            rest = rest.get(at + middle.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operator {
            Operator::In => write!(f, "{} in ({})", self.key, self.value.replace(',', ", "))?,
            Operator::Exists => write!(f, "{} exists", self.key)?,
            operator => write!(f, "{}{operator}{}", self.key, self.value)?,
        }
        self.or
            .iter()
            .try_for_each(|other| write!(f, " || {other}"))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::In => "in",
            Self::Exists => "exists",
            Self::Less => "<",
            Self::Greater => ">",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("node.id"),
            Self::Hostname => f.write_str("node.hostname"),
            Self::Ip => f.write_str("node.ip"),
            Self::Role => f.write_str("node.role"),
            Self::Os => f.write_str("node.platform.os"),
            Self::Arch => f.write_str("node.platform.arch"),
            Self::Label(name) => write!(f, "node.labels.{name}"),
            Self::EngineLabel(name) => write!(f, "engine.labels.{name}"),
        }
    }
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
