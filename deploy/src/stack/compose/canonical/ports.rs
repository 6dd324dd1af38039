//! Long forms of ports: `[ADDRESS:][PUBLISHED:]TARGET[/PROTOCOL]`, with ranges. Pure.

use crate::stack::compose::tree::{Map, Node, Value};
use crate::stack::place::Trouble;

/// A list of ports, each of them one map with one target.
pub fn all(node: Node, path: &str) -> Result<Node, Trouble> {
    let at = node.at.clone();
    let Value::List(list) = node.value else {
        return Err(node.unlike(path, "a list of ports"));
    };
    let mut out = Vec::new();
    for item in list {
        match &item.value {
            Value::Text { text, .. } => {
                let ports = short(text).map_err(|reason| {
                    Trouble::new(&item.at, format!("{path}: \"{text}\" {reason}"))
                })?;
                out.extend(ports.into_iter().map(|port| port.node(&item)));
            }
            Value::Map(map) => out.push(long(&item, map, path)?),
            _ => return Err(item.unlike(path, "a port")),
        }
    }
    Ok(Node::new(&at, Value::List(out)))
}

fn long(item: &Node, map: &Map, path: &str) -> Result<Node, Trouble> {
    let mut map = map.clone();
    if !map.contains_key("target") {
        let text = format!("{path}: target is missing: the port inside the container");
        return Err(Trouble::new(&item.at, text));
    }
    for (key, default) in [("protocol", "tcp"), ("mode", "ingress")] {
        map.entry(key.to_owned())
            .or_insert_with(|| super::Entry::new(Node::text(&item.at, default)));
    }
    for (key, entry) in &mut map {
        if let Value::Text { quoted, .. } = &mut entry.node.value {
            *quoted = key != "target";
        }
    }
    Ok(Node::new(&item.at, Value::Map(map)))
}

struct Port {
    address: Option<String>,
    published: Option<u16>,
    target: u16,
    protocol: String,
}

impl Port {
    fn node(self, item: &Node) -> Node {
        let text = |text: &str| Node::text(&item.at, text);
        let mut entries = vec![
            ("target", Node::plain(&item.at, self.target)),
            ("protocol", text(&self.protocol)),
            ("mode", text("ingress")),
        ];
        entries.extend(
            self.published
                .map(|published| ("published", text(&published.to_string()))),
        );
        entries.extend(self.address.map(|address| ("host_ip", text(&address))));
        Node::map(&item.at, entries)
    }
}

fn short(text: &str) -> Result<Vec<Port>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (outside, target) = match ports.rsplit_once(':') {
        Some((outside, target)) => (Some(outside), target),
        None => (None, ports),
    };
    let (address, published) = match outside.map(|outside| (outside, outside.rsplit_once(':'))) {
        None => (None, None),
        Some((_, Some((address, published)))) => (Some(address), Some(published)),
        Some((published, None)) => (None, Some(published)),
    };
    let address = address.map(|address| {
        address
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned()
    });
    let targets = range(target)?;
    let published = published
        .filter(|published| !published.is_empty())
        .map(range)
        .transpose()?;
    if let Some(published) = &published
        && published.len() != targets.len()
    {
        return Err(format!(
            "publishes {} ports for {} inside; both ranges must be equally long",
            published.len(),
            targets.len()
        ));
    }
    let mut out = Vec::new();
    for (number, target) in targets.into_iter().enumerate() {
        out.push(Port {
            address: address.clone(),
            published: published
                .as_ref()
                .and_then(|ports| ports.get(number).copied()),
            target,
            protocol: protocol.to_owned(),
        });
    }
    Ok(out)
}

fn range(text: &str) -> Result<Vec<u16>, String> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| {
                format!(
                    "is no port: \"{text}\" is not a number from 1 to 65535; \
                         write [PUBLISHED:]TARGET[/PROTOCOL]"
                )
            })
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(format!("is a range that ends before it begins: \"{text}\""));
    }
    Ok((first..=last).collect())
}
