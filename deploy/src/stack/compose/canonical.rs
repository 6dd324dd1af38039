//! Brings every key into its long form, so that files can be merged and read in one way only. Pure.

mod lists;
mod ports;
mod volumes;

use std::path::{Component, Path, PathBuf};

use super::keys::join;
use super::tree::{Entry, Map, Mark, Node, Value};
use crate::stack::place::Trouble;

/// Where relative paths begin.
#[derive(Clone, Debug)]
pub struct Base {
    /// The directory of the file, absolute.
    pub directory: PathBuf,
    /// What `~` stands for.
    pub home: Option<String>,
}

impl Base {
    /// `path` from the root, without `.` and `..`.
    pub fn absolute(&self, path: &str) -> String {
        let home = self.home.as_deref().unwrap_or("~");
        let path = match path.strip_prefix('~') {
            Some("") => PathBuf::from(home),
            Some(rest) if rest.starts_with('/') => PathBuf::from(format!("{home}{rest}")),
            _ => self.directory.join(path),
        };
        let mut out = PathBuf::new();
        for part in path.components() {
            match part {
                Component::ParentDir => {
                    out.pop();
                }
                Component::CurDir => {}
                part => out.push(part),
            }
        }
        out.to_string_lossy().into_owned()
    }
}

/// Brings a file into its long form.
///
/// # Errors
/// Where a short form cannot be read.
pub fn file(root: &mut Node, base: &Base) -> Result<(), Trouble> {
    let Value::Map(map) = &mut root.value else {
        return Err(root.unlike("the file", "a map"));
    };
    for (section, each) in [
        ("services", service as Each),
        ("networks", network),
        ("volumes", volume),
        ("secrets", filed),
        ("configs", filed),
    ] {
        let Some(entry) = map.get_mut(section) else {
            continue;
        };
        match &mut entry.node.value {
            Value::Null => {}
            Value::Map(named) => {
                for (name, entry) in named {
                    each(&mut entry.node, &join(section, name), base)?;
                }
            }
            _ => return Err(entry.node.unlike(section, "a map from names")),
        }
    }
    Ok(())
}

type Each = fn(&mut Node, &str, &Base) -> Result<(), Trouble>;

fn service(node: &mut Node, path: &str, base: &Base) -> Result<(), Trouble> {
    if node.mark == Mark::Reset {
        return Ok(());
    }
    let Value::Map(map) = &mut node.value else {
        return Err(node.unlike(path, "a map"));
    };
    for key in ["command", "entrypoint"] {
        change(map, key, path, lists::words)?;
    }
    change(map, "environment", path, lists::variables)?;
    for key in ["labels", "sysctls"] {
        change(map, key, path, lists::table)?;
    }
    for key in [
        "dns",
        "dns_opt",
        "dns_search",
        "tmpfs",
        "group_add",
        "cap_add",
        "cap_drop",
        "security_opt",
        "profiles",
    ] {
        change(map, key, path, lists::texts)?;
    }
    change(map, "env_file", path, |node, path| {
        lists::env_files(node, path, base)
    })?;
    change(map, "extends", path, |node, path| {
        lists::extends(node, path, base)
    })?;
    change(map, "depends_on", path, lists::dependencies)?;
    change(map, "networks", path, lists::networks)?;
    change(map, "ports", path, ports::all)?;
    change(map, "volumes", path, |node, path| {
        volumes::all(node, path, base)
    })?;
    change(map, "secrets", path, lists::uses)?;
    change(map, "configs", path, lists::uses)?;
    change(map, "extra_hosts", path, lists::hosts)?;
    change(map, "ulimits", path, lists::ulimits)?;
    change(map, "devices", path, lists::devices)?;
    within(map, "healthcheck", path, |map, path| {
        change(map, "test", path, lists::health_test)
    })?;
    within(map, "logging", path, |map, path| {
        change(map, "options", path, lists::table)
    })?;
    within(map, "deploy", path, |map, path| {
        change(map, "labels", path, lists::table)
    })
}

fn network(node: &mut Node, path: &str, _: &Base) -> Result<(), Trouble> {
    let map = named(node, path)?;
    external(map, path)?;
    change(map, "driver_opts", path, lists::table)?;
    change(map, "labels", path, lists::table)
}

fn volume(node: &mut Node, path: &str, base: &Base) -> Result<(), Trouble> {
    network(node, path, base)
}

fn filed(node: &mut Node, path: &str, base: &Base) -> Result<(), Trouble> {
    let map = named(node, path)?;
    external(map, path)?;
    change(map, "labels", path, lists::table)?;
    change(map, "file", path, |node, path| match node.as_text() {
        Some(file) => Ok(Node::text(&node.at, base.absolute(file))),
        None => Err(node.unlike(path, "a file")),
    })
}

/// A thing that may be said by its name alone.
fn named<'a>(node: &'a mut Node, path: &str) -> Result<&'a mut Map, Trouble> {
    if node.is_null() {
        node.value = Value::Map(Map::new());
    }
    if node.as_map().is_none() {
        return Err(node.unlike(path, "a map"));
    }
    let Value::Map(map) = &mut node.value else {
        return Err(Trouble::new(&node.at, format!("{path}: expected a map")));
    };
    Ok(map)
}

/// `external: {name: X}` says the same as `external: true` beside `name: X`.
fn external(map: &mut Map, path: &str) -> Result<(), Trouble> {
    let Some(entry) = map.get_mut("external") else {
        return Ok(());
    };
    let name = entry.node.get("name").cloned();
    if entry.node.as_map().is_some() {
        entry.node = Node::plain(&entry.node.at, "true");
    }
    let at = entry.at.clone();
    if let Some(name) = name
        && map.insert("name".into(), Entry::new(name)).is_some()
    {
        return Err(Trouble::new(&at, format!("{path}: it has two names")));
    }
    Ok(())
}

/// Changes the value of a key, if it is there and says something; its mark stays.
fn change(
    map: &mut Map,
    key: &str,
    path: &str,
    new: impl FnOnce(Node, &str) -> Result<Node, Trouble>,
) -> Result<(), Trouble> {
    let Some(entry) = map.get_mut(key) else {
        return Ok(());
    };
    let mark = entry.node.mark;
    if mark == Mark::Reset || entry.node.is_null() {
        return Ok(());
    }
    let node = entry.node.clone();
    entry.node = Node {
        mark,
        ..new(node, &join(path, key))?
    };
    Ok(())
}

/// Goes on in the map of a key, if it is there.
fn within(
    map: &mut Map,
    key: &str,
    path: &str,
    next: impl FnOnce(&mut Map, &str) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let Some(entry) = map.get_mut(key) else {
        return Ok(());
    };
    let path = join(path, key);
    match &mut entry.node.value {
        Value::Map(map) => next(map, &path),
        Value::Null => Ok(()),
        _ => Err(entry.node.unlike(&path, "a map")),
    }
}

/// The directory that holds `file`.
pub fn directory_of(file: &Path) -> PathBuf {
    file.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
