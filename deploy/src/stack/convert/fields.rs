//! Reads typed values out of a map; whatever is wrong is named by path, file, line and column. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use skep_proto::unit;

use crate::stack::compose::tree::{Map, Node, Value};
use crate::stack::place::{Place, Trouble, nearest};

/// A map and the path that leads to it.
#[derive(Clone)]
pub struct Fields<'a> {
    map: &'a Map,
    at: &'a Place,
    path: String,
}

impl<'a> Fields<'a> {
    /// The map at `path`.
    pub fn new(node: &'a Node, path: impl Into<String>) -> Result<Self, Trouble> {
        let path = path.into();
        let map = node.as_map().ok_or_else(|| node.unlike(&path, "a map"))?;
        let at = &node.at;
        Ok(Self { map, at, path })
    }

    /// Where the map stands.
    pub fn place(&self) -> &'a Place {
        self.at
    }

    /// The map itself is wrong.
    pub fn wrong(&self, reason: impl std::fmt::Display) -> Trouble {
        Trouble::new(self.at, format!("{}: {reason}", self.path))
    }

    /// The value of a key is wrong.
    pub fn wrong_at(&self, key: &str, reason: impl std::fmt::Display) -> Trouble {
        let at = self.map.get(key).map_or(self.at, |entry| &entry.node.at);
        Trouble::new(at, format!("{}: {reason}", self.path_of(key)))
    }

    /// A value, if the key is there.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.map.get(key).map(|entry| &entry.node)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.path)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Trouble> {
        let Some(node) = self.get(key) else {
            return Ok(None);
        };
        let text = node.as_text();
        text.map(Some)
            .ok_or_else(|| node.unlike(&self.path_of(key), "a text"))
    }

    /// A text of our own.
    pub fn owned(&self, key: &str) -> Result<Option<String>, Trouble> {
        Ok(self.text(key)?.map(str::to_owned))
    }

    /// A text that must be there.
    pub fn needed(&self, key: &str) -> Result<&'a str, Trouble> {
        self.text(key)?
            .ok_or_else(|| self.wrong(format!("{key} is missing")))
    }

    /// `true` or `false`; absent is `false`.
    pub fn flag(&self, key: &str) -> Result<bool, Trouble> {
        let Some(text) = self.text(key)? else {
            return Ok(false);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(self.wrong_at(key, format!("\"{text}\" is neither true nor false"))),
        }
    }

    /// A value that `read` understands.
    pub fn read<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Trouble> {
        let text = self.text(key)?;
        let value = text.map(read).transpose();
        value.map_err(|reason| self.wrong_at(key, reason))
    }

    /// A whole number.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, Trouble> {
        self.read(key, |text| {
            let number = text.parse();
            number.map_err(|_| format!("\"{text}\" is not a whole number that fits here"))
        })
    }

    /// A duration in Docker's units.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Trouble> {
        self.read(key, unit::duration)
    }

    /// A size in Docker's units.
    pub fn bytes(&self, key: &str) -> Result<Option<u64>, Trouble> {
        self.read(key, unit::bytes)
    }

    /// A number of cores.
    pub fn cpus(&self, key: &str) -> Result<Option<u64>, Trouble> {
        self.read(key, unit::cpus)
    }

    /// Permission bits: octal with or without a leading zero, as Docker's users write them.
    pub fn mode(&self, key: &str) -> Result<Option<u32>, Trouble> {
        self.read(key, |text| {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let bits = u32::from_str_radix(digits, 8).ok();
            bits.filter(|bits| *bits <= 0o7777)
                .ok_or_else(|| format!("\"{text}\" is not a file mode such as 0444"))
        })
    }

    /// One of several words.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Trouble> {
        self.read(key, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let near = nearest(text, all.iter().copied());
                format!("\"{text}\" is none of {}{near}", all.join(", "))
            })
        })
    }

    /// A list of texts with their places; absent is empty.
    pub fn texts(&self, key: &str) -> Result<Vec<(&'a str, &'a Place)>, Trouble> {
        let Some(node) = self.get(key) else {
            return Ok(Vec::new());
        };
        let path = self.path_of(key);
        let list = node
            .as_list()
            .ok_or_else(|| node.unlike(&path, "a list of texts"))?;
        list.iter()
            .map(|item| match item.as_text() {
                Some(text) => Ok((text, &item.at)),
                None => Err(item.unlike(&path, "a text")),
            })
            .collect()
    }

    /// A list of texts of our own.
    pub fn words(&self, key: &str) -> Result<Vec<String>, Trouble> {
        let texts = self.texts(key)?.into_iter();
        Ok(texts.map(|(text, _)| text.to_owned()).collect())
    }

    /// A list of values that `read` understands.
    pub fn each<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Trouble> {
        let texts = self.texts(key)?.into_iter();
        texts
            .map(|(text, at)| {
                read(text)
                    .map_err(|reason| Trouble::new(at, format!("{}: {reason}", self.path_of(key))))
            })
            .collect()
    }

    /// A map of texts; a key without a value has an empty one.
    pub fn table(&self, key: &str) -> Result<BTreeMap<String, String>, Trouble> {
        let Some(fields) = self.below(key)? else {
            return Ok(BTreeMap::new());
        };
        let entries = fields.map.iter().map(|(name, entry)| {
            let value = match &entry.node.value {
                Value::Text { text, .. } => text.clone(),
                Value::Null => String::new(),
                _ => return Err(fields.wrong_at(name, "expected a text")),
            };
            Ok((name.clone(), value))
        });
        entries.collect()
    }

    /// The map of a key.
    pub fn below(&self, key: &str) -> Result<Option<Fields<'a>>, Trouble> {
        let node = self.get(key);
        node.map(|node| Fields::new(node, self.path_of(key)))
            .transpose()
    }

    /// A list of maps; absent is empty.
    pub fn items(&self, key: &str) -> Result<Vec<Fields<'a>>, Trouble> {
        let Some(node) = self.get(key) else {
            return Ok(Vec::new());
        };
        let path = self.path_of(key);
        let list = node.as_list().ok_or_else(|| node.unlike(&path, "a list"))?;
        list.iter()
            .map(|item| Fields::new(item, path.clone()))
            .collect()
    }

    /// Maps by name; absent is empty.
    pub fn named(&self, key: &str) -> Result<Vec<(&'a str, Fields<'a>)>, Trouble> {
        let Some(fields) = self.below(key)? else {
            return Ok(Vec::new());
        };
        let path = fields.path;
        let entries = fields.map.iter().map(|(name, entry)| {
            let below = Fields::new(&entry.node, format!("{path}.{name}"))?;
            Ok((name.as_str(), below))
        });
        entries.collect()
    }
}
