//! Long forms of keys that may be a text, a list or a map. Pure.

use super::Base;
use crate::stack::compose::tree::{Entry, Map, Node, Value};
use crate::stack::place::Trouble;

/// A command: a text is split as a shell would.
pub fn words(node: Node, path: &str) -> Result<Node, Trouble> {
    let Some(text) = node.as_text() else {
        return texts(node, path);
    };
    let words = shlex::split(text).ok_or_else(|| {
        Trouble::new(
            &node.at,
            format!("{path}: \"{text}\" has a quote that never ends"),
        )
    })?;
    Ok(Node::texts(&node.at, words))
}

/// A text or a list of texts.
pub fn texts(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let list = match node.value {
        Value::Text { text, .. } => vec![Node::text(&at, text)],
        Value::List(list) => list
            .into_iter()
            .map(|item| match item.value {
                Value::Text { text, .. } => Ok(Node::text(&item.at, text)),
                _ => Err(item.unlike(path, "a text")),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(node.unlike(path, "a text or a list of texts")),
    };
    Ok(Node::new(&at, Value::List(list)))
}

/// As [`variables`]; a name alone has an empty value.
pub fn table(node: Node, path: &str) -> Result<Node, Trouble> {
    let mut node = variables(node, path)?;
    if let Value::Map(map) = &mut node.value {
        for entry in map.values_mut().filter(|entry| entry.node.is_null()) {
            let (text, quoted) = (String::new(), true);
            entry.node.value = Value::Text { text, quoted };
        }
    }
    Ok(node)
}

/// `NAME=VALUE` texts or a map, as a map of texts. A name alone has no value.
pub fn variables(node: Node, path: &str) -> Result<Node, Trouble> {
    let mut map = Map::new();
    match node.value {
        Value::Map(entries) => {
            for (key, mut entry) in entries {
                entry.node.value = match entry.node.value {
                    Value::Text { text, .. } => Value::Text { text, quoted: true },
                    Value::Null => Value::Null,
                    _ => {
                        return Err(entry
                            .node
                            .unlike(&format!("{path}.{key}"), "a text, a number or nothing"));
                    }
                };
                map.insert(key, entry);
            }
        }
        Value::List(list) => {
            for item in list {
                let Some(text) = item.as_text() else {
                    return Err(item.unlike(path, "NAME=VALUE"));
                };
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Node::text(&item.at, value)),
                    None => (text, Node::new(&item.at, Value::Null)),
                };
                if name.is_empty() {
                    return Err(item.unlike(path, "NAME=VALUE"));
                }
                map.insert(name.to_owned(), Entry::new(value));
            }
        }
        _ => return Err(node.unlike(path, "a map or a list of NAME=VALUE")),
    }
    Ok(Node::new(&node.at, Value::Map(map)))
}

fn items(node: Node, path: &str) -> Result<Vec<Node>, Trouble> {
    match node.value {
        Value::List(list) => Ok(list),
        _ => Err(node.unlike(path, "a list")),
    }
}

/// Files of variables, with absolute paths.
pub fn env_files(node: Node, path: &str, base: &Base) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let list = match node.value {
        Value::List(list) => list,
        _ => vec![node],
    };
    let mut out = Vec::new();
    for item in list {
        let (file, required, format) = match &item.value {
            Value::Text { text, .. } => (text.clone(), None, None),
            Value::Map(_) => {
                let file = item.get("path").and_then(Node::as_text);
                let file = file.ok_or_else(|| item.unlike(path, "a path"))?.to_owned();
                (
                    file,
                    item.get("required").cloned(),
                    item.get("format").cloned(),
                )
            }
            _ => return Err(item.unlike(path, "a path")),
        };
        let mut entries = vec![("path", Node::text(&item.at, base.absolute(&file)))];
        entries.extend(required.map(|required| ("required", required)));
        entries.extend(format.map(|format| ("format", format)));
        out.push(Node::map(&item.at, entries));
    }
    Ok(Node::new(&at, Value::List(out)))
}

/// Where a service takes what it does not say itself.
pub fn extends(node: Node, path: &str, base: &Base) -> Result<Node, Trouble> {
    let at = node.at.clone();
    if let Some(service) = node.as_text() {
        let service = Node::text(&at, service);
        return Ok(Node::map(&at, [("service", service)]));
    }
    let Some(service) = node.get("service") else {
        return Err(node.unlike(path, "a service"));
    };
    let mut entries = vec![("service", service.clone())];
    if let Some(file) = node.get("file") {
        let text = file.as_text().ok_or_else(|| file.unlike(path, "a file"))?;
        entries.push(("file", Node::text(&file.at, base.absolute(text))));
    }
    Ok(Node::map(&at, entries))
}

