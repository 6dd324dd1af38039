//! `--filter` of lists: which rows pass. Several values of one key are alternatives, several keys must all hold.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

/// A key of Docker's and the row's own keys that it looks at.
type Key = (&'static str, &'static [&'static str], How);

/// How a value is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// It begins with it.
    Begins,
    /// It is it, whatever the case.
    Is,
    /// It has that label: NAME, or NAME=VALUE.
    Has,
}

/// What can be filtered by, where a list's rows have it.
const KEYS: [Key; 14] = [
    ("id", &["id"], How::Begins),
    ("name", &["name"], How::Begins),
    ("label", &["engine_labels", "labels"], How::Has),
    ("node.label", &["labels"], How::Has),
    ("mode", &["mode"], How::Is),
    ("node", &["node", "node_id"], How::Is),
    ("desired-state", &["desired"], How::Is),
    ("role", &["role"], How::Is),
    ("membership", &["membership"], How::Is),
    ("driver", &["driver"], How::Is),
    ("scope", &["scope"], How::Is),
    ("service", &["service"], How::Is),
    ("status", &["state", "status"], How::Is),
    ("reference", &["name"], How::Begins),
];

/// Filters of one list: values by key.
pub type Filters = BTreeMap<String, Vec<String>>;

/// Reads `KEY=VALUE` options.
///
/// # Errors
/// Names the one that is not of that shape.
pub fn read(texts: &[String]) -> anyhow::Result<Filters> {
    let mut filters = Filters::new();
    for text in texts {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!("--filter {text}: expected KEY=VALUE, such as name=web");
        };
        filters
            .entry(key.trim().to_lowercase())
            .or_default()
            .push(value.trim().to_owned());
    }
    Ok(filters)
}

/// The rows that pass.
///
/// # Errors
/// Names a key that these rows do not have, and those they have.
pub fn pass<'a, T: Serialize>(rows: &'a [T], texts: &[String]) -> anyhow::Result<Vec<&'a T>> {
    let filters = read(texts)?;
    let mut passed = Vec::new();
    for row in rows {
        let shown = serde_json::to_value(row)?;
        let mut passes = true;
        for (key, values) in &filters {
            passes &= holds(&shown, key, values)?;
        }
        if passes {
            passed.push(row);
        }
    }
    Ok(passed)
}

fn holds(row: &Value, key: &str, values: &[String]) -> anyhow::Result<bool> {
    let has = |(_, fields, _): &&Key| fields.iter().any(|field| row.get(field).is_some());
    let Some((_, fields, how)) = KEYS.iter().filter(has).find(|(name, ..)| *name == key) else {
        let known: Vec<&str> = KEYS.iter().filter(has).map(|(name, ..)| *name).collect();
        bail!(
            "--filter {key}=…: this list is filtered by {}",
            known.join(", ")
        );
    };
    // A node has labels of its own beside the daemon's: `label` looks at the daemon's, as Docker does.
    let labels = fields.iter().find(|field| row.get(field).is_some());
    let fields: Vec<&str> = match how {
        How::Has => labels.into_iter().copied().collect(),
        _ => fields.to_vec(),
    };
    let found = fields.iter().filter_map(|field| row.get(field));
    Ok(found
        .into_iter()
        .any(|found| values.iter().any(|value| compares(found, value, *how))))
}

fn compares(found: &Value, value: &str, how: How) -> bool {
    match (how, found) {
        (How::Begins, Value::String(text)) => text.starts_with(value),
        (How::Is, Value::String(text)) => text.eq_ignore_ascii_case(value),
        (How::Has, Value::Object(labels)) => {
            let (name, wanted) = match value.split_once('=') {
                Some((name, wanted)) => (name, Some(wanted)),
                None => (value, None),
            };
            labels
                .get(name)
                .is_some_and(|has| wanted.is_none_or(|wanted| has == wanted))
        }
        _ => false,
    }
}
