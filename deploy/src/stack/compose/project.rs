//! The last steps of reading: profiles, the variables of services, and whether all that is named is there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::load::{Request, Surroundings, unreadable, utf8};
use super::order::order;
use super::tree::{Entry, Map, Node, Value};
use super::{merge, variables};
use crate::stack::place::{Place, Trouble, nearest};

/// The network of services that name none.
pub const DEFAULT: &str = "default";

/// Finishes a merged project.
///
/// # Errors
/// Where something is named that is not there, or services wait for each other in a circle.
pub fn finish(
    mut root: Node,
    request: &Request,
    around: &Surroundings<'_>,
    names: &BTreeMap<String, String>,
    warnings: &mut Vec<String>,
) -> Result<Node, Trouble> {
    version(&root)?;
    resolve_bare(&mut root, names);
    merge::settle(&mut root);
    let at = root.at.clone();
    let Value::Map(map) = &mut root.value else {
        return Err(root.unlike("the file", "a map"));
    };
    map.remove("version");
    map.retain(|_, entry| !entry.node.as_map().is_some_and(Map::is_empty));
    let Some(Value::Map(services)) = map.get_mut("services").map(|entry| &mut entry.node.value)
    else {
        return Err(Trouble::new(&at, "there are no services"));
    };
    let all: BTreeSet<String> = services.keys().cloned().collect();
    select(services, request, names);
    if services.is_empty() {
        let text = "every service has a profile and none of them is asked for; use --profile";
        return Err(Trouble::new(&at, text));
    }
    for (name, entry) in services.iter_mut() {
        let at = entry.at.clone();
        service_name(name, &at)?;
        if let Value::Map(service) = &mut entry.node.value {
            environment(service, name, around, names)?;
            add_default_network(service, &at);
        }
    }
    dependencies(services, &all, warnings)?;
    let services = services.clone();
    references(map, &services)?;
    Ok(root)
}

fn version(root: &Node) -> Result<(), Trouble> {
    let Some(node) = root.get("version") else {
        return Ok(());
    };
    let text = node.as_text().unwrap_or_default();
    if text.starts_with("3") || text.starts_with("2") {
        return Ok(());
    }
    let text = format!("version \"{text}\" is not known; leave the line out");
    Err(Trouble::new(&node.at, text))
}

fn service_name(name: &str, at: &Place) -> Result<(), Trouble> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let (first, last) = (name.chars().next(), name.chars().next_back());
    if name.chars().all(good) && ends(first) && ends(last) {
        return Ok(());
    }
    Err(Trouble::new(
        at,
        format!(
            "services: \"{name}\" may hold letters, digits, \"-\", \"_\" and \".\" only, and must begin \
             and end with a letter or digit"
        ),
    ))
}

/// Leaves the services that have no profile or one that is asked for.
fn select(services: &mut Map, request: &Request, names: &BTreeMap<String, String>) {
    let mut wanted = request.profiles.clone();
    if let Some(more) = names.get("COMPOSE_PROFILES") {
        wanted.extend(more.split(',').map(|name| name.trim().to_owned()));
    }
    services.retain(|_, entry| {
        let Value::Map(service) = &mut entry.node.value else {
            return true;
        };
        let Some(profiles) = service.remove("profiles") else {
            return true;
        };
        let mut profiles = profiles.node.as_list().unwrap_or_default().iter();
        wanted.contains("*")
            || profiles.any(|profile| profile.as_text().is_some_and(|name| wanted.contains(name)))
    });
}

/// A variable or label without a value: a variable takes it from the environment, or goes.
fn resolve_bare(root: &mut Node, names: &BTreeMap<String, String>) {
    let Value::Map(map) = &mut root.value else {
        return;
    };
    let Some(Value::Map(services)) = map.get_mut("services").map(|entry| &mut entry.node.value)
    else {
        return;
    };
    for entry in services.values_mut() {
        let Value::Map(service) = &mut entry.node.value else {
            continue;
        };
        if let Some(Value::Map(environment)) = service
            .get_mut("environment")
            .map(|entry| &mut entry.node.value)
        {
            for (name, entry) in environment.iter_mut() {
                if let (Value::Null, Some(value)) = (&entry.node.value, names.get(name)) {
                    entry.node = Node::text(&entry.node.at, value.clone());
                }
            }
        }
    }
}

/// Puts what the files of variables say below what the service says.
fn environment(
    service: &mut Map,
    name: &str,
    around: &Surroundings<'_>,
    names: &BTreeMap<String, String>,
) -> Result<(), Trouble> {
    let Some(files) = service.remove("env_file") else {
        return Ok(());
    };
    let path = format!("services.{name}.env_file");
    let mut found = Map::new();
    for item in files.node.as_list().unwrap_or_default() {
        for (name, value) in file_of(item, &path, around, names)? {
            found.insert(name, Entry::new(Node::text(&item.at, value)));
        }
    }
    let own = service.remove("environment");
    if let Some(Value::Map(own)) = own.map(|entry| entry.node.value) {
        found.extend(own);
    }
    let node = Node::new(&files.at, Value::Map(found));
    service.insert("environment".into(), Entry::new(node));
    Ok(())
}

