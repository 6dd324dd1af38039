//! `skep stack rm`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use skep_deploy::stack::NAMESPACE;

use super::end::End;
use super::{cluster, stored};
use crate::args::stack::RmArgs;
use crate::commands::client::Client;
use crate::commands::for_each;
use crate::output;

/// Tasks get so long to end, and networks to be free: the longest grace period that is usual, and some more.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Does what `skep stack rm` says.
pub async fn run(client: &Client, args: RmArgs) -> anyhow::Result<ExitCode> {
    for_each(&args.stacks, |stack| {
        let client = client.clone();
        async move { remove(&client, &stack, args.detach).await }
    })
    .await
}

async fn remove(client: &Client, stack: &str, detach: bool) -> anyhow::Result<()> {
    let present = cluster::present(client).await?;
    let label = Some(stack.to_owned());
    let ours = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(NAMESPACE).cloned() == label
    };
    let services: Vec<_> = present
        .services
        .iter()
        .filter(|service| ours(&service.spec.labels))
        .collect();
    let networks: Vec<_> = present
        .networks
        .iter()
        .filter(|network| ours(&network.spec.labels))
        .collect();
    let files = present.files.iter().filter(|file| ours(&file.spec.labels));
    let files: Vec<_> = files.collect();
    if services.is_empty() && networks.is_empty() && files.is_empty() {
        bail!("there is no stack \"{stack}\"; see what there is with: skep stack ls");
    }
    for service in services {
        output::line(&format!("Removing service {}", service.spec.name))?;
        cluster::remove_service(client, &service.id.to_string()).await?;
    }
    for file in files {
        let (kind, name) = (file.id.kind(), &file.spec.name);
        output::line(&format!("Removing {kind} {name}"))?;
        let removed = stored::remove(client, file.id).await;
        removed.map_err(|error| error.context(format!("{kind} {name}")))?;
    }
    let begin = Instant::now();
    for network in networks {
        output::line(&format!("Removing network {}", network.spec.name))?;
        while let Err(error) = cluster::remove_network(client, network.id).await {
            let in_use = matches!(error.downcast_ref::<End>(), Some(End::Refused(_)));
            if detach || !in_use || begin.elapsed() > PATIENCE {
                return Err(error.context(format!("network {}", network.spec.name)));
            }
            // Its tasks are ending.
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}
