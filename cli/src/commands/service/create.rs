//! `skep service create`.

use std::process::ExitCode;

use skep_proto::ids::ServiceId;
use skep_proto::resources::{Limits, Resources};
use skep_proto::spec::{
    ContainerSpec, NetworkUse, RestartCondition, RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig,
};
use skep_proto::wire::{self, v1};

use super::{container, files, finish, me, network_id};
use crate::args::service::{ConditionArg, CreateArgs};
use crate::commands::client::{Client, persist, request};
use crate::commands::labels;
use crate::{login, output};

/// Makes the service that was typed, and waits until it runs unless told not to.
pub(super) async fn run(client: &Client, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let (wait, why, origin) = (args.wait, args.reason.clone(), args.origin.clone());
    let registry_auth = login::for_image(&args.image, &origin)?;
    let spec = v1::ServiceSpec::from(&spec(client, args).await?);
    let message = v1::CreateServiceRequest {
        request: request(),
        spec: Some(spec),
        registry_auth,
        no_resolve_image: origin.no_resolve_image,
        by: me(),
        why: why.unwrap_or_default(),
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.create_service(message).await }
    })
    .await?;
    for warning in &answer.warnings {
        output::notice(&format!("Warning: {warning}"));
    }
    let id = wire::id::<ServiceId>(&answer.id, "id")?.to_string();
    output::line(&id)?;
    finish(client, &id, wait).await
}

/// The spec that was typed, with its networks looked up.
async fn spec(client: &Client, args: CreateArgs) -> anyhow::Result<ServiceSpec> {
    let mut networks = Vec::new();
    for network in &args.network {
        networks.push(NetworkUse {
            network: network_id(client, &network.name).await?,
            aliases: network.aliases.clone(),
        });
    }
    let name = args.name.clone().unwrap_or_else(made_up_name);
    let (labels, ports) = (labels(&args.label)?, args.publish.clone());
    let (mut update, mut rollback) = (UpdateConfig::default(), UpdateConfig::default());
    args.rollout.fill(&mut update, &mut rollback);
    let placement = args.placement.clone();
    let wanted = files::find(client, &args.container.secret, &args.container.config).await?;
    let mode = placement.mode()?;
    let task = TaskSpec {
        limits: Limits {
            nano_cpus: args.limit_cpu,
            memory: args.limit_memory,
            pids: args.limit_pids,
        },
        reservations: Resources {
            nano_cpus: args.reserve_cpu.unwrap_or(0),
            memory: args.reserve_memory.unwrap_or(0),
        },
        restart: RestartPolicy {
            condition: match args.restart_condition {
                ConditionArg::None => RestartCondition::None,
                ConditionArg::OnFailure => RestartCondition::OnFailure,
                ConditionArg::Any => RestartCondition::Any,
            },
            delay: args.restart_delay,
            max_attempts: args.restart_max_attempts.filter(|most| *most > 0),
            window: args.restart_window,
        },
        constraints: args.constraint.clone(),
        networks,
        log: args.log.driver(None)?,
        spread: placement.placement_pref.clone(),
        max_per_node: placement.replicas_max_per_node.filter(|most| *most > 0),
        generic: placement.generic_resource.iter().cloned().collect(),
        ..TaskSpec::new(ContainerSpec {
            secrets: wanted.secrets,
            configs: wanted.configs,
            ..container(args)?
        })
    };
    Ok(ServiceSpec {
        labels,
        mode,
        ports,
        update,
        rollback,
        endpoint: placement.endpoint(),
        lost_after: placement.lost_after,
        ..ServiceSpec::new(name, task)
    })
}

fn container(args: CreateArgs) -> anyhow::Result<ContainerSpec> {
    let mut spec = ContainerSpec {
        pull: login::policy(args.origin.pull),
        args: args.args,
        env: args
            .env
            .into_iter()
            .filter_map(container::with_value)
            .collect(),
        labels: labels(&args.container_label)?,
        hostname: args.hostname,
        stop_signal: args.stop_signal,
        tty: args.tty,
        stop_grace: args.stop_grace_period,
        ..ContainerSpec::new(args.image)
    };
    container::fill(args.container, &mut spec)?;
    spec.health = container::health(args.health)?;
    Ok(spec)
}

/// A name that hardly clashes, for a service that was given none.
fn made_up_name() -> String {
    let number: u32 = rand::random();
    format!("service-{number:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_name_is_a_good_name() {
        assert_eq!(
            skep_proto::validate::name("--name", &made_up_name()),
            Ok(())
        );
    }
}
