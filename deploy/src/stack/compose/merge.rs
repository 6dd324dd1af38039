//! Joins what a later file says with what an earlier one said, by the specification's rules. Pure.
//!
//! Maps join key by key, lists one behind the other. Commands and tests are replaced; ports, mounts, secrets
//! and configs are known by where they show. `!reset` and `!override` go before all rules. Source: Compose
//! Specification, "Merge and override".

use super::tree::{Map, Mark, Node, Value};

/// `over` on top of `base`, both in their long form.
pub fn merge(base: Node, over: Node) -> Node {
    join(base, over, &mut Vec::new())
}

/// What one service says on top of another that it extends.
pub fn merge_service(base: Node, over: Node) -> Node {
    let mut path = vec!["services".to_owned(), "extended".to_owned()];
    join(base, over, &mut path)
}

fn join(base: Node, over: Node, path: &mut Vec<String>) -> Node {
    match over.mark {
        Mark::Merge => {}
        Mark::Reset => {
            return Node {
                value: Value::Null,
                ..over
            };
        }
        Mark::Override => return over,
    }
    if base.mark == Mark::Reset {
        return over;
    }
    let rule = rule(path);
    let (at, mark) = (over.at.clone(), Mark::Merge);
    let value = match (base.value, over.value) {
        // A variable without a value takes it from the environment, which is not what was said before.
        (base, Value::Null) if rule != Rule::Replace => base,
        (Value::Map(base), Value::Map(over)) if rule != Rule::Replace => {
            if rule == Rule::Driver && drivers_differ(&base, &over) {
                Value::Map(over)
            } else {
                Value::Map(join_maps(base, over, path))
            }
        }
        (Value::List(base), Value::List(over)) => match rule {
            Rule::Replace => Value::List(over),
            Rule::By(keys) => Value::List(join_by(base, over, keys, path)),
            Rule::Set => Value::List(join_set(base, over)),
            Rule::Natural | Rule::Driver => Value::List(base.into_iter().chain(over).collect()),
        },
        (_, over) => over,
    };
    Node { at, value, mark }
}

fn join_maps(base: Map, over: Map, path: &mut Vec<String>) -> Map {
    let mut out = base;
    for (key, mut entry) in over {
        if let Some(before) = out.remove(&key) {
            path.push(key.clone());
            entry.node = join(before.node, entry.node, path);
            path.pop();
        }
        out.insert(key, entry);
    }
    out
}

fn drivers_differ(base: &Map, over: &Map) -> bool {
    let driver = |map: &Map| {
        let driver = map.get("driver").and_then(|entry| entry.node.as_text());
        driver.map(str::to_owned)
    };
    driver(over).is_some_and(|over| driver(base).is_some_and(|base| base != over))
}

/// Items that show at the same place replace each other key by key.
fn join_by(base: Vec<Node>, over: Vec<Node>, keys: &[&str], path: &mut Vec<String>) -> Vec<Node> {
    let identity = |node: &Node| -> Vec<Option<String>> {
        let text = |key: &&str| node.get(key).and_then(Node::as_text).map(str::to_owned);
        keys.iter().map(text).collect()
    };
    let mut out = base;
    for node in over {
        match out
            .iter()
            .position(|before| identity(before) == identity(&node))
        {
            Some(at) => {
                let before = out.remove(at);
                path.push(String::new());
                let node = join(before, node, path);
                path.pop();
                out.insert(at, node);
            }
            None => out.push(node),
        }
    }
    out
}

fn join_set(base: Vec<Node>, over: Vec<Node>) -> Vec<Node> {
    let mut out = base;
    for node in over {
        if !out.iter().any(|before| before.as_text() == node.as_text()) {
            out.push(node);
        }
    }
    out
}

/// How the values at a path join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Maps by key, lists one behind the other.
    Natural,
    /// The later one stands.
    Replace,
    /// A list of maps that are known by these keys.
    By(&'static [&'static str]),
    /// A list in which nothing stands twice.
    Set,
    /// As a map, if both have the same driver.
    Driver,
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let ["services", _, rest @ ..] = &path[..] else {
        return Rule::Natural;
    };
    match rest {
        ["command" | "entrypoint"] | ["healthcheck", "test"] | ["environment", _] => Rule::Replace,
        ["ports"] => Rule::By(&["host_ip", "target", "published", "protocol"]),
        ["volumes"] => Rule::By(&["target"]),
        ["secrets" | "configs"] => Rule::By(&["source", "target"]),
        ["devices"] => Rule::By(&["target"]),
        ["logging"] => Rule::Driver,
        [
            "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "group_add" | "profiles"
            | "security_opt" | "tmpfs",
        ]
        | ["networks", _, "aliases"]
        | ["extra_hosts", _] => Rule::Set,
        _ => Rule::Natural,
    }
}

/// Removes what says nothing: values that were reset, empty keys, marks.
pub fn settle(node: &mut Node) {
    node.mark = Mark::Merge;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| !entry.node.is_null() && entry.node.mark != Mark::Reset);
            map.values_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::List(list) => list.iter_mut().for_each(settle),
        _ => {}
    }
}
