//! What a template finds in a row: Docker's field names, made from a table's headings and the row's own keys.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Column, Width};

/// A heading or key as a field: `DESIRED STATE` and `desired_state` are `DesiredState`, `ID` stays.
pub fn name(heading: &str) -> String {
    let words = heading
        .split([' ', '_', '-'])
        .filter(|word| !word.is_empty());
    words.map(word).collect()
}

fn word(word: &str) -> String {
    let lower = word.to_lowercase();
    if matches!(
        lower.as_str(),
        "id" | "cpu" | "pid" | "tls" | "io" | "vip" | "vni"
    ) {
        return lower.to_uppercase();
    }
    let mut letters = lower.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// The fields of `row`: what its columns show, and its own keys where no column has that name.
pub fn of<T: Serialize>(row: &T, columns: &[Column<T>], width: Width) -> serde_json::Result<Value> {
    let mut fields = Map::new();
    if let Value::Object(own) = serde_json::to_value(row)? {
        fields.extend(own.into_iter().map(|(key, value)| (name(&key), value)));
    }
    for (heading, cell) in columns {
        fields.insert(name(heading), cell(row, width).into());
    }
    Ok(Value::Object(fields))
}

/// The fields of a row that shows nothing: its columns alone.
pub fn of_columns<T>(columns: &[Column<T>]) -> Value {
    let fields = columns
        .iter()
        .map(|(heading, _)| (name(heading), Value::Null));
    Value::Object(fields.collect())
}

/// An object in Docker's structure, and its own keys as fields where Docker has none of that name. An object
/// without such a structure has its own keys alone.
pub fn with<T: Serialize>(docker: &Value, object: &T) -> serde_json::Result<Value> {
    let Value::Object(mut fields) = of(object, &[], Width::Whole)? else {
        return Ok(docker.clone());
    };
    if let Value::Object(docker) = docker {
        fields.extend(docker.clone());
    }
    Ok(Value::Object(fields))
}

/// Each field's heading, for the first line of a table.
pub fn headings<T>(fields: &Value, columns: &[Column<T>]) -> Value {
    let Value::Object(fields) = fields else {
        return Value::Null;
    };
    let headings = fields.keys().map(|field| {
        let column = columns.iter().find(|(heading, _)| name(heading) == *field);
        let heading = column.map_or_else(|| spaced(field), |(heading, _)| (*heading).to_owned());
        (field.clone(), Value::from(heading))
    });
    Value::Object(headings.collect())
}

/// `EngineLabels` is headed `ENGINE LABELS`.
fn spaced(field: &str) -> String {
    let mut out = String::new();
    let mut before = 'A';
    for c in field.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        out.extend(c.to_uppercase());
        before = c;
    }
    out
}
