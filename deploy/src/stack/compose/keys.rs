//! Which keys a compose file may have: those that apply, those that do not, and those that nobody knows. Pure.
//!
//! The names are those of the Compose Specification and of schema 3.x.

mod table;

use super::tree::{Map, Node, Value};
use crate::stack::place::{Trouble, nearest};

/// The keys that a map may have.
pub struct Shape {
    /// Those that mean something here, with what is below them.
    applies: &'static [(&'static str, Below)],
    /// Those that the specification knows and a cluster has no use for.
    ignored: &'static [&'static str],
}

/// What is below a key.
pub enum Below {
    /// Whatever it is: it is read where it is used.
    Value,
    /// A map of this shape.
    Map(&'static Shape),
    /// A map from names to maps of this shape.
    Named(&'static Shape),
    /// A list of maps of this shape.
    Listed(&'static Shape),
}

/// Removes the keys that do not apply and gives their paths.
///
/// # Errors
/// At the first key that is not known, with the nearest that is.
pub fn check(root: &mut Node) -> Result<Vec<String>, Trouble> {
    let mut ignored = Vec::new();
    walk(root, &table::FILE, "", &mut ignored)?;
    Ok(ignored)
}

fn walk(
    node: &mut Node,
    shape: &'static Shape,
    path: &str,
    ignored: &mut Vec<String>,
) -> Result<(), Trouble> {
    // Short forms are read where they are used.
    let Value::Map(map) = &mut node.value else {
        return Ok(());
    };
    known(map, shape, path)?;
    map.retain(|key, _| {
        let drop = shape.ignored.contains(&key.as_str());
        if drop {
            ignored.push(join(path, key));
        }
        !drop
    });
    for (key, below) in shape.applies {
        let Some(entry) = map.get_mut(*key) else {
            continue;
        };
        let path = join(path, key);
        match (below, &mut entry.node.value) {
            (Below::Map(shape), Value::Map(_)) => walk(&mut entry.node, shape, &path, ignored)?,
            (Below::Named(shape), Value::Map(named)) => {
                for (name, entry) in named {
                    if name.starts_with("x-") && path != "services" {
                        continue;
                    }
                    walk(&mut entry.node, shape, &join(&path, name), ignored)?;
                }
            }
            (Below::Listed(shape), Value::List(list)) => {
                for node in list {
                    walk(node, shape, &path, ignored)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn known(map: &Map, shape: &'static Shape, path: &str) -> Result<(), Trouble> {
    let names = || {
        let applies = shape.applies.iter().map(|(name, _)| *name);
        applies.chain(shape.ignored.iter().copied())
    };
    for (key, entry) in map {
        if !key.starts_with("x-") && !names().any(|name| name == key) {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!("{path}: ")
            };
            let near = nearest(key, names());
            return Err(Trouble::new(
                &entry.at,
                format!("{place}unknown key \"{key}\"{near}"),
            ));
        }
    }
    Ok(())
}

/// The path of a key below `path`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
