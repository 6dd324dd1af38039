//! Which events pass. Pure.
//!
//! Of one key any value may fit, of several keys all must.

use std::collections::BTreeMap;

use skep_proto::event::{Action, Event, EventKind};

/// What can be filtered by.
const KEYS: [&str; 10] = [
    "type", "event", "service", "node", "task", "network", "image", "label", "scope", "by",
];

/// What passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    values: BTreeMap<&'static str, Vec<String>>,
}

impl EventFilter {
    /// Reads keys and values.
    ///
    /// # Errors
    /// Names a key or value that there is not, and what there is.
    pub fn read(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in pairs {
            let Some(known) = KEYS.iter().find(|known| **known == key) else {
                return Err(format!(
                    "--filter {key}={value}: events are filtered by {}",
                    KEYS.join(", ")
                ));
            };
            match *known {
                "type" => value.parse::<EventKind>().map(drop)?,
                "event" => value.parse::<Action>().map(drop)?,
                "scope" if !["swarm", "local"].contains(&value.as_str()) => {
                    return Err(format!("--filter scope={value}: expected swarm or local"));
                }
                _ => {}
            }
            filter.values.entry(known).or_default().push(value);
        }
        Ok(filter)
    }

    /// Whether `event` passes.
    pub fn passes(&self, event: &Event) -> bool {
        self.values
            .iter()
            .all(|(key, values)| values.iter().any(|value| fits(event, key, value)))
    }
}

fn fits(event: &Event, key: &str, value: &str) -> bool {
    let told = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    // Of its own kind an object is named by id and name; of others by what is told of them.
    let named = |kind: EventKind, name: &str| {
        if event.kind == kind {
            return event.id.starts_with(value) || told("name") == value;
        }
        let id = told(&format!("{name}.id"));
        told(name) == value || (!id.is_empty() && id.starts_with(value))
    };
    match key {
        "type" => event.kind.to_string() == value,
        "event" => acted(event.action, value),
        "service" => named(EventKind::Service, "service"),
        "node" => named(EventKind::Node, "node"),
        "task" => named(EventKind::Task, "task"),
        "network" => named(EventKind::Network, "network"),
        "image" => {
            let of = ["image", "image.new"].map(told);
            let tagged = of
                .iter()
                .any(|image| *image == value || image.split(['@', ':']).next() == Some(value));
            tagged || named(EventKind::Image, "image")
        }
        "label" => match value.split_once('=') {
            Some((name, wanted)) => event.labels.get(name).is_some_and(|has| has == wanted),
            None => event.labels.contains_key(value),
        },
        // What happens on one node alone is no event of the cluster.
        "scope" => value == "swarm",
        "by" => event.by == value || event.by.split('@').next() == Some(value),
        _ => false,
    }
}

/// Docker knows fewer words for what happens to a node: `create`, `update` and `remove` find ours too.
fn acted(action: Action, word: &str) -> bool {
    let wider = match action {
        Action::Join => "create",
        Action::Leave => "remove",
        Action::Up | Action::Down => "update",
        _ => "",
    };
    action.to_string() == word || wider == word
}

#[cfg(test)]
mod tests {
    use skep_proto::time::{ClusterTime, WallTime};

    use super::*;

    fn event(kind: EventKind, action: Action, told: &[(&str, &str)]) -> Event {
        Event {
            revision: 1,
            position: 0,
            time: ClusterTime::ZERO,
            at: WallTime::default(),
            by: "anna@host".into(),
            kind,
            action,
            id: "abcdef".into(),
            attributes: told
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        }
    }

    #[track_caller]
    fn check(event: &Event, pairs: &[(&str, &str)], passes: &str) {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let filter = EventFilter::read(owned).expect("a filter");
        assert_eq!(filter.passes(event), passes == "passes", "{pairs:?}");
    }

    #[test]
    fn one_key_is_either_and_several_are_all() {
        let task = event(
            EventKind::Task,
            Action::Failed,
            &[
                ("name", "web.1"),
                ("service", "web"),
                ("service.id", "xyz"),
                ("node", "n1"),
                ("image", "nginx:1.25"),
            ],
        );
        check(&task, &[], "passes");
        check(&task, &[("type", "task"), ("type", "node")], "passes");
        check(&task, &[("type", "task"), ("event", "running")], "no");
        check(
            &task,
            &[("service", "web"), ("node", "n1"), ("label", "tier=front")],
            "passes",
        );
        check(&task, &[("service", "xy")], "passes");
        check(&task, &[("service", "we")], "no");
        check(&task, &[("task", "abc")], "passes");
        check(&task, &[("task", "web.1")], "passes");
        check(&task, &[("image", "nginx")], "passes");
        check(&task, &[("image", "nginx:1.25"), ("by", "anna")], "passes");
        check(&task, &[("by", "ann")], "no");
        check(&task, &[("label", "tier=back")], "no");
        check(&task, &[("network", "web")], "no");
        check(&task, &[("scope", "local")], "no");
    }

    #[test]
    fn docker_words_find_what_happens_to_a_node() {
        for (action, word) in [
            (Action::Join, "create"),
            (Action::Leave, "remove"),
            (Action::Down, "update"),
            (Action::Down, "down"),
        ] {
            check(
                &event(EventKind::Node, action, &[]),
                &[("event", word)],
                "passes",
            );
        }
        check(
            &event(EventKind::Node, Action::Up, &[]),
            &[("event", "down")],
            "no",
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        for (key, value, words) in [
            ("container", "x", "filtered by type, event"),
            ("type", "pod", "one of cluster, node"),
            ("event", "die", "create, update"),
            ("scope", "world", "swarm or local"),
        ] {
            let error = EventFilter::read([(key.to_owned(), value.to_owned())]).expect_err(key);
            assert!(error.contains(words), "{error}");
        }
    }
}
