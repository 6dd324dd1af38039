//! What differs between two specs, as lines. Pure.

use std::fmt::Debug;

use skep_proto::spec::ServiceSpec;

/// A line for each field that differs: `field: old -> new`; of a list or map, a line for each item that came
/// (`+`) or went (`-`).
pub fn differences(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    let mut lines = Lines::default();
    macro_rules! value { ($($name:literal: $($field:ident).+),* $(,)?) => { $(
        lines.value($name, &old.$($field).+, &new.$($field).+);
    )* } }
    macro_rules! items { ($($name:literal: $($field:ident).+),* $(,)?) => { $(
        let shown = |spec: &ServiceSpec| {
            let items = spec.$($field).+.iter();
            items.map(|item| format!("{item:?}")).collect()
        };
        lines.items($name, shown(old), shown(new));
    )* } }
    value!("mode": mode, "endpoint": endpoint, "update": update, "rollback": rollback);
    items!("label": labels, "port": ports);
    let image = |spec: &ServiceSpec| spec.task.container.image.to_string();
    lines.value("image", &image(old), &image(new));
    value!(
        "limits": task.limits,
        "reservations": task.reservations,
        "restart": task.restart,
        "max_per_node": task.max_per_node,
        "log": task.log,
        "pull": task.container.pull,
        "entrypoint": task.container.entrypoint,
        "command": task.container.args,
        "hostname": task.container.hostname,
        "user": task.container.user,
        "workdir": task.container.workdir,
        "tty": task.container.tty,
        "read_only": task.container.read_only,
        "init": task.container.init,
        "stop_signal": task.container.stop_signal,
        "stop_grace": task.container.stop_grace,
        "health": task.container.health,
        "dns": task.container.dns,
        "privileges": task.container.privileges,
        "oom_score_adj": task.container.oom_score_adj,
        "shm_size": task.container.shm_size,
    );
    items!(
        "constraint": task.constraints,
        "network": task.networks,
        "spread": task.spread,
        "platform": task.platforms,
        "generic_resource": task.generic,
        "env": task.container.env,
        "container_label": task.container.labels,
        "group": task.container.groups,
        "mount": task.container.mounts,
        "secret": task.container.secrets,
        "config": task.container.configs,
        "host": task.container.hosts,
        "sysctl": task.container.sysctls,
        "ulimit": task.container.ulimits,
    );
    if lines.0.is_empty() && old != new {
        lines
            .0
            .push("a field that this list does not show".to_owned());
    }
    lines.0
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn value<T: Debug + PartialEq>(&mut self, name: &str, old: &T, new: &T) {
        if old != new {
            self.0.push(format!("{name}: {old:?} -> {new:?}"));
        }
    }

    fn items(&mut self, name: &str, old: Vec<String>, new: Vec<String>) {
        let gone = old.iter().filter(|item| !new.contains(item));
        let gone = gone.map(|item| format!("- {name}: {item}"));
        let come = new.iter().filter(|item| !old.contains(item));
        let come = come.map(|item| format!("+ {name}: {item}"));
        let lines: Vec<String> = gone.chain(come).collect();
        if lines.is_empty() && old != new {
            self.0.push(format!("{name}: in another order"));
        }
        self.0.extend(lines);
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::spec::{ContainerSpec, Mode, TaskSpec};

    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let mut container = ContainerSpec::new("x:1");
        container.env = vec!["A=1".into(), "B=1".into()];
        let old = ServiceSpec::new("web", TaskSpec::new(container));
        let mut new = old.clone();
        assert!(differences(&old, &new).is_empty());
        new.mode = Mode::Replicated { replicas: 3 };
        new.task.container.env = vec!["A=1".into(), "C=2".into()];
        new.task.container.image.name = "x:2".into();
        new.labels.insert("k".into(), "v".into());
        assert_eq!(
            differences(&old, &new),
            [
                "mode: Replicated { replicas: 1 } -> Replicated { replicas: 3 }",
                "+ label: (\"k\", \"v\")",
                "image: \"x:1\" -> \"x:2\"",
                "- env: \"B=1\"",
                "+ env: \"C=2\"",
            ]
        );
        new = old.clone();
        new.lost_after = Some(std::time::Duration::from_secs(1));
        assert_eq!(
            differences(&old, &new).len(),
            1,
            "nothing is passed over in silence"
        );
    }
}