fn file_of(
    item: &Node,
    path: &str,
    around: &Surroundings<'_>,
    names: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, Trouble> {
    let text = |key| item.get(key).and_then(Node::as_text);
    let file = text("path").unwrap_or_default();
    let bytes = match (around.read)(Path::new(file)) {
        Ok(bytes) => bytes,
        Err(_) if text("required") == Some("false") => return Ok(Vec::new()),
        Err(error) => {
            let trouble = unreadable(&item.at, file, &error);
            return Err(Trouble::new(&item.at, format!("{path}: {}", trouble.text)));
        }
    };
    let content = utf8(&bytes, file)?;
    match text("format") {
        None => variables::parse_variables(file, &content, names),
        Some("raw") => variables::parse_raw(file, &content),
        Some(other) => Err(Trouble::new(
            &item.at,
            format!("{path}: unknown format \"{other}\"; there is raw"),
        )),
    }
}

fn add_default_network(service: &mut Map, at: &Place) {
    if !service.contains_key("networks") {
        let empty = Node::new(at, Value::Map(Map::new()));
        let node = Node::map(at, [(DEFAULT, empty)]);
        service.insert("networks".into(), Entry::new(node));
    }
}

/// All that is waited for must be there, and nothing waits for itself.
fn dependencies(
    services: &mut Map,
    all: &BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<(), Trouble> {
    let active: BTreeSet<String> = services.keys().cloned().collect();
    let mut waits = BTreeMap::new();
    for (name, entry) in services.iter_mut() {
        let Value::Map(service) = &mut entry.node.value else {
            continue;
        };
        let Some(entry) = service.get_mut("depends_on") else {
            waits.insert(name.clone(), Vec::new());
            continue;
        };
        let Value::Map(map) = &mut entry.node.value else {
            continue;
        };
        for (other, entry) in map.iter() {
            let optional = entry.node.get("required").and_then(Node::as_text) == Some("false");
            if active.contains(other) {
                continue;
            }
            if optional {
                let text =
                    format!("services.{name}: {other} is not there; it does not wait for it");
                warnings.push(text);
                continue;
            }
            let reason = if all.contains(other) {
                format!("service \"{other}\" has a profile that is not asked for")
            } else {
                let near = nearest(other, active.iter().map(String::as_str));
                format!("there is no service \"{other}\"{near}")
            };
            let text = format!("services.{name}.depends_on: {reason}");
            return Err(Trouble::new(&entry.at, text));
        }
        map.retain(|other, _| active.contains(other));
        waits.insert(name.clone(), map.keys().cloned().collect());
    }
    let Err(circle) = order(&waits) else {
        return Ok(());
    };
    let first = circle.first().and_then(|name| services.get(name));
    let at = first.map(|entry| {
        entry
            .node
            .get("depends_on")
            .map_or(&entry.at, |node| &node.at)
    });
    let whole = Place::whole("services");
    Err(Trouble::new(
        at.unwrap_or(&whole),
        format!(
            "services wait for each other: {}; remove one of these from depends_on",
            circle.join(" → ")
        ),
    ))
}

/// Networks, volumes, secrets and configs that services use must be defined; those nobody uses go.
fn references(root: &mut Map, services: &Map) -> Result<(), Trouble> {
    for section in ["networks", "volumes", "secrets", "configs"] {
        let mut used = BTreeMap::new();
        for (name, entry) in services {
            for (target, at) in uses(&entry.node, section) {
                used.entry(target).or_insert((name.clone(), at));
            }
        }
        if section == "networks" && used.contains_key(DEFAULT) {
            let (_, at) = &used[DEFAULT];
            let empty = || Node::new(at, Value::Map(Map::new()));
            let entry = root
                .entry(section.into())
                .or_insert_with(|| Entry::new(empty()));
            if let Value::Map(map) = &mut entry.node.value {
                map.entry(DEFAULT.into())
                    .or_insert_with(|| Entry::new(empty()));
            }
        }
        let defined = root.get(section).and_then(|entry| entry.node.as_map());
        for (target, (service, at)) in &used {
            if !defined.is_some_and(|map| map.contains_key(target)) {
                let names = defined.into_iter().flat_map(Map::keys).map(String::as_str);
                return Err(Trouble::new(
                    at,
                    format!(
                        "services.{service}.{section}: \"{target}\" is not defined under {section}{}",
                        nearest(target, names)
                    ),
                ));
            }
        }
        if let Some(Value::Map(map)) = root.get_mut(section).map(|entry| &mut entry.node.value) {
            map.retain(|name, _| used.contains_key(name));
            if map.is_empty() {
                root.remove(section);
            }
        }
    }
    Ok(())
}

/// What a service uses of a section, and where it says so.
fn uses(service: &Node, section: &str) -> Vec<(String, Place)> {
    let Some(node) = service.get(section) else {
        return Vec::new();
    };
    if let Some(map) = node.as_map() {
        let used = map
            .iter()
            .map(|(name, entry)| (name.clone(), entry.at.clone()));
        return used.collect();
    }
    let items = node.as_list().unwrap_or_default().iter();
    let used = items.filter(|item| {
        let kind = item.get("type").and_then(Node::as_text);
        section != "volumes" || kind == Some("volume")
    });
    used.filter_map(|item| {
        let source = item.get("source")?;
        Some((source.as_text()?.to_owned(), source.at.clone()))
    })
    .collect()
}
