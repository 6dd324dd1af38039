//! What a spec must satisfy by itself, without looking at the cluster. Pure.

mod container;
mod mount;

use std::collections::BTreeSet;

pub use container::{CAPABILITIES, ULIMITS, capability, is_own_sysctl};
pub use mount::{volume_driver, volume_name};

use crate::log::LogKeeping;
use crate::network::NetworkSpec;
use crate::spec::{FailureAction, Mode, PortSpec, ServiceSpec, TaskSpec, UpdateConfig};

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
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(invalid(
            field,
            format!(
                "\"{name}\" must have 1 to {LONGEST_NAME} characters, it has {}",
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
    match spec.mode {
        Mode::Replicated { replicas } if replicas > MOST_REPLICAS => {
            return Err(invalid(
                "--replicas",
                format!("{replicas} is more than the {MOST_REPLICAS} that one service can have"),
            ));
        }
        Mode::Replicated { .. } => {}
        Mode::Global | Mode::ReplicatedJob { .. } | Mode::GlobalJob => {
            return Err(invalid(
                "--mode",
                "this release runs replicated services only",
            ));
        }
    }
    LogKeeping::of(spec.task.log.as_ref()).map_err(|reason| invalid("--log-driver", reason))?;
    task(&spec.task)?;
    updates(spec)?;
    ports(&spec.ports)
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
    let job = matches!(spec.mode, Mode::ReplicatedJob { .. } | Mode::GlobalJob);
    let default = UpdateConfig::default();
    if job && (spec.update != default || spec.rollback != default) {
        return Err(invalid(
            "--update-*, --rollback-*",
            "the tasks of a job end by themselves and are never replaced; leave these options out",
        ));
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
