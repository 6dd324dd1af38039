//! From a spec and what was typed to the new spec. Pure, but for variables that are taken from here.

use std::collections::BTreeMap;

use skep_proto::image::ImageRef;
use skep_proto::spec::{
    ContainerSpec, NetworkUse, PortSpec, RestartCondition, ServiceSpec, TaskSpec,
};

use super::{change_container, change_placement, container};
use crate::args::service::{ConditionArg, UpdateArgs};
use crate::commands::labels;

/// Networks that were named, looked up.
#[derive(Debug, Default)]
pub(super) struct Networks {
    pub(super) add: Vec<NetworkUse>,
    pub(super) remove: Vec<skep_proto::ids::NetworkId>,
}

/// `spec` with what was typed.
///
/// # Errors
/// When a label cannot be read, or something does not go with the service's mode.
pub(super) fn changed(
    spec: &ServiceSpec,
    args: &UpdateArgs,
    networks: Networks,
) -> anyhow::Result<ServiceSpec> {
    let mut new = spec.clone();
    if let Some(replicas) = args.replicas {
        new.mode = change_placement::scaled(&spec.name, spec.mode, replicas)?;
    }
    change_labels(&mut new.labels, &args.label_add, &args.label_rm)?;
    change_ports(&mut new.ports, args);
    change_container(&mut new.task.container, args)?;
    change_task(&mut new.task, args, networks);
    new.task.log = args.log.driver(new.task.log.take())?;
    change_placement::change(&mut new, &args.placement)?;
    args.rollout.fill(&mut new.update, &mut new.rollback);
    Ok(new)
}

fn change_labels(
    labels: &mut BTreeMap<String, String>,
    add: &[String],
    remove: &[String],
) -> anyhow::Result<()> {
    for name in remove {
        labels.remove(name);
    }
    labels.extend(self::labels(add)?);
    Ok(())
}

fn change_ports(ports: &mut Vec<PortSpec>, args: &UpdateArgs) {
    for removed in &args.publish_rm {
        ports.retain(|port| (port.target, port.protocol) != *removed);
    }
    for added in &args.publish_add {
        // One that is published already is published anew, as in Docker.
        let same = |port: &PortSpec| {
            let outside = port.published.is_some() && port.published == added.published;
            port.protocol == added.protocol && outside
        };
        if ports.contains(added) {
            continue;
        }
        ports.retain(|port| !same(port));
        ports.push(added.clone());
    }
}

fn change_container(spec: &mut ContainerSpec, args: &UpdateArgs) -> anyhow::Result<()> {
    if let Some(image) = &args.image {
        spec.image = ImageRef {
            name: image.clone(),
            digest: None,
        };
    }
    if let Some(text) = &args.args {
        spec.args = text.0.clone();
    }
    if args.origin.pull.is_some() {
        spec.pull = crate::login::policy(args.origin.pull);
    }
    change_env(&mut spec.env, args);
    change_container::change(spec, &args.container);
    change_labels(
        &mut spec.labels,
        &args.container_label_add,
        &args.container_label_rm,
    )?;
    if let Some(name) = &args.hostname {
        spec.hostname = Some(name.clone()).filter(|name| !name.is_empty());
    }
    spec.stop_signal = args.stop_signal.or(spec.stop_signal);
    spec.stop_grace = args.stop_grace_period.unwrap_or(spec.stop_grace);
    Ok(())
}

fn change_env(env: &mut Vec<String>, args: &UpdateArgs) {
    let name = |entry: &str| entry.split('=').next().unwrap_or(entry).to_owned();
    env.retain(|entry| !args.env_rm.contains(&name(entry)));
    let typed = args
        .env_add
        .iter()
        .cloned()
        .filter_map(container::with_value);
    for added in typed {
        let place = env.iter().position(|entry| name(entry) == name(&added));
        match place.and_then(|at| env.get_mut(at)) {
            Some(entry) => *entry = added,
            None => env.push(added),
        }
    }
}

fn change_task(task: &mut TaskSpec, args: &UpdateArgs, networks: Networks) {
    if args.force {
        task.force = task.force.wrapping_add(1);
    }
    let limit = |typed: Option<u64>, had: Option<u64>| match typed {
        None => had,
        some => some.filter(|limit| *limit > 0),
    };
    task.limits.nano_cpus = limit(args.limit_cpu, task.limits.nano_cpus);
    task.limits.memory = limit(args.limit_memory, task.limits.memory);
    task.limits.pids = limit(args.limit_pids, task.limits.pids);
    let reservations = &mut task.reservations;
    reservations.nano_cpus = args.reserve_cpu.unwrap_or(reservations.nano_cpus);
    reservations.memory = args.reserve_memory.unwrap_or(reservations.memory);
    let restart = &mut task.restart;
    if let Some(condition) = args.restart_condition {
        restart.condition = match condition {
            ConditionArg::None => RestartCondition::None,
            ConditionArg::OnFailure => RestartCondition::OnFailure,
            ConditionArg::Any => RestartCondition::Any,
        };
    }
    restart.delay = args.restart_delay.unwrap_or(restart.delay);
    restart.window = args.restart_window.unwrap_or(restart.window);
    if let Some(most) = args.restart_max_attempts {
        restart.max_attempts = Some(most).filter(|most| *most > 0);
    }
    task.constraints
        .retain(|constraint| !args.constraint_rm.contains(constraint));
    for added in &args.constraint_add {
        if !task.constraints.contains(added) {
            task.constraints.push(added.clone());
        }
    }
    task.networks
        .retain(|used| !networks.remove.contains(&used.network));
    for added in networks.add {
        let there = task
            .networks
            .iter_mut()
            .find(|used| used.network == added.network);
        match there {
            Some(used) => *used = added,
            None => task.networks.push(added),
        }
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