/// What must be there first, by name.
pub fn dependencies(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let mut map = Map::new();
    let conditions = |node: &Node| {
        let condition = node.get("condition").cloned();
        let required = node.get("required").cloned();
        let started = || Node::text(&node.at, "service_started");
        let entries = [
            ("condition", condition.unwrap_or_else(started)),
            (
                "required",
                required.unwrap_or_else(|| Node::plain(&node.at, true)),
            ),
        ];
        Node::map(&node.at, entries)
    };
    match node.value {
        Value::List(list) => {
            for item in list {
                let name = item
                    .as_text()
                    .ok_or_else(|| item.unlike(path, "a service"))?;
                map.insert(name.to_owned(), Entry::new(conditions(&item)));
            }
        }
        Value::Map(entries) => {
            for (name, mut entry) in entries {
                if !entry.node.is_null() && entry.node.as_map().is_none() {
                    return Err(entry.node.unlike(&format!("{path}.{name}"), "a map"));
                }
                entry.node = conditions(&entry.node);
                map.insert(name, entry);
            }
        }
        _ => return Err(node.unlike(path, "a list or map of services")),
    }
    Ok(Node::new(&at, Value::Map(map)))
}

/// Networks by name.
pub fn networks(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let mut map = Map::new();
    let empty = |node: &Node| Node::new(&node.at, Value::Map(Map::new()));
    match node.value {
        Value::List(list) => {
            for item in list {
                let name = item
                    .as_text()
                    .ok_or_else(|| item.unlike(path, "a network"))?;
                map.insert(name.to_owned(), Entry::new(empty(&item)));
            }
        }
        Value::Map(entries) => {
            for (name, mut entry) in entries {
                match &entry.node.value {
                    Value::Null => entry.node = empty(&entry.node),
                    Value::Map(_) => {}
                    _ => return Err(entry.node.unlike(&format!("{path}.{name}"), "a map")),
                }
                map.insert(name, entry);
            }
        }
        _ => return Err(node.unlike(path, "a list or map of networks")),
    }
    Ok(Node::new(&at, Value::Map(map)))
}

/// Secrets or configs that a service is given.
pub fn uses(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let mut out = Vec::new();
    for item in items(node, path)? {
        out.push(match &item.value {
            Value::Text { text, .. } => {
                Node::map(&item.at, [("source", Node::text(&item.at, text.clone()))])
            }
            Value::Map(map) if map.contains_key("source") => item,
            Value::Map(_) => {
                return Err(Trouble::new(&item.at, format!("{path}: source is missing")));
            }
            _ => return Err(item.unlike(path, "a name or a map")),
        });
    }
    Ok(Node::new(&at, Value::List(out)))
}

/// Further lines of /etc/hosts: name → addresses.
pub fn hosts(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let mut map = Map::new();
    let mut add = |name: &str, address: Node| {
        let entry = map
            .entry(name.trim().to_owned())
            .or_insert_with(|| Entry::new(Node::new(&address.at, Value::List(Vec::new()))));
        if let Value::List(list) = &mut entry.node.value {
            list.push(address);
        }
    };
    let address = |node: &Node, text: &str| {
        let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
        Node::text(&node.at, bare)
    };
    match node.value {
        Value::List(list) => {
            for item in list {
                let text = item.as_text().unwrap_or_default();
                let split = text.split_once('=').or_else(|| text.split_once(':'));
                let Some((name, value)) = split else {
                    return Err(item.unlike(path, "NAME=ADDRESS"));
                };
                add(name, address(&item, value));
            }
        }
        Value::Map(entries) => {
            for (name, entry) in entries {
                let node = texts(entry.node, path)?;
                for item in node.as_list().unwrap_or_default() {
                    add(&name, address(item, item.as_text().unwrap_or_default()));
                }
            }
        }
        _ => return Err(node.unlike(path, "a list or map of hosts")),
    }
    Ok(Node::new(&at, Value::Map(map)))
}

/// Limits of processes: a number is both of them.
pub fn ulimits(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let Value::Map(mut map) = node.value else {
        return Err(node.unlike(path, "a map of limits"));
    };
    for entry in map.values_mut() {
        if let Some(text) = entry.node.as_text() {
            let limit = Node::plain(&entry.node.at, text);
            entry.node = Node::map(&entry.node.at, [("soft", limit.clone()), ("hard", limit)]);
        }
    }
    Ok(Node::new(&at, Value::Map(map)))
}

/// Devices: `SOURCE[:TARGET[:PERMISSIONS]]`.
pub fn devices(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let mut out = Vec::new();
    for item in items(node, path)? {
        let Some(text) = item.as_text() else {
            if item.get("source").is_none() {
                return Err(item.unlike(path, "SOURCE:TARGET:PERMISSIONS"));
            }
            out.push(item);
            continue;
        };
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().unwrap_or(source);
        let permissions = parts.next().unwrap_or("rwm");
        let text = |text: &str| Node::text(&item.at, text);
        let entries = [
            ("source", text(source)),
            ("target", text(target)),
            ("permissions", text(permissions)),
        ];
        out.push(Node::map(&item.at, entries));
    }
    Ok(Node::new(&at, Value::List(out)))
}

/// A text is a line for the shell.
pub fn health_test(node: Node, path: &str) -> Result<Node, Trouble> {
    if let Some(text) = node.as_text() {
        let words = ["CMD-SHELL".to_owned(), text.to_owned()];
        return Ok(Node::texts(&node.at, words));
    }
    texts(node, path)
}
