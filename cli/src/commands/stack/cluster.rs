//! What a stack asks of the cluster, call by call.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;
use skep_deploy::stack::{NAMESPACE, Present, ServicePresent};
use skep_proto::ids::{NetworkId, ServiceId};
use skep_proto::network::{Network, NetworkSpec};
use skep_proto::service::Service;
use skep_proto::spec::ServiceSpec;
use skep_proto::wire::{self, v1};
use tonic::{Code, Response, Status};

use super::end::End;
use super::origin::Origin;
use super::stored;
use crate::commands::client::{Client, repeats, request, text_of};
use crate::commands::service::me;
use crate::output;

/// A cluster without a leader gets so long to find one.
const PATIENCE: Duration = Duration::from_secs(15);
/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether something is to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// It is to happen.
    Change,
    /// Only say what would.
    Try,
}

/// Calls until there is an answer other than "no leader just now"; what is refused is an [`End`].
pub async fn ask<T, F, Fut>(mut call: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let begin = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if repeats(&status) && begin.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => return Err(end_of(&status).into()),
        }
    }
}

/// What a call that failed means.
pub fn end_of(status: &Status) -> End {
    let text = text_of(status);
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::DeadlineExceeded => End::NoAnswer(text),
        _ => End::Refused(text),
    }
}

/// Services, of one stack or all.
pub async fn services(
    client: &Client,
    stack: Option<&str>,
) -> anyhow::Result<Vec<v1::ServiceEntry>> {
    let labels: BTreeMap<String, String> = stack
        .map(|stack| (NAMESPACE.to_owned(), stack.to_owned()))
        .into_iter()
        .collect();
    let message = v1::ListServicesRequest {
        labels,
        ..Default::default()
    };
    let answer = ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.list_services(message).await }
    })
    .await?;
    Ok(answer.services)
}

/// All networks.
pub async fn networks(client: &Client) -> anyhow::Result<Vec<Network>> {
    let answer = ask(|| {
        let mut control = client.control.clone();
        async move {
            control
                .list_networks(v1::ListNetworksRequest::default())
                .await
        }
    })
    .await?;
    let networks = answer.networks.into_iter().map(|entry| {
        let network = entry.network.context("an answer without a network")?;
        Ok(Network::try_from(network)?)
    });
    networks.collect()
}

/// What the cluster has.
pub async fn present(client: &Client) -> anyhow::Result<Present> {
    let (networks, files, entries) = tokio::try_join!(
        networks(client),
        stored::all(client),
        services(client, None)
    )?;
    let mut services = Vec::new();
    for entry in entries {
        let service = Service::try_from(entry.service.context("an answer without a service")?)?;
        if service.removed.is_none() {
            services.push(ServicePresent {
                id: service.id,
                version: service.version,
                revision: service.revision,
                spec: service.spec,
            });
        }
    }
    Ok(Present {
        networks,
        files,
        services,
    })
}

/// Makes a network.
pub async fn create_network(client: &Client, spec: &NetworkSpec) -> anyhow::Result<NetworkId> {
    let message = v1::CreateNetworkRequest {
        request: request(),
        spec: Some(v1::NetworkSpec::from(spec)),
    };
    let answer = ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.create_network(message).await }
    })
    .await?;
    warn(&answer.warnings);
    Ok(wire::id(&answer.id, "id")?)
}

/// Makes a service.
pub async fn create_service(
    client: &Client,
    spec: &ServiceSpec,
    origin: Origin,
) -> anyhow::Result<ServiceId> {
    let message = v1::CreateServiceRequest {
        request: request(),
        registry_auth: origin.auth,
        no_resolve_image: origin.no_resolve_image,
        spec: Some(v1::ServiceSpec::from(spec)),
        by: me(),
        why: String::new(),
    };
    let answer = ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.create_service(message).await }
    })
    .await?;
    warn(&answer.warnings);
    Ok(wire::id(&answer.id, "id")?)
}

/// Changes a service that is `old`, or only says what would come of it.
pub async fn update_service(
    client: &Client,
    old: &ServicePresent,
    spec: &ServiceSpec,
    origin: Origin,
    run: Run,
) -> anyhow::Result<v1::UpdateServiceAnswer> {
    let message = v1::UpdateServiceRequest {
        request: request(),
        registry_auth: origin.auth,
        no_resolve_image: origin.no_resolve_image,
        only_try: run == Run::Try,
        reference: old.id.to_string(),
        revision: Some(old.revision),
        spec: Some(v1::ServiceSpec::from(spec)),
        by: me(),
        ..Default::default()
    };
    let answer = ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.update_service(message).await }
    })
    .await?;
    warn(&answer.warnings);
    Ok(answer)
}

/// Removes a service.
pub async fn remove_service(client: &Client, reference: &str) -> anyhow::Result<()> {
    let message = v1::RemoveServiceRequest {
        request: request(),
        reference: reference.to_owned(),
    };
    ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.remove_service(message).await }
    })
    .await?;
    Ok(())
}

/// Removes a network.
pub async fn remove_network(client: &Client, id: NetworkId) -> anyhow::Result<()> {
    let message = v1::RemoveNetworkRequest {
        request: request(),
        reference: id.to_string(),
    };
    ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.remove_network(message).await }
    })
    .await?;
    Ok(())
}

/// Tasks of a service, those that have ended too.
pub async fn tasks(client: &Client, service: ServiceId) -> anyhow::Result<Vec<v1::TaskEntry>> {
    let message = v1::ListTasksRequest {
        services: vec![service.to_string()],
        ..Default::default()
    };
    let answer = ask(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.list_tasks(message).await }
    })
    .await?;
    Ok(answer.tasks)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        output::notice(&format!("Warning: {warning}"));
    }
}
