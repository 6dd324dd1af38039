//! Puts values in the place of variables: `$NAME`, `${NAME}` and its operators, nested. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Node, Value};
use crate::stack::place::{Place, Trouble};

/// How deep `${A:-${B:-…}}` may go.
const DEEPEST: usize = 32;

/// Names of variables that had no value and no default.
#[derive(Default, Debug)]
pub struct Missing(pub BTreeSet<String>);

/// Replaces variables in all values below `node`; keys stay as they are.
///
/// # Errors
/// Where a variable is written wrongly, or one that is required has no value.
pub fn interpolate(
    node: &mut Node,
    known: &BTreeMap<String, String>,
    missing: &mut Missing,
) -> Result<(), Trouble> {
    match &mut node.value {
        Value::Null => Ok(()),
        Value::Text { text, .. } => {
            if text.contains('$') {
                *text = substitute(text, known, missing, &node.at)?;
            }
            Ok(())
        }
        Value::List(list) => list
            .iter_mut()
            .try_for_each(|node| interpolate(node, known, missing)),
        Value::Map(map) => map
            .values_mut()
            .try_for_each(|entry| interpolate(&mut entry.node, known, missing)),
    }
}

/// `text` with values in the place of variables.
///
/// # Errors
/// Where a variable is written wrongly, or one that is required has no value.
pub fn substitute(
    text: &str,
    known: &BTreeMap<String, String>,
    missing: &mut Missing,
    at: &Place,
) -> Result<String, Trouble> {
    let mut scan = Scan {
        rest: text,
        whole: text,
        known,
        missing,
        at,
    };
    let value = scan.until_end(0)?;
    Ok(value)
}

struct Scan<'a> {
    rest: &'a str,
    whole: &'a str,
    known: &'a BTreeMap<String, String>,
    missing: &'a mut Missing,
    at: &'a Place,
}

/// What follows a name in braces.
#[derive(Clone, Copy)]
enum Operator {
    Default,
    Required,
    Alternative,
}

impl Scan<'_> {
    fn wrong(&self, reason: impl Into<String>) -> Trouble {
        let reason: String = reason.into();
        Trouble::new(
            self.at,
            format!("\"{}\": {reason}; a dollar sign itself is $$", self.whole),
        )
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    fn skip(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn name(&mut self) -> Option<String> {
        let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !self.rest.starts_with(begins) {
            return None;
        }
        let inner = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let end = self.rest.find(inner).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(name.to_owned())
    }

    /// Up to the end, or to the brace that closes what is `depth` deep.
    fn until_end(&mut self, depth: usize) -> Result<String, Trouble> {
        if depth > DEEPEST {
            return Err(self.wrong("variables are nested too deeply"));
        }
        let mut out = String::new();
        loop {
            match self.rest.chars().next() {
                None if depth == 0 => return Ok(out),
                None => return Err(self.wrong("\"${\" has no closing \"}\"")),
                Some('}') if depth > 0 => return Ok(out),
                Some('$') => {
                    self.take();
                    out.push_str(&self.variable(depth)?);
                }
                Some(c) => {
                    out.push(c);
                    self.take();
                }
            }
        }
    }

    /// What stands behind a dollar sign.
    fn variable(&mut self, depth: usize) -> Result<String, Trouble> {
        if self.skip("$").is_some() {
            return Ok("$".into());
        }
        if self.skip("{").is_some() {
            let value = self.braces(depth)?;
            self.skip("}")
                .ok_or_else(|| self.wrong("\"${\" has no closing \"}\""))?;
            return Ok(value);
        }
        let name = self
            .name()
            .ok_or_else(|| self.wrong("no variable's name stands behind \"$\""))?;
        Ok(self.value_of(&name))
    }

    fn value_of(&mut self, name: &str) -> String {
        self.known.get(name).cloned().unwrap_or_else(|| {
            self.missing.0.insert(name.to_owned());
            String::new()
        })
    }

    fn braces(&mut self, depth: usize) -> Result<String, Trouble> {
        let name = self
            .name()
            .ok_or_else(|| self.wrong("no variable's name stands behind \"${\""))?;
        if self.rest.starts_with('}') {
            return Ok(self.value_of(&name));
        }
        let counts_empty = self.skip(":").is_some();
        let operator = match self.take() {
            Some('-') => Operator::Default,
            Some('?') => Operator::Required,
            Some('+') => Operator::Alternative,
            None => return Err(self.wrong("\"${\" has no closing \"}\"")),
            _ => {
                return Err(self.wrong(format!(
                    "behind {name} there may be :- - :? ? :+ + or the closing brace"
                )));
            }
        };
        let value = self.known.get(&name).cloned();
        let value = value.filter(|value| !(counts_empty && value.is_empty()));
        // What is not needed may name variables that have no value.
        let needed = matches!(
            (operator, &value),
            (Operator::Default | Operator::Required, None) | (Operator::Alternative, Some(_))
        );
        let word = self.word(depth, needed.then_some(()))?;
        match (operator, value) {
            (Operator::Default, value) => Ok(value.unwrap_or(word)),
            (Operator::Alternative, value) => Ok(value.map_or_else(String::new, |_| word)),
            (Operator::Required, Some(value)) => Ok(value),
            (Operator::Required, None) => {
                let reason = if word.is_empty() {
                    "it must have a value"
                } else {
                    word.as_str()
                };
                Err(Trouble::new(
                    self.at,
                    format!("variable {name}: {reason}; set it in the environment or in .env"),
                ))
            }
        }
    }

    fn word(&mut self, depth: usize, needed: Option<()>) -> Result<String, Trouble> {
        if needed.is_some() {
            return self.until_end(depth + 1);
        }
        let end =
            closing_brace(self.rest).ok_or_else(|| self.wrong("\"${\" has no closing \"}\""))?;
        self.rest = self.rest.get(end..).unwrap_or_default();
        Ok(String::new())
    }
}

/// Where the brace stands that closes what was opened before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        // The second of two dollar signs opens nothing.
        before = if c == '$' && before == '$' { ' ' } else { c };
    }
    None
}
