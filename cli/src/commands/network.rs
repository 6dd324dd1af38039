//! `skep network`.

use std::process::ExitCode;

use skep_proto::ids::NetworkId;
use skep_proto::network::NetworkSpec;
use skep_proto::wire::{self, v1};

use super::client::{Client, persist, request};
use super::rows::NetworkRow;
use super::{docker, for_each, labels};
use crate::args::network::{CreateArgs, NetworkCommand};
use crate::args::{InspectArgs, ListArgs, RemoveArgs};
use crate::output::{self, Column};

/// Does what `skep network …` says.
///
/// # Errors
/// What the user is to read.
pub async fn run(client: &Client, command: NetworkCommand) -> anyhow::Result<ExitCode> {
    match command {
        NetworkCommand::Create(args) => create(client, args).await,
        NetworkCommand::Ls(args) => ls(client, args).await,
        NetworkCommand::Inspect(args) => inspect(client, args).await,
        NetworkCommand::Rm(args) => rm(client, args).await,
    }
}

async fn create(client: &Client, args: CreateArgs) -> anyhow::Result<ExitCode> {
    let spec = NetworkSpec {
        name: args.name,
        labels: labels(&args.label)?,
        internal: args.internal,
        attachable: false,
        ingress: false,
        subnet: args.subnet,
        gateway: args.gateway,
        mtu: None,
    };
    let message = v1::CreateNetworkRequest {
        request: request(),
        spec: Some(v1::NetworkSpec::from(&spec)),
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.create_network(message).await }
    })
    .await?;
    output::line(&wire::id::<NetworkId>(&answer.id, "id")?.to_string())?;
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: &[Column<NetworkRow>] = &[
    ("ID", |row, width| width.id(&row.id)),
    ("NAME", |row, _| row.name.clone()),
    ("DRIVER", |row, _| row.driver.clone()),
    ("SCOPE", |row, _| row.scope.clone()),
    ("SUBNET", |row, _| row.subnet.clone()),
    ("SERVICES", |row, _| row.services.len().to_string()),
];

async fn ls(client: &Client, args: ListArgs) -> anyhow::Result<ExitCode> {
    let answer = persist(|| {
        let mut control = client.control.clone();
        async move {
            control
                .list_networks(v1::ListNetworksRequest::default())
                .await
        }
    })
    .await?;
    let mut rows = answer
        .networks
        .into_iter()
        .map(NetworkRow::read)
        .collect::<anyhow::Result<Vec<_>>>()?;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    output::list(&rows, COLUMNS, |row| &row.id, &args)?;
    Ok(ExitCode::SUCCESS)
}

async fn inspect(client: &Client, args: InspectArgs) -> anyhow::Result<ExitCode> {
    let (form, mut rows, mut sheets) = (args.form(), Vec::new(), Vec::new());
    for reference in args.objects {
        let message = v1::GetRequest {
            reference,
            read: None,
        };
        let entry = persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.get_network(message).await }
        })
        .await?;
        sheets.push(docker::network(&entry)?);
        rows.push(NetworkRow::read(entry)?);
    }
    output::inspected(&rows, &sheets, form)?;
    Ok(ExitCode::SUCCESS)
}

async fn rm(client: &Client, args: RemoveArgs) -> anyhow::Result<ExitCode> {
    for_each(&args.objects, |reference| async move {
        let message = v1::RemoveNetworkRequest {
            request: request(),
            reference: reference.clone(),
        };
        persist(|| {
            let (mut control, message) = (client.control.clone(), message.clone());
            async move { control.remove_network(message).await }
        })
        .await?;
        Ok(output::line(&reference)?)
    })
    .await
}
