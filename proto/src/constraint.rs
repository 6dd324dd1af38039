//! Placement constraints: what a user may demand of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::node::Node;

/// `KEY == VALUE` or `KEY != VALUE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Constraint {
    /// What is looked at.
    pub key: Key,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with. `*` stands for any run of characters.
    pub value: String,
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
        let wrong = |at: usize, reason: String| ConstraintError {
            text: text.to_owned(),
            at: text.get(..at).map_or(at, |before| before.chars().count()),
            reason,
        };
        let at = text
            .find(['=', '!'])
            .ok_or_else(|| wrong(text.len(), "expected == or != after the key".into()))?;
        let (name, rest) = text.split_at(at);
        let operator = match rest.get(..2) {
            Some("==") => Operator::Equal,
            Some("!=") => Operator::NotEqual,
            _ => return Err(wrong(at, "expected == or !=".into())),
        };
        let value = rest.get(2..).unwrap_or_default();
        let begin = at + 2 + (value.len() - value.trim_start().len());
        let value = value.trim();
        let key = read_key(name.trim()).ok_or_else(|| {
            wrong(
                name.len() - name.trim_start().len(),
                format!("unknown key \"{}\"; expected one of {KEYS}", name.trim()),
            )
        })?;
        if value.is_empty() {
            return Err(wrong(text.len(), "a value is missing".into()));
        }
        if let Some(bad) = value.find(|c: char| c == '=' || c == '!' || c.is_control()) {
            return Err(wrong(
                begin + bad,
                "a value cannot hold this character".into(),
            ));
        }
        Ok(Self {
            key,
            operator,
            value: value.to_owned(),
        })
    }
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

impl Constraint {
    /// Whether `node` meets this. An absent label is unequal to every value; case does not count.
    pub fn met_by(&self, node: &Node) -> bool {
        let equal = self
            .found_in(node)
            .is_some_and(|found| like(&self.value, &found));
        match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
        }
    }

    fn found_in(&self, node: &Node) -> Option<String> {
        let label = |labels: &BTreeMap<String, String>, name: &str| labels.get(name).cloned();
        match &self.key {
            Key::Id => Some(node.id.to_string()),
            Key::Hostname => Some(node.description.hostname.clone()),
            Key::Ip => Some(node.address.to_string()),
            Key::Role => Some(node.spec.role.to_string()),
            Key::Os => Some(node.description.os.clone()),
            Key::Arch => Some(node.description.arch.clone()),
            Key::Label(name) => label(&node.spec.labels, name),
            Key::EngineLabel(name) => label(&node.description.labels, name),
        }
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any run of characters; case does not count.
fn like(pattern: &str, text: &str) -> bool {
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
        write!(f, "{}{}{}", self.key, self.operator, self.value)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
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
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "node.role==manager",
            "node.labels.disk!=ssd",
            "engine.labels.os==deb*",
        ] {
            assert_eq!(text.parse::<Constraint>().unwrap().to_string(), text);
        }
        let spaced: Constraint = " node.hostname == node-1 ".parse().unwrap();
        assert_eq!(spaced.to_string(), "node.hostname==node-1");
    }

    #[test]
    fn an_error_names_the_place() {
        for (text, at) in [
            ("node.role", 9),
            ("node.role=manager", 9),
            ("node.rolle==manager", 0),
            ("node.role==", 11),
            ("node.labels.==x", 0),
            ("node.id==a==b", 10),
        ] {
            assert_eq!(text.parse::<Constraint>().unwrap_err().at, at, "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, equal) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("A*C", "abc", true),
            ("a*b*d", "abc", false),
            ("abc", "abcd", false),
            ("*", "", true),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(like(pattern, text), equal, "{pattern} {text}");
        }
    }
}
