//! `skep service update` and `skep service rollback`: plan, apply, watch, and an exit code that tells the end.

use std::process::ExitCode;

use anyhow::Context;
use skep_proto::service::Service;
use skep_proto::spec::{NetworkUse, ServiceSpec};
use skep_proto::wire::v1;

use super::change::{Networks, changed};
use super::differ::differences;
use super::{files, get, network_id};
use crate::args::service::{RollbackArgs, UpdateArgs, WaitArgs};
use crate::commands::client::{Client, persist, request};
use crate::commands::verdict::{End, Goal};
use crate::commands::watch;
use crate::{login, output};

/// Exit code of `--plan` where something would change.
const DIFFERS: u8 = 2;

/// Changes a service as was typed, and waits for the end of it unless told not to.
pub(super) async fn run(client: &Client, args: UpdateArgs) -> anyhow::Result<ExitCode> {
    let (service, wait) = (args.service.clone(), args.wait);
    let done = if args.rollback {
        let back = RollbackArgs {
            service: args.service,
            to: None,
            reason: args.reason,
            plan: args.plan,
            wait,
        };
        return rollback(client, back).await;
    } else {
        update(client, args).await
    };
    done.or_else(|error| watch::tell(&service, &watch::end_of(&error), wait))
}

/// Takes a service back, and waits for the end of it unless told not to.
///
/// # Errors
/// When nothing can be written.
pub async fn rollback(client: &Client, args: RollbackArgs) -> anyhow::Result<ExitCode> {
    let (service, wait) = (args.service.clone(), args.wait);
    let done = back(client, args).await;
    done.or_else(|error| watch::tell(&service, &watch::end_of(&error), wait))
}

async fn update(client: &Client, args: UpdateArgs) -> anyhow::Result<ExitCode> {
    let old = read(client, &args.service).await?;
    let networks = networks(client, &args).await?;
    let container = &args.container;
    let added = files::find(client, &container.secret_add, &container.config_add).await?;
    let mut new = changed(&old.spec, &args, networks)?;
    files::change(&mut new.task.container, container, added);
    // Also without --image, as in Docker: what runs gets the login that it lacked.
    let registry_auth = login::for_image(&new.task.container.image.name, &args.origin)?;
    let message = v1::UpdateServiceRequest {
        registry_auth,
        no_resolve_image: args.origin.no_resolve_image,
        request: request(),
        reference: old.id.to_string(),
        version: None,
        spec: Some(v1::ServiceSpec::from(&new)),
        revision: Some(old.revision),
        by: me(),
        why: args.reason.unwrap_or_default(),
        only_try: args.plan,
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.update_service(message).await }
    })
    .await?;
    if args.plan {
        return plan(&old, answer);
    }
    follow(client, &old, &answer, args.wait).await
}

async fn back(client: &Client, args: RollbackArgs) -> anyhow::Result<ExitCode> {
    let old = read(client, &args.service).await?;
    let message = v1::RollbackServiceRequest {
        request: request(),
        reference: old.id.to_string(),
        to: args.to,
        revision: Some(old.revision),
        by: me(),
        why: args.reason.unwrap_or_default(),
        only_try: args.plan,
    };
    let answer = persist(|| {
        let (mut control, message) = (client.control.clone(), message.clone());
        async move { control.rollback_service(message).await }
    })
    .await?;
    if args.plan {
        return plan(&old, answer);
    }
    follow(client, &old, &answer, args.wait).await
}

/// Says what would differ, and nothing else.
fn plan(old: &Service, answer: v1::UpdateServiceAnswer) -> anyhow::Result<ExitCode> {
    let new = ServiceSpec::try_from(answer.spec.context("an answer without a spec")?)?;
    let lines = differences(&old.spec, &new);
    if answer.unchanged || lines.is_empty() {
        output::line(&End::NothingToDo.text())?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in lines {
        output::line(&line)?;
    }
    Ok(ExitCode::from(DIFFERS))
}

async fn follow(
    client: &Client,
    old: &Service,
    answer: &v1::UpdateServiceAnswer,
    wait: WaitArgs,
) -> anyhow::Result<ExitCode> {
    let name = &old.spec.name;
    for warning in &answer.warnings {
        output::notice(&format!("Warning: {warning}"));
    }
    if answer.unchanged {
        return watch::tell(name, &End::NothingToDo, wait);
    }
    if wait.output.is_none() {
        output::line(name)?;
    }
    if wait.detach {
        return Ok(ExitCode::SUCCESS);
    }
    let goal = Goal::Revision(answer.revision);
    watch::rollout(client, &old.id.to_string(), goal, wait).await
}

/// The service as it is.
///
/// # Errors
/// What the user is to read.
pub async fn read(client: &Client, reference: &str) -> anyhow::Result<Service> {
    let entry = get(client, reference).await?;
    let service = entry.service.context("an answer without a service")?;
    Ok(Service::try_from(service)?)
}

async fn networks(client: &Client, args: &UpdateArgs) -> anyhow::Result<Networks> {
    let mut found = Networks::default();
    for added in &args.network_add {
        found.add.push(NetworkUse {
            network: network_id(client, &added.name).await?,
            aliases: added.aliases.clone(),
        });
    }
    for removed in &args.network_rm {
        found.remove.push(network_id(client, removed).await?);
    }
    Ok(found)
}

/// Who asks, for the history: user and machine.
pub fn me() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    let user = user.ok().flatten().map(|user| user.name);
    let user = user.unwrap_or_else(|| nix::unistd::getuid().to_string());
    let host = nix::unistd::gethostname().ok();
    let host = host.and_then(|host| host.into_string().ok());
    format!("{user}@{}", host.unwrap_or_default())
}
