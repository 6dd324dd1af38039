//! What changes about how many tasks a service has and where they go. Pure.

use skep_proto::spec::{Mode, ServiceSpec, TaskSpec};

use crate::args::service::UpdatePlacementArgs;

/// The mode of the service called `name` with another number of tasks.
///
/// # Errors
/// When its tasks are not counted.
pub(super) fn scaled(name: &str, mode: Mode, replicas: u32) -> anyhow::Result<Mode> {
    match mode {
        Mode::Replicated { .. } => Ok(Mode::Replicated { replicas }),
        Mode::ReplicatedJob { max_concurrent, .. } => Ok(Mode::ReplicatedJob {
            total: replicas,
            max_concurrent,
        }),
        Mode::Global | Mode::GlobalJob => anyhow::bail!(
            "service \"{name}\" cannot be scaled: it is global and has one task on each node that meets its \
             constraints; change those, or create it with --mode replicated"
        ),
    }
}

/// Puts what was typed into `spec`.
///
/// # Errors
/// When something does not go with the service's mode.
pub(super) fn change(spec: &mut ServiceSpec, args: &UpdatePlacementArgs) -> anyhow::Result<()> {
    if let Some(most) = args.max_concurrent {
        let Mode::ReplicatedJob { total, .. } = spec.mode else {
            anyhow::bail!(
                "--max-concurrent: service \"{}\" is no replicated job",
                spec.name
            );
        };
        let max_concurrent = if most == 0 { total.max(1) } else { most };
        spec.mode = Mode::ReplicatedJob {
            total,
            max_concurrent,
        };
    }
    if let Some(after) = args.lost_after {
        spec.lost_after = Some(after).filter(|after| !after.is_zero());
    }
    if let Some(endpoint) = args.endpoint_mode {
        spec.endpoint = endpoint.into();
    }
    change_task(&mut spec.task, args);
    Ok(())
}

fn change_task(task: &mut TaskSpec, args: &UpdatePlacementArgs) {
    task.spread
        .retain(|key| !args.placement_pref_rm.contains(key));
    for added in &args.placement_pref_add {
        if !task.spread.contains(added) {
            task.spread.push(added.clone());
        }
    }
    if let Some(most) = args.replicas_max_per_node {
        task.max_per_node = Some(most).filter(|most| *most > 0);
    }
    for kind in &args.generic_resource_rm {
        task.generic.remove(kind);
    }
    task.generic.extend(args.generic_resource_add.clone());
}
