//! What differs between two specs, by the names of the options that users know. Pure.
//!
//! Every field is named: the compiler says when one is new.

use skep_proto::spec::{ContainerSpec, Privileges, ServiceSpec, TaskSpec};

/// Options whose values differ.
pub fn changed(old: &ServiceSpec, new: &ServiceSpec) -> Vec<&'static str> {
    let mut found = Vec::new();
    service(old, new, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

/// Notes `name` where the field of both differs.
macro_rules! differ {
    ($found:ident, $old:ident, $($field:ident => $name:literal),+ $(,)?) => {
        $(if &$old.$field != $field {
            $found.push($name);
        })+
    };
}

fn service(old: &ServiceSpec, new: &ServiceSpec, found: &mut Vec<&'static str>) {
    let ServiceSpec {
        name,
        labels,
        mode,
        task,
        ports,
        endpoint,
        update,
        rollback,
        lost_after,
    } = new;
    differ!(found, old,
        name => "name",
        labels => "--label",
        mode => "--replicas",
        ports => "--publish",
        endpoint => "--endpoint-mode",
        update => "--update-*",
        rollback => "--rollback-*",
        lost_after => "--lost-after",
    );
    self::task(&old.task, task, found);
}

fn task(old: &TaskSpec, new: &TaskSpec, found: &mut Vec<&'static str>) {
    let TaskSpec {
        container,
        limits,
        reservations,
        restart,
        constraints,
        networks,
        spread,
        max_per_node,
        platforms,
        generic,
        log,
        force,
    } = new;
    differ!(found, old,
        limits => "--limit-*",
        reservations => "--reserve-*",
        restart => "--restart-*",
        constraints => "--constraint",
        networks => "--network",
        spread => "--placement-pref",
        max_per_node => "--replicas-max-per-node",
        platforms => "the platform of the image",
        generic => "--generic-resource",
        log => "--log-driver",
        force => "--force",
    );
    self::container(&old.container, container, found);
}

fn container(old: &ContainerSpec, new: &ContainerSpec, found: &mut Vec<&'static str>) {
    let ContainerSpec {
        image,
        pull,
        entrypoint,
        args,
        env,
        labels,
        hostname,
        user,
        groups,
        workdir,
        tty,
        read_only,
        init,
        stop_signal,
        stop_grace,
        health,
        mounts,
        secrets,
        configs,
        hosts,
        dns,
        privileges,
        sysctls,
        ulimits,
        oom_score_adj,
        shm_size,
    } = new;
    differ!(found, old,
        image => "--image",
        pull => "--pull",
        entrypoint => "--entrypoint",
        args => "--args",
        env => "--env",
        labels => "--container-label",
        hostname => "--hostname",
        user => "--user",
        groups => "--group",
        workdir => "--workdir",
        tty => "--tty",
        read_only => "--read-only",
        init => "--init",
        stop_signal => "--stop-signal",
        stop_grace => "--stop-grace-period",
        health => "--health-*",
        mounts => "--mount",
        secrets => "--secret",
        configs => "--config",
        hosts => "--host",
        dns => "--dns",
        sysctls => "--sysctl",
        ulimits => "--ulimit",
        oom_score_adj => "--oom-score-adj",
        shm_size => "--shm-size",
    );
    self::privileges(&old.privileges, privileges, found);
}

fn privileges(old: &Privileges, new: &Privileges, found: &mut Vec<&'static str>) {
    let Privileges {
        cap_add,
        cap_drop,
        privileged,
        no_new_privileges,
        seccomp,
        devices,
    } = new;
    differ!(found, old,
        cap_add => "--cap-add",
        cap_drop => "--cap-drop",
        privileged => "--privileged",
        no_new_privileges => "--security-opt",
        seccomp => "--security-opt",
        devices => "--device",
    );
}
