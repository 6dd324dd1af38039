//! From what was typed about a service's containers to their spec.

use anyhow::Context;
use skep_proto::spec::{ContainerSpec, DnsConfig, HealthCheck, HealthTest, Privileges, Seccomp};

use crate::args::read::container::{Security, env_file};
use crate::args::service::{ContainerArgs, HealthArgs};

/// Puts what was typed into `spec`, which has its own environment already.
///
/// # Errors
/// When an environment file cannot be read.
pub(super) fn fill(args: ContainerArgs, spec: &mut ContainerSpec) -> anyhow::Result<()> {
    let mut env = Vec::new();
    for path in &args.env_file {
        let shown = path.display();
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("--env-file: cannot read {shown}"))?;
        let entries = env_file(&text).map_err(|reason| anyhow::anyhow!("{shown}: {reason}"))?;
        env.extend(entries.into_iter().filter_map(with_value));
    }
    env.append(&mut spec.env);
    spec.env = env;
    spec.privileges = privileges(&args);
    spec.entrypoint = args.entrypoint.map(|words| words.0).unwrap_or_default();
    spec.user = args.user;
    spec.groups = args.group;
    spec.workdir = args.workdir;
    spec.read_only = args.read_only;
    spec.init = args.init;
    spec.hosts = args.hosts;
    spec.dns = DnsConfig {
        servers: args.dns,
        search: args.dns_search,
        options: args.dns_option,
    };
    spec.ulimits = args.ulimit;
    spec.sysctls = args.sysctl.into_iter().collect();
    spec.oom_score_adj = args.oom_score_adj;
    spec.shm_size = args.shm_size;
    spec.mounts = args.mount.into_iter().chain(args.volume).collect();
    Ok(())
}

/// The health check that was typed; none if nothing was.
///
/// # Errors
/// When a check is both asked for and refused.
pub(super) fn health(args: HealthArgs) -> anyhow::Result<Option<HealthCheck>> {
    let check = HealthCheck {
        test: args.health_cmd.map(HealthTest::Shell),
        interval: args.health_interval.filter(|time| !time.is_zero()),
        timeout: args.health_timeout.filter(|time| !time.is_zero()),
        retries: args.health_retries.filter(|retries| *retries > 0),
        start_period: args.health_start_period,
        start_interval: args.health_start_interval.filter(|time| !time.is_zero()),
    };
    let asked = check != HealthCheck::default();
    anyhow::ensure!(
        !(args.no_healthcheck && asked),
        "--no-healthcheck takes the check away, so no --health option can go with it"
    );
    if args.no_healthcheck {
        let test = Some(HealthTest::None);
        return Ok(Some(HealthCheck {
            test,
            ..HealthCheck::default()
        }));
    }
    Ok(asked.then_some(check))
}

/// As Docker does: a bare name takes the value from here, and is left out where there is none.
pub(super) fn with_value(entry: String) -> Option<String> {
    if entry.contains('=') {
        return Some(entry);
    }
    let value = std::env::var(&entry).ok()?;
    Some(format!("{entry}={value}"))
}

fn privileges(args: &ContainerArgs) -> Privileges {
    let mut privileges = Privileges {
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        privileged: args.privileged,
        devices: args.device.clone(),
        ..Privileges::default()
    };
    for option in &args.security_opt {
        match option {
            Security::NoNewPrivileges(kept) => privileges.no_new_privileges = *kept,
            Security::SeccompUnconfined => privileges.seccomp = Seccomp::Unconfined,
        }
    }
    privileges
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
