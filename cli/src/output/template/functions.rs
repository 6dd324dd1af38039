//! The functions of templates: Go's own and those that Docker adds. Pure.

use std::cmp::Ordering;

use serde_json::Value;

use super::number;
use super::printf::printf;

/// All of them, for those who mistyped one.
const NAMES: [&str; 23] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// Whether there is such a function.
pub(super) fn known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// What to say of a function that there is not.
pub(super) fn unknown(name: &str) -> String {
    format!(
        "there is no function \"{name}\"; there are {}",
        NAMES.join(", ")
    )
}

/// What kind of value it is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Whether a value counts as true: it is not empty and not zero.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A value as Go prints it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number::show(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", shown(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// Calls a function; says what its arguments should be where they do not fit.
pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value, String> {
    match name {
        "eq" => equal_to_any(&arguments),
        "ne" => two(name, &arguments, |a, b| Ok(!equal(a, b)?)),
        "lt" => two(name, &arguments, |a, b| Ok(order(a, b)? == Ordering::Less)),
        "le" => two(name, &arguments, |a, b| {
            Ok(order(a, b)? != Ordering::Greater)
        }),
        "gt" => two(name, &arguments, |a, b| {
            Ok(order(a, b)? == Ordering::Greater)
        }),
        "ge" => two(name, &arguments, |a, b| Ok(order(a, b)? != Ordering::Less)),
        "not" => match arguments.as_slice() {
            [value] => Ok((!truth(value)).into()),
            _ => Err("not takes one argument".into()),
        },
        "len" => length(&arguments),
        "index" => index(arguments),
        "slice" => slice(&arguments),
        "print" => Ok(print(&arguments).into()),
        "println" => {
            let words: Vec<String> = arguments.iter().map(shown).collect();
            Ok(format!("{}\n", words.join(" ")).into())
        }
        "printf" => printf(&arguments),
        "json" => match arguments.as_slice() {
            [value] => Ok(value.to_string().into()),
            _ => Err("json takes one argument".into()),
        },
        "join" => join(&arguments),
        "split" => match arguments.as_slice() {
            [Value::String(text), Value::String(at)] => Ok(text.split(at.as_str()).collect()),
            _ => Err("split takes a string and where to cut it, as in split .Image \":\"".into()),
        },
        "lower" => one_text(name, &arguments, |text| text.to_lowercase()),
        "upper" => one_text(name, &arguments, |text| text.to_uppercase()),
        "title" => one_text(name, &arguments, title),
        "pad" => pad(&arguments),
        "truncate" => truncate(&arguments),
        _ => Err(unknown(name)),
    }
}

fn two(
    name: &str,
    arguments: &[Value],
    compare: impl Fn(&Value, &Value) -> Result<bool, String>,
) -> Result<Value, String> {
    match arguments {
        [one, other] => compare(one, other).map(Value::Bool),
        _ => Err(format!("{name} takes two arguments")),
    }
}

fn equal_to_any(arguments: &[Value]) -> Result<Value, String> {
    let Some((first, others)) = arguments.split_first() else {
        return Err("eq takes two arguments or more".into());
    };
    if others.is_empty() {
        return Err("eq takes two arguments or more".into());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn equal(one: &Value, other: &Value) -> Result<bool, String> {
    match (one, other) {
        (Value::Null, _) | (_, Value::Null) => Ok(one == other),
        (Value::Number(_), Value::Number(_)) => Ok(order(one, other)? == Ordering::Equal),
        _ if std::mem::discriminant(one) == std::mem::discriminant(other) => Ok(one == other),
        _ => Err(format!("cannot compare {} with {}", kind(one), kind(other))),
    }
}

fn order(one: &Value, other: &Value) -> Result<Ordering, String> {
    let refused = || format!("cannot compare {} with {}", kind(one), kind(other));
    match (one, other) {
        (Value::String(one), Value::String(other)) => Ok(one.cmp(other)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => {
                let (a, b) = (a.as_f64(), b.as_f64());
                a.partial_cmp(&b).ok_or_else(refused)
            }
        },
        _ => Err(refused()),
    }
}

fn length(arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [Value::String(text)] => Ok(text.len().into()),
        [Value::Array(items)] => Ok(items.len().into()),
        [Value::Object(fields)] => Ok(fields.len().into()),
        [Value::Null] => Ok(0.into()),
        _ => Err("len takes a string, a list or a map".into()),
    }
}

fn position(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|index| usize::try_from(index).ok())
}

