//! What changes about a service's containers. Pure.

use skep_proto::spec::{ContainerSpec, HealthCheck, HealthTest};

use crate::args::service::UpdateContainerArgs;

/// Puts what was typed into `spec`.
pub(super) fn change(spec: &mut ContainerSpec, args: &UpdateContainerArgs) {
    let text = |typed: &Option<String>, had: &mut Option<String>| {
        if let Some(typed) = typed {
            *had = Some(typed.clone()).filter(|text| !text.is_empty());
        }
    };
    if let Some(words) = &args.entrypoint {
        spec.entrypoint.clone_from(&words.0);
    }
    text(&args.user, &mut spec.user);
    text(&args.workdir, &mut spec.workdir);
    spec.read_only = args.read_only.unwrap_or(spec.read_only);
    spec.init = args.init.unwrap_or(spec.init);
    spec.tty = args.tty.unwrap_or(spec.tty);
    spec.oom_score_adj = args.oom_score_adj.unwrap_or(spec.oom_score_adj);
    spec.shm_size = args.shm_size.or(spec.shm_size);
    list(&mut spec.groups, &args.group_add, &args.group_rm);
    list(&mut spec.hosts, &args.host_add, &args.host_rm);
    list(&mut spec.dns.servers, &args.dns_add, &args.dns_rm);
    list(
        &mut spec.dns.search,
        &args.dns_search_add,
        &args.dns_search_rm,
    );
    list(
        &mut spec.dns.options,
        &args.dns_option_add,
        &args.dns_option_rm,
    );
    let privileges = &mut spec.privileges;
    list(&mut privileges.cap_add, &args.cap_add, &args.cap_drop);
    list(&mut privileges.cap_drop, &args.cap_drop, &args.cap_add);
    spec.ulimits.retain(|limit| {
        let anew = args.ulimit_add.iter().any(|it| it.name == limit.name);
        !anew && !args.ulimit_rm.contains(&limit.name)
    });
    spec.ulimits.extend(args.ulimit_add.iter().cloned());
    for name in &args.sysctl_rm {
        spec.sysctls.remove(name);
    }
    spec.sysctls.extend(args.sysctl_add.iter().cloned());
    spec.mounts.retain(|mount| {
        let anew = args.mount_add.iter().any(|it| it.target == mount.target);
        !anew && !args.mount_rm.contains(&mount.target)
    });
    spec.mounts.extend(args.mount_add.iter().cloned());
    change_health(&mut spec.health, args);
}

fn list<T: Clone + PartialEq>(had: &mut Vec<T>, add: &[T], remove: &[T]) {
    had.retain(|one| !remove.contains(one));
    for added in add {
        if !had.contains(added) {
            had.push(added.clone());
        }
    }
}

fn change_health(health: &mut Option<HealthCheck>, args: &UpdateContainerArgs) {
    let mut new = health.clone().unwrap_or_default();
    if args.no_healthcheck {
        new.test = Some(HealthTest::None);
    }
    if let Some(line) = &args.health_cmd {
        // As Docker does: an empty command is the image's check again.
        new.test = (!line.is_empty()).then(|| HealthTest::Shell(line.clone()));
    }
    new.interval = args.health_interval.or(new.interval);
    new.timeout = args.health_timeout.or(new.timeout);
    new.retries = args.health_retries.or(new.retries);
    new.start_period = args.health_start_period.or(new.start_period);
    new.start_interval = args.health_start_interval.or(new.start_interval);
    *health = Some(new).filter(|check| *check != HealthCheck::default());
}
