//! `skep service`.

use std::process::ExitCode;

use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::network::Network;
use skep_proto::resources::{Limits, Resources};
use skep_proto::service::Service;
use skep_proto::spec::{
    ContainerSpec, Mode, NetworkUse, RestartCondition, RestartPolicy, ServiceSpec, TaskSpec,
};
use skep_proto::wire::{self, v1};

use super::client::{Client, persist, request};
use super::rows::{ServiceRow, ServiceSheet};
use super::{for_each, labels, task, watch};
use crate::args::service::{ConditionArg, CreateArgs, PsArgs, ScaleArgs, ServiceCommand, WaitArgs};
use crate::args::{InspectArgs, ListArgs, RemoveArgs};
use crate::output::{self, Column};

/// Does what `skep service …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: ServiceCommand) -> anyhow::Result<ExitCode> {
    match command {
        ServiceCommand::Create(args) => create(client, *args).await,
        ServiceCommand::Ls(args) => ls(client, args).await,
        ServiceCommand::Ps(args) => ps(client, args).await,
        ServiceCommand::Inspect(args) => inspect(client, args).await,
        ServiceCommand::Scale(args) => scale(client, args).await,
        ServiceCommand::Rm(args) => rm(client, args).await,
    }
}

async fn create(client: &Client, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let wait = args.wait;
    let spec = v1::ServiceSpec::from(&spec(client, args).await?);
    let message = v1::CreateServiceRequest {
        request: request(),
        spec: Some(spec),
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

/// Waits until the service is as asked for, unless told not to.
async fn finish(client: &Client, service: &str, wait: WaitArgs) -> anyhow::Result<ExitCode> {
    if wait.detach {
        return Ok(ExitCode::SUCCESS);
    }
    watch::until_converged(client, service, wait.quiet).await
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
    let mode = Mode::Replicated {
        replicas: args.replicas,
    };
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
        ..TaskSpec::new(container(args)?)
    };
    Ok(ServiceSpec {
        labels,
        mode,
        ports,
        ..ServiceSpec::new(name, task)
    })
}

fn container(args: CreateArgs) -> anyhow::Result<ContainerSpec> {
    let env = args.env.into_iter().filter_map(|entry| {
        // As Docker does: a bare name takes the value from here, and is left out where there is none.
        if entry.contains('=') {
            return Some(entry);
        }
        std::env::var(&entry)
            .ok()
            .map(|value| format!("{entry}={value}"))
    });
    Ok(ContainerSpec {
        args: args.args,
        env: env.collect(),
        labels: labels(&args.container_label)?,
        hostname: args.hostname,
        stop_signal: args.stop_signal,
        stop_grace: args.stop_grace_period,
        ..ContainerSpec::new(args.image)
    })
}

/// A name that hardly clashes, for a service that was given none.
fn made_up_name() -> String {
    let number: u32 = rand::random();
    format!("service-{number:08x}")
}

async fn network_id(client: &Client, name: &str) -> anyhow::Result<NetworkId> {
    let message = v1::GetRequest {
        reference: name.to_owned(),
        read: None,
    };
    let entry = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.get_network(message).await }
    })
    .await?;
    let network = entry
        .network
        .ok_or_else(|| anyhow::anyhow!("an answer without a network"))?;
    Ok(Network::try_from(network)?.id)
}

const COLUMNS: &[Column<ServiceRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("NAME", |row, _| row.name.clone()),
    ("MODE", |row, _| row.mode.clone()),
    ("REPLICAS", |row, _| {
        format!("{}/{}", row.running, row.desired)
    }),
    ("IMAGE", |row, _| row.image.clone()),
    ("PORTS", |row, _| row.ports.join(", ")),
];

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let answer = persist(|| {
        let mut control = client.control.clone();
        async move {
            control
                .list_services(v1::ListServicesRequest::default())
                .await
        }
    })
    .await?;
    let mut rows = answer
        .services
        .into_iter()
        .map(ServiceRow::read)
        .collect::<anyhow::Result<Vec<_>>>()?;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    output::list(&rows, COLUMNS, |row| &row.id, &args)?;
    Ok(ExitCode::SUCCESS)
}

async fn get(client: &Client, reference: &str) -> anyhow::Result<v1::ServiceEntry> {
    let message = v1::GetRequest {
        reference: reference.to_owned(),
        read: None,
    };
    persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.get_service(message).await }
    })
    .await
}

async fn ps(client: &Client, args: PsArgs) -> anyhow::Result<ExitCode> {
    task::list(
        client,
        v1::ListTasksRequest {
            services: args.services,
            ..Default::default()
        },
        &args.list,
    )
    .await
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let mut sheets = Vec::new();
    for reference in &args.objects {
        sheets.push(ServiceSheet::read(get(client, reference).await?)?);
    }
    output::objects(&sheets, args.format)?;
    Ok(ExitCode::SUCCESS)
}

async fn scale(client: &Client, args: ScaleArgs) -> anyhow::Result<ExitCode> {
    let mut scaled = Vec::new();
    for (reference, replicas) in &args.services {
        let entry = get(client, reference).await?;
        let service = entry
            .service
            .ok_or_else(|| anyhow::anyhow!("an answer without a service"))?;
        let service = Service::try_from(service)?;
        let spec = ServiceSpec {
            mode: Mode::Replicated {
                replicas: *replicas,
            },
            ..ServiceSpec::clone(&service.spec)
        };
        let message = v1::UpdateServiceRequest {
            request: request(),
            reference: service.id.to_string(),
            version: Some(service.version),
            spec: Some(v1::ServiceSpec::from(&spec)),
        };
        persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.update_service(message).await }
        })
        .await?;
        output::line(&format!("{} scaled to {replicas}", service.spec.name))?;
        scaled.push(service.id.to_string());
    }
    for service in scaled {
        let code = finish(client, &service, args.wait).await?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn rm(client: &Client, args: RemoveArgs) -> anyhow::Result<ExitCode> {
    for_each(&args.objects, |reference| async move {
        let message = v1::RemoveServiceRequest {
            request: request(),
            reference: reference.clone(),
        };
        persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.remove_service(message).await }
        })
        .await?;
        Ok(output::line(&reference)?)
    })
    .await
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
