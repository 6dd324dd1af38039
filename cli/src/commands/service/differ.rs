//! What differs between two specs, line by line. Pure.

use std::collections::BTreeMap;
use std::fmt::Debug;

use skep_proto::spec::{ContainerSpec, ServiceSpec, TaskSpec, UpdateConfig};

/// A line for each thing that differs: `name: old -> new`, or `name: + added` and `name: - removed`.
pub fn differences(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    let mut found = Found::default();
    found.map("label", &old.labels, &new.labels);
    found.value("mode", &old.mode, &new.mode);
    found.list("publish", &old.ports, &new.ports);
    found.value("endpoint-mode", &old.endpoint, &new.endpoint);
    found.value("lost-after", &old.lost_after, &new.lost_after);
    found.rollout("update", &old.update, &new.update);
    found.rollout("rollback", &old.rollback, &new.rollback);
    found.task(&old.task, &new.task);
    found.container(&old.task.container, &new.task.container);
    found.0
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn value<T: Debug + PartialEq>(&mut self, name: &str, old: &T, new: &T) {
        if old != new {
            self.0.push(format!("{name}: {old:?} -> {new:?}"));
        }
    }

    fn text(&mut self, name: &str, old: &str, new: &str) {
        if old != new {
            self.0.push(format!("{name}: {old} -> {new}"));
        }
    }

    fn list<T: Debug + PartialEq>(&mut self, name: &str, old: &[T], new: &[T]) {
        let removed = old.iter().filter(|one| !new.contains(one));
        let added = new.iter().filter(|one| !old.contains(one));
        let removed = removed.map(|one| format!("{name}: - {one:?}"));
        let added = added.map(|one| format!("{name}: + {one:?}"));
        let lines: Vec<String> = removed.chain(added).collect();
        if lines.is_empty() && old != new {
            self.0.push(format!("{name}: in another order"));
        }
        self.0.extend(lines);
    }

    fn map<V: Debug + PartialEq>(
        &mut self,
        name: &str,
        old: &BTreeMap<String, V>,
        new: &BTreeMap<String, V>,
    ) {
        let old: Vec<_> = old.iter().collect();
        let new: Vec<_> = new.iter().collect();
        self.list(name, &old, &new);
    }

    fn rollout(&mut self, name: &str, old: &UpdateConfig, new: &UpdateConfig) {
        let called = |field: &str| format!("{name}-{field}");
        self.value(&called("parallelism"), &old.parallelism, &new.parallelism);
        self.value(&called("delay"), &old.delay, &new.delay);
        let (before, after) = (&old.failure_action, &new.failure_action);
        self.value(&called("failure-action"), before, after);
        self.value(&called("monitor"), &old.monitor, &new.monitor);
        let (before, after) = (old.max_failure_millionths, new.max_failure_millionths);
        let name = called("max-failure-ratio (millionths)");
        self.value(&name, &before, &after);
        self.value(&called("order"), &old.order, &new.order);
        let (before, after) = (&old.progress_deadline, &new.progress_deadline);
        self.value(&called("progress-deadline"), before, after);
    }

    fn task(&mut self, old: &TaskSpec, new: &TaskSpec) {
        self.value("limits", &old.limits, &new.limits);
        self.value("reservations", &old.reservations, &new.reservations);
        self.value("restart", &old.restart, &new.restart);
        let shown = |spec: &TaskSpec| -> Vec<String> {
            spec.constraints.iter().map(ToString::to_string).collect()
        };
        self.list("constraint", &shown(old), &shown(new));
        self.list("network", &old.networks, &new.networks);
        self.list("placement-pref", &old.spread, &new.spread);
        self.value(
            "replicas-max-per-node",
            &old.max_per_node,
            &new.max_per_node,
        );
        self.list("platform", &old.platforms, &new.platforms);
        self.map("generic-resource", &old.generic, &new.generic);
        self.value("log", &old.log, &new.log);
        self.value("force", &old.force, &new.force);
    }

    fn container(&mut self, old: &ContainerSpec, new: &ContainerSpec) {
        let image = |spec: &ContainerSpec| match spec.image.digest {
            Some(digest) => format!("{}@{digest}", spec.image.name),
            None => spec.image.name.clone(),
        };
        self.text("image", &image(old), &image(new));
        self.value("pull", &old.pull, &new.pull);
        self.value("entrypoint", &old.entrypoint, &new.entrypoint);
        self.value("args", &old.args, &new.args);
        self.list("env", &old.env, &new.env);
        self.map("container-label", &old.labels, &new.labels);
        self.value("hostname", &old.hostname, &new.hostname);
        self.value("user", &old.user, &new.user);
        self.list("group", &old.groups, &new.groups);
        self.value("workdir", &old.workdir, &new.workdir);
        self.value("tty", &old.tty, &new.tty);
        self.value("read-only", &old.read_only, &new.read_only);
        self.value("init", &old.init, &new.init);
        self.value("health", &old.health, &new.health);
        self.list("mount", &old.mounts, &new.mounts);
        self.list("secret", &old.secrets, &new.secrets);
        self.list("config", &old.configs, &new.configs);
        self.list("host", &old.hosts, &new.hosts);
        self.value("dns", &old.dns, &new.dns);
        self.value("privileges", &old.privileges, &new.privileges);
        self.map("sysctl", &old.sysctls, &new.sysctls);
        self.list("ulimit", &old.ulimits, &new.ulimits);
        self.value("oom-score-adj", &old.oom_score_adj, &new.oom_score_adj);
        self.value("shm-size", &old.shm_size, &new.shm_size);
        self.value("stop-signal", &old.stop_signal, &new.stop_signal);
        self.value("stop-grace-period", &old.stop_grace, &new.stop_grace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let task = TaskSpec::new(ContainerSpec::new("skep/hello"));
        let old = ServiceSpec::new("web", task);
        let mut new = old.clone();
        assert_eq!(differences(&old, &new), Vec::<String>::new());
        new.task.container.env.push("A=1".into());
        new.task.container.image.name = "skep/hello:2".into();
        let found = differences(&old, &new);
        assert_eq!(
            found,
            ["image: skep/hello -> skep/hello:2", "env: + \"A=1\""]
        );
    }
}