fn index(arguments: Vec<Value>) -> Result<Value, String> {
    let mut arguments = arguments.into_iter();
    let mut value = arguments
        .next()
        .ok_or("index takes a list or map, and where to look in it")?;
    for key in arguments {
        value = match (&value, &key) {
            (Value::Array(items), key) => {
                let found = position(key).and_then(|at| items.get(at));
                found
                    .cloned()
                    .ok_or_else(|| format!("index {key}: the list has {} elements", items.len()))?
            }
            (Value::Object(fields), Value::String(key)) => {
                fields.get(key).cloned().unwrap_or(Value::Null)
            }
            (other, key) => {
                return Err(format!("cannot look up {} in {}", shown(key), kind(other)));
            }
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let wrong = || "slice takes a string or list, and from where to where within it".to_owned();
    let (value, bounds) = arguments.split_first().ok_or_else(wrong)?;
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        _ => return Err(wrong()),
    };
    let bound = |at: usize, default| {
        bounds
            .get(at)
            .map_or(Some(default), position)
            .ok_or_else(wrong)
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if bounds.len() > 2 {
        return Err(wrong());
    }
    let cut = match value {
        Value::String(text) => text.get(from..to).map(Value::from),
        Value::Array(items) => items.get(from..to).map(Value::from),
        _ => None,
    };
    cut.ok_or_else(|| format!("slice {from} {to}: the length is {length}"))
}

/// Spaces stand between values that are both no strings.
fn print(arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut before: Option<&Value> = None;
    for value in arguments {
        if before.is_some_and(|before| !before.is_string() && !value.is_string()) {
            text.push(' ');
        }
        text.push_str(&shown(value));
        before = Some(value);
    }
    text
}

fn join(arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [Value::Array(items), Value::String(between)] => {
            let items: Vec<String> = items.iter().map(shown).collect();
            Ok(items.join(between).into())
        }
        [Value::Null, Value::String(_)] => Ok("".into()),
        // Lists that Docker prints as one string are one element.
        [Value::String(text), Value::String(_)] => Ok(text.clone().into()),
        _ => Err("join takes a list and what stands between, as in join .Args \" \"".into()),
    }
}

fn one_text(
    name: &str,
    arguments: &[Value],
    change: impl Fn(&str) -> String,
) -> Result<Value, String> {
    match arguments {
        [Value::String(text)] => Ok(change(text).into()),
        [Value::Null] => Ok("".into()),
        [other] => Err(format!("{name} takes a string, this is {}", kind(other))),
        _ => Err(format!("{name} takes one string")),
    }
}

fn title(text: &str) -> String {
    let mut begins = true;
    let mut out = String::new();
    for c in text.chars() {
        if begins {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        begins = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn pad(arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [Value::String(text), before, after] => {
            let wrong =
                || "pad takes a string and how many spaces stand before and after".to_owned();
            let spaces = |value| {
                let count = position(value)
                    .filter(|count| *count <= 4096)
                    .ok_or_else(wrong)?;
                Ok::<_, String>(" ".repeat(count))
            };
            if text.is_empty() {
                return Ok("".into());
            }
            Ok(format!("{}{text}{}", spaces(before)?, spaces(after)?).into())
        }
        _ => Err("pad takes a string and how many spaces stand before and after".into()),
    }
}

fn truncate(arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [Value::String(text), most] => match position(most) {
            Some(most) => Ok(text.chars().take(most).collect::<String>().into()),
            None => Err("truncate takes a string and how many characters are kept".into()),
        },
        _ => Err("truncate takes a string and how many characters are kept".into()),
    }
}
