//! `extends`: a service begins as a copy of another one. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::canonical::directory_of;
use super::load::Loader;
use super::merge;
use super::tree::{Map, Node, Value};
use crate::stack::place::{Place, Trouble, nearest};

/// Every service of a document with what it extends below it.
pub fn apply(
    loader: &mut Loader<'_>,
    mut document: Node,
    path: &Path,
    names: &BTreeMap<String, String>,
) -> Result<Node, Trouble> {
    let Some(services) = document.get("services").and_then(Node::as_map).cloned() else {
        return Ok(document);
    };
    if !services
        .values()
        .any(|entry| entry.node.get("extends").is_some())
    {
        return Ok(document);
    }
    let mut out = services.clone();
    for (name, entry) in &mut out {
        let mut seen = Vec::new();
        entry.node = resolved(loader, &services, name, path, names, &mut seen)?;
    }
    if let Value::Map(map) = &mut document.value
        && let Some(entry) = map.get_mut("services")
    {
        entry.node.value = Value::Map(out);
    }
    Ok(document)
}

fn resolved(
    loader: &mut Loader<'_>,
    services: &Map,
    name: &str,
    path: &Path,
    names: &BTreeMap<String, String>,
    seen: &mut Vec<(PathBuf, String)>,
) -> Result<Node, Trouble> {
    let Some(entry) = services.get(name) else {
        let at = Place::whole(&path.to_string_lossy());
        let near = nearest(name, services.keys().map(String::as_str));
        return Err(Trouble::new(
            &at,
            format!("there is no service \"{name}\" to extend{near}"),
        ));
    };
    let mut node = entry.node.clone();
    let Value::Map(map) = &mut node.value else {
        return Ok(node);
    };
    let Some(extends) = map.remove("extends").filter(|entry| !entry.node.is_null()) else {
        return Ok(node);
    };
    seen.push((path.to_path_buf(), name.to_owned()));
    let text = |key| extends.node.get(key).and_then(Node::as_text);
    let Some(base) = text("service") else {
        return Err(extends.node.unlike("extends", "a service"));
    };
    let file = text("file").map_or_else(|| path.to_path_buf(), PathBuf::from);
    if seen.iter().any(|(at, name)| *at == file && name == base) {
        let chain: Vec<&str> = seen.iter().map(|(_, name)| name.as_str()).collect();
        return Err(Trouble::new(
            &extends.at,
            format!("services extend each other: {} → {base}", chain.join(" → ")),
        ));
    }
    let elsewhere;
    let services = if file == path {
        services
    } else {
        elsewhere = services_of(loader, &file, names)?;
        &elsewhere
    };
    let below = match resolved(loader, services, base, &file, names, seen) {
        Ok(below) => below,
        Err(trouble) if trouble.at.line == 0 => {
            return Err(Trouble::new(
                &extends.at,
                format!("extends: {}", trouble.text),
            ));
        }
        Err(trouble) => return Err(trouble),
    };
    seen.pop();
    Ok(merge::merge_service(below, node))
}

/// The services of another file, whose relative paths begin in its own directory.
fn services_of(
    loader: &mut Loader<'_>,
    file: &Path,
    names: &BTreeMap<String, String>,
) -> Result<Map, Trouble> {
    let mut services = Map::new();
    for document in loader.documents(file, file, &directory_of(file), names)? {
        if let Some(found) = document.get("services").and_then(Node::as_map) {
            services.extend(found.clone());
        }
    }
    Ok(services)
}
