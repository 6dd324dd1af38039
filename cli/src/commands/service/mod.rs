//! `skep service`.

mod change;
mod change_container;
mod change_placement;
mod container;
mod create;
mod differ;
pub mod files;
mod update;

use std::process::ExitCode;

use skep_proto::ids::NetworkId;
use skep_proto::network::Network;
use skep_proto::service::Service;
use skep_proto::spec::ServiceSpec;
use skep_proto::wire::v1;

use super::client::{Client, persist, request};
use super::rows::{ServiceRow, ServiceSheet};
use super::{docker, for_each, logs, task, watch};
use crate::args::service::{PsArgs, ScaleArgs, ServiceCommand, WaitArgs};
use crate::args::{InspectArgs, ListArgs, RemoveArgs};
use crate::output::{self, Column};

pub use differ::differences;
pub use update::{me, read, rollback};

/// Does what `skep service …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: ServiceCommand) -> anyhow::Result<ExitCode> {
    match command {
        ServiceCommand::Create(args) => create::run(client, *args).await,
        ServiceCommand::Ls(args) => ls(client, args).await,
        ServiceCommand::Ps(args) => ps(client, args).await,
        ServiceCommand::Logs(args) => logs::run(client, args, logs::Of::Services).await,
        ServiceCommand::Inspect(args) => inspect(client, args).await,
        ServiceCommand::Update(args) => update::run(client, *args).await,
        ServiceCommand::Rollback(args) => rollback(client, args).await,
        ServiceCommand::Scale(args) => scale(client, args).await,
        ServiceCommand::Rm(args) => rm(client, args).await,
    }
}

/// Waits until the service is as asked for, unless told not to.
async fn finish(client: &Client, service: &str, wait: WaitArgs) -> anyhow::Result<ExitCode> {
    if wait.detach {
        return Ok(ExitCode::SUCCESS);
    }
    watch::until_converged(client, service, wait).await
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

pub(super) const COLUMNS: &[Column<ServiceRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("NAME", |row, _| row.name.clone()),
    ("MODE", |row, _| row.mode.clone()),
    ("REPLICAS", |row, _| {
        let now = format!("{}/{}", row.running, row.desired);
        match (row.completed, row.total) {
            (None, _) => now,
            (Some(done), Some(total)) => format!("{now} ({done}/{total} completed)"),
            (Some(done), None) => format!("{now} ({done} completed)"),
        }
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
    let (mut rows, mut sheets) = (Vec::new(), Vec::new());
    for reference in &args.objects {
        let entry = get(client, reference).await?;
        sheets.push(docker::service(&entry)?);
        rows.push(ServiceSheet::read(entry)?);
    }
    output::inspected(&rows, &sheets, args.form())?;
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
        let (name, mode) = (&service.spec.name, service.spec.mode);
        let spec = ServiceSpec {
            mode: change_placement::scaled(name, mode, *replicas)?,
            ..ServiceSpec::clone(&service.spec)
        };
        let message = v1::UpdateServiceRequest {
            request: request(),
            reference: service.id.to_string(),
            version: None,
            spec: Some(v1::ServiceSpec::from(&spec)),
            revision: Some(service.revision),
            by: me(),
            ..Default::default()
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
