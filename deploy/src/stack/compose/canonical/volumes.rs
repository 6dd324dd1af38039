//! Long forms of volumes: `[SOURCE:]TARGET[:MODE,…]`. Pure.

use super::Base;
use crate::stack::compose::tree::{Entry, Node, Value};
use crate::stack::place::Trouble;

/// A list of mounts, each of them a map with its type.
pub fn all(node: Node, path: &str, base: &Base) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let Value::List(list) = node.value else {
        return Err(node.unlike(path, "a list of volumes"));
    };
    let mut out = Vec::new();
    for item in list {
        out.push(match &item.value {
            Value::Text { text, .. } => short(&item, text, path, base)?,
            Value::Map(_) => long(item, path, base)?,
            _ => return Err(item.unlike(path, "SOURCE:TARGET or a map")),
        });
    }
    Ok(Node::new(&at, Value::List(out)))
}

fn long(mut item: Node, path: &str, base: &Base) -> Result<Node, Trouble> {
    for (key, meaning) in [
        ("type", "bind, volume or tmpfs"),
        ("target", "a path inside"),
    ] {
        if item.get(key).is_none() {
            let text = format!("{path}: {key} is missing: {meaning}");
            return Err(Trouble::new(&item.at, text));
        }
    }
    let bind = item.get("type").and_then(Node::as_text) == Some("bind");
    if let Value::Map(map) = &mut item.value {
        if let Some(entry) = map.get_mut("source")
            && bind
            && let Some(source) = entry.node.as_text()
        {
            entry.node = Node::text(&entry.node.at, base.absolute(source));
        }
        super::within(map, "volume", path, |map, path| {
            super::change(map, "labels", path, super::lists::table)
        })?;
    }
    Ok(item)
}

fn short(item: &Node, text: &str, path: &str, base: &Base) -> Result<Node, Trouble> {
    let wrong = |reason: String| Trouble::new(&item.at, format!("{path}: \"{text}\": {reason}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, modes) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, modes] => (Some(source), target, modes),
        _ => return Err(wrong("write SOURCE:TARGET or SOURCE:TARGET:ro".into())),
    };
    if !target.starts_with('/') {
        return Err(wrong(format!(
            "the target \"{target}\" must begin with /: a path inside the container"
        )));
    }
    let node = |text: &str| Node::text(&item.at, text);
    let bind = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
    let mut entries = vec![
        ("type", node(if bind { "bind" } else { "volume" })),
        ("target", node(target)),
    ];
    match source {
        Some("") => return Err(wrong("the source is empty".into())),
        Some(source) if bind => entries.push(("source", node(&base.absolute(source)))),
        Some(source) => entries.push(("source", node(source))),
        None => {}
    }
    for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
        match mode {
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "ro" => entries.push(("read_only", Node::plain(&item.at, true))),
            "nocopy" => {
                let nocopy = Node::plain(&item.at, true);
                entries.push(("volume", Node::map(&item.at, [("nocopy", nocopy)])));
            }
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                let propagation = Node::map(&item.at, [("propagation", node(mode))]);
                entries.push(("bind", propagation));
            }
            other => {
                return Err(wrong(format!(
                    "unknown mode \"{other}\"; there are ro, rw, nocopy and the propagations"
                )));
            }
        }
    }
    let entries = entries
        .into_iter()
        .map(|(key, node)| (key.to_owned(), Entry::new(node)));
    Ok(Node::new(&item.at, Value::Map(entries.collect())))
}
