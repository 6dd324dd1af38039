//! What a spec must satisfy by itself, without looking at the cluster. Pure.

mod container;
mod file;
mod mount;
mod token;

use std::collections::BTreeSet;

pub use container::{CAPABILITIES, ULIMITS, capability, is_own_sysctl};
pub use file::{content, file};
pub use mount::{volume_driver, volume_name};
pub use token::token;

use crate::log::LogKeeping;
use crate::network::NetworkSpec;
use crate::spec::{
    EndpointMode, FailureAction, Mode, PortSpec, PublishMode, ServiceSpec, TaskSpec, UpdateConfig,
};

/// What is wrong with a spec: the field, the reason, the way out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// The field as the user knows it, such as `--limit-memory`.
    pub field: &'static str,
    /// What is wrong and what would be accepted.
    pub reason: String,
}

/// Smallest memory limit in bytes: Docker's 6 MiB.
pub const MINIMUM_MEMORY: u64 = 6 * 1024 * 1024;
/// Smallest processor limit: a hundredth of a core, the kernel's shortest quota over its default period.
pub const MINIMUM_NANO_CPUS: u64 = 10_000_000;
/// Longest name: what a DNS label can hold.
pub const LONGEST_NAME: usize = 63;
/// Most spread preferences of one service: each divides the cluster once more.
pub const MOST_SPREADS: usize = 8;
/// Most replicas of one service.
pub const MOST_REPLICAS: u32 = 100_000;

fn invalid(field: &'static str, reason: impl Into<String>) -> Invalid {
    Invalid {
        field,
        reason: reason.into(),
    }
}

/// A name of a service or network: letters, digits, `-`, `_`, `.`; a letter or digit at both ends.
///
/// # Errors
/// Says which rule `name` breaks.
pub fn name(field: &'static str, name: &str) -> Result<(), Invalid> {
    named(field, name, LONGEST_NAME)
}

fn named(field: &'static str, name: &str, longest: usize) -> Result<(), Invalid> {
    if name.is_empty() || name.len() > longest {
        return Err(invalid(
            field,
            format!(
                "\"{name}\" must have 1 to {longest} characters, it has {}",
                name.len()
            ),
        ));
    }
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if ends(name.chars().next()) && ends(name.chars().next_back()) && name.chars().all(inner) {
        Ok(())
    } else {
        Err(invalid(
            field,
            format!(
                "\"{name}\" may hold letters, digits, \"-\", \"_\" and \".\" only, and must begin and \
                 end with a letter or digit"
            ),
        ))
    }
}

/// Checks a service's spec.
///
/// # Errors
/// Names the first field that is wrong.
pub fn service(spec: &ServiceSpec) -> Result<(), Invalid> {
    name("--name", &spec.name)?;
    mode(spec)?;
    LogKeeping::of(spec.task.log.as_ref()).map_err(|reason| invalid("--log-driver", reason))?;
    task(&spec.task)?;
    placement(&spec.task)?;
    updates(spec)?;
    ports(&spec.ports)?;
    let ingress = |port: &&PortSpec| port.mode == PublishMode::Ingress;
    match spec.ports.iter().find(ingress) {
        Some(port) if spec.endpoint == EndpointMode::Dnsrr => Err(invalid(
            "--endpoint-mode",
            format!(
                "dnsrr has no address that port {} could be published on in ingress mode; use vip, or publish \
                 with mode=host",
                port.target
            ),
        )),
        _ => Ok(()),
    }
}

fn mode(spec: &ServiceSpec) -> Result<(), Invalid> {
    let most = |field, number: u32| {
        let reason = format!("{number} is more than the {MOST_REPLICAS} that one service can have");
        invalid(field, reason)
    };
    match spec.mode {
        Mode::Replicated { replicas: wanted } | Mode::ReplicatedJob { total: wanted, .. }
            if wanted > MOST_REPLICAS =>
        {
            return Err(most("--replicas", wanted));
        }
        Mode::ReplicatedJob {
            max_concurrent: 0, ..
        } => {
            return Err(invalid(
                "--max-concurrent",
                "at least one task must be allowed to run at a time",
            ));
        }
        Mode::Global | Mode::GlobalJob if spec.task.max_per_node.is_some() => {
            return Err(invalid(
                "--replicas-max-per-node",
                "a global service has one task on each node; use it with replicated or replicated-job",
            ));
        }
        Mode::Global | Mode::GlobalJob if !spec.task.spread.is_empty() => {
            return Err(invalid(
                "--placement-pref",
                "a global service has one task on each node; use it with replicated or replicated-job",
            ));
        }
        _ => {}
    }
    Ok(())
}

fn placement(spec: &TaskSpec) -> Result<(), Invalid> {
    if spec.max_per_node == Some(0) {
        return Err(invalid(
            "--replicas-max-per-node",
            "with 0 no node could have a task; leave it out for no bound",
        ));
    }
    if spec.spread.len() > MOST_SPREADS {
        return Err(invalid(
            "--placement-pref",
            format!("at most {MOST_SPREADS} can be nested"),
        ));
    }
    let bad = spec
        .generic
        .iter()
        .find(|(kind, amount)| kind.is_empty() || **amount == 0);
    match bad {
        Some((kind, amount)) => Err(invalid(
            "--generic-resource",
            format!("\"{kind}={amount}\" is not KIND=AMOUNT with an amount of at least 1"),
        )),
        None => Ok(()),
    }
}

