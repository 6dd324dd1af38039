//! A file as a tree in which every value knows where it stands. Pure.
//!
//! Scalars stay text: `0444`, `1.10` and `22:22` mean what the key that holds them says, not what YAML guesses.

use std::collections::BTreeMap;

use crate::stack::place::{Place, Trouble};

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// What it is.
    pub value: Value,
    /// How it joins what an earlier file says.
    pub mark: Mark,
}

/// How a value joins what an earlier file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mark {
    /// By the rules of its key.
    #[default]
    Merge,
    /// `!reset`: what was said is gone.
    Reset,
    /// `!override`: this stands instead.
    Override,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Nothing: `null`, `~` or an empty place.
    Null,
    /// A text.
    Text {
        /// As written, without quotes.
        text: String,
        /// It stood in quotes or was made by us: it is a text even if it looks like a number.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys with values.
    Map(Map),
}

/// Keys with values, by key.
pub type Map = BTreeMap<String, Entry>;

/// What a key leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where the key stands.
    pub at: Place,
    /// The value.
    pub node: Node,
}

impl Entry {
    /// A value that stands where its key does.
    pub fn new(node: Node) -> Self {
        Self {
            at: node.at.clone(),
            node,
        }
    }
}

impl Node {
    /// A value that joins by the rules of its key.
    pub fn new(at: &Place, value: Value) -> Self {
        Self {
            at: at.clone(),
            value,
            mark: Mark::Merge,
        }
    }

    /// A text.
    pub fn text(at: &Place, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(at, Value::Text { text, quoted: true })
    }

    /// A number, `true` or `false`.
    pub fn plain(at: &Place, text: impl ToString) -> Self {
        let text = text.to_string();
        let quoted = false;
        Self::new(at, Value::Text { text, quoted })
    }

    /// A list of texts.
    pub fn texts(at: &Place, texts: impl IntoIterator<Item = String>) -> Self {
        let texts = texts.into_iter().map(|text| Self::text(at, text));
        Self::new(at, Value::List(texts.collect()))
    }

    /// Keys with values that all stand at one place.
    pub fn map<'a>(at: &Place, entries: impl IntoIterator<Item = (&'a str, Node)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, node)| (key.to_owned(), Entry::new(node)));
        Self::new(at, Value::Map(entries.collect()))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The keys, if it has some.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key).map(|entry| &entry.node)
    }

    /// It is `null`.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// What it is, for a sentence.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Text { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// It is of the wrong kind.
    pub fn unlike(&self, path: &str, expected: &str) -> Trouble {
        let found = match self.as_text() {
            Some(text) => format!("\"{text}\""),
            None => self.kind().to_owned(),
        };
        Trouble::new(
            &self.at,
            format!("{path}: expected {expected}, found {found}"),
        )
    }
}