fn updates(spec: &ServiceSpec) -> Result<(), Invalid> {
    let ratios = [
        ("--update-max-failure-ratio", &spec.update),
        ("--rollback-max-failure-ratio", &spec.rollback),
    ];
    for (field, config) in ratios {
        if config.max_failure_millionths > 1_000_000 {
            return Err(invalid(field, "a ratio is from 0 to 1"));
        }
    }
    if spec.rollback.failure_action == FailureAction::Rollback {
        return Err(invalid(
            "--rollback-failure-action",
            "a rollback that fails cannot roll back; choose pause or continue",
        ));
    }
    for (field, settings) in [
        ("--update-*", &spec.update),
        ("--rollback-*", &spec.rollback),
    ] {
        if spec.mode.is_job() && *settings != UpdateConfig::default() {
            return Err(invalid(
                field,
                "a job is not updated task by task: a change begins it anew; leave these options out",
            ));
        }
    }
    Ok(())
}

fn task(spec: &TaskSpec) -> Result<(), Invalid> {
    let container = &spec.container;
    if container.image.name.is_empty() {
        return Err(invalid("IMAGE", "an image is missing"));
    }
    for entry in &container.env {
        if entry.starts_with('=') || entry.is_empty() || entry.contains('\0') {
            return Err(invalid("--env", format!("\"{entry}\" is not NAME=VALUE")));
        }
    }
    if container.args.iter().any(|arg| arg.contains('\0')) {
        return Err(invalid("ARGS", "an argument holds a zero byte"));
    }
    container::check(container)?;
    mount::check(&container.mounts)?;
    file::check(container)?;
    let bounds = [
        (
            "--limit-memory",
            spec.limits.memory,
            spec.reservations.memory,
            MINIMUM_MEMORY,
        ),
        (
            "--limit-cpu",
            spec.limits.nano_cpus,
            spec.reservations.nano_cpus,
            MINIMUM_NANO_CPUS,
        ),
    ];
    for (field, limit, reserved, minimum) in bounds {
        let Some(limit) = limit else { continue };
        if limit < minimum {
            let least = if field == "--limit-memory" {
                "6MiB"
            } else {
                "0.01"
            };
            return Err(invalid(
                field,
                format!("the least that can be set is {least}"),
            ));
        }
        if limit < reserved {
            return Err(invalid(
                field,
                "is lower than what is reserved; raise it or reserve less",
            ));
        }
    }
    let mut networks = BTreeSet::new();
    match spec
        .networks
        .iter()
        .find(|used| !networks.insert(used.network))
    {
        Some(_) => Err(invalid("--network", "the same network is named twice")),
        None => Ok(()),
    }
}

fn ports(ports: &[PortSpec]) -> Result<(), Invalid> {
    let mut taken = BTreeSet::new();
    for port in ports {
        if port.target == 0 || port.published == Some(0) {
            return Err(invalid("--publish", "a port is a number from 1 to 65535"));
        }
        let Some(published) = port.published else {
            continue;
        };
        if !taken.insert((port.protocol, published)) {
            return Err(invalid(
                "--publish",
                format!("port {published} is published twice"),
            ));
        }
    }
    Ok(())
}

/// Checks a network's spec.
///
/// # Errors
/// Names the first field that is wrong.
pub fn network(spec: &NetworkSpec) -> Result<(), Invalid> {
    name("NETWORK", &spec.name)?;
    if let Some(subnet) = spec.subnet {
        if subnet.prefix_len() > 29 || subnet.prefix_len() < 8 {
            return Err(invalid(
                "--subnet",
                format!("{subnet} must be from /8 to /29"),
            ));
        }
        if subnet.addr() != subnet.network() {
            return Err(invalid(
                "--subnet",
                format!(
                    "{subnet} has bits set behind its prefix; did you mean {}?",
                    subnet.trunc()
                ),
            ));
        }
        let outside = |gateway| !subnet.contains(&gateway) || gateway == subnet.network();
        if let Some(gateway) = spec.gateway.filter(|gateway| outside(*gateway)) {
            return Err(invalid(
                "--gateway",
                format!("{gateway} is not a host address in {subnet}"),
            ));
        }
    } else if spec.gateway.is_some() {
        return Err(invalid("--gateway", "needs --subnet"));
    }
    match spec.mtu {
        Some(mtu) if mtu < 576 => Err(invalid(
            "--opt mtu",
            format!("{mtu} is less than 576, the least that IPv4 allows"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns() {
        for good in ["a", "web", "web-1", "a.b_c", "9lives"] {
            assert_eq!(name("--name", good), Ok(()), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "a-", "a b", "ä", ".a", long.as_str()] {
            assert!(name("--name", bad).is_err(), "{bad}");
        }
    }
}
