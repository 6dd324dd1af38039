//! `skep stack deploy` and `diff`: from files to a plan, from a plan to calls, then wait.

use std::process::ExitCode;
use std::time::Instant;

use skep_deploy::stack::{Plan, Step, Wanted, plan};

use super::end::{End, worst};
use super::wait::{Waiting, Watched};
use super::{cluster, differ, files};
use crate::args::stack::{DeployArgs, DiffArgs, FileArgs};
use crate::commands::client::Client;
use crate::output;

/// What `--plan` and `diff` end with when something would change.
const WOULD_CHANGE: u8 = 2;

/// Does what `skep stack deploy` says.
///
/// # Errors
/// When nothing can be printed.
pub async fn run(host: Option<&str>, args: DeployArgs) -> anyhow::Result<ExitCode> {
    if args.plan {
        let diff = DiffArgs {
            stack: args.stack,
            files: args.files,
            prune: args.prune,
        };
        return self::diff(host, diff).await;
    }
    let end = match attempt(host, &args).await {
        Ok(end) => end,
        Err(error) => failed(error),
    };
    Ok(told(&end))
}

/// Does what `skep stack diff` says.
///
/// # Errors
/// When nothing can be printed.
pub async fn diff(host: Option<&str>, args: DiffArgs) -> anyhow::Result<ExitCode> {
    let (_, plan) = match planned(host, &args.stack, &args.files).await {
        Ok(planned) => planned,
        Err(error) => return Ok(told(&failed(error))),
    };
    let lines = lines(&plan, args.prune);
    for line in &lines {
        output::line(line)?;
    }
    if lines.is_empty() {
        output::notice(&End::NothingToDo.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(WOULD_CHANGE))
}

fn failed(error: anyhow::Error) -> End {
    match error.downcast::<End>() {
        Ok(end) => end,
        Err(error) => End::Refused(format!("{error:#}")),
    }
}

fn told(end: &End) -> ExitCode {
    let error = matches!(end, End::Refused(_) | End::NoAnswer(_));
    output::notice(&format!("{}{end}", if error { "Error: " } else { "" }));
    ExitCode::from(end.code())
}

/// Reads the files and looks at the cluster; what cannot be is refused before anything happens.
async fn planned(
    host: Option<&str>,
    stack: &str,
    files: &FileArgs,
) -> anyhow::Result<(Client, Plan)> {
    let wanted = files::wanted(stack, &files::read(files)?)?;
    cannot_be_carried(&wanted)?;
    let client = Client::connect(host)
        .await
        .map_err(|error| End::NoAnswer(format!("{error:#}")))?;
    let present = cluster::present(&client).await?;
    let plan = plan(&wanted, &present)?;
    Ok((client, plan))
}

fn cannot_be_carried(wanted: &Wanted) -> Result<(), End> {
    let (secrets, configs) = (wanted.secrets.first(), wanted.configs.first());
    let Some(first) = secrets.or(configs) else {
        return Ok(());
    };
    Err(End::Refused(format!(
        "{}: \"{}\": this release keeps no secrets and configs in the cluster; bring them into the image or \
         a volume",
        first.at, first.name
    )))
}

/// What would change, for a person.
fn lines(plan: &Plan, prune: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for network in &plan.networks {
        lines.push(format!("+ network {}", network.name));
    }
    for step in plan.services.iter().filter(|step| !step.same) {
        let name = &step.wanted.spec.name;
        let Some(present) = &step.present else {
            let image = &step.wanted.spec.task.container.image;
            lines.push(format!("+ service {name} ({image})"));
            continue;
        };
        lines.push(format!("~ service {name}"));
        match plan.bind(&step.wanted, Some(present)) {
            Some(spec) => {
                let differences = differ::differences(&present.spec, &spec);
                lines.extend(differences.iter().map(|line| format!("    {line}")));
            }
            None => lines.push("    network: one that is to be made".to_owned()),
        }
    }
    if prune {
        let left_over = plan.left_over.iter();
        lines.extend(left_over.map(|left| format!("- service {}", left.spec.name)));
    }
    lines
}

async fn attempt(host: Option<&str>, args: &DeployArgs) -> anyhow::Result<End> {
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let (client, mut plan) = planned(host, &args.stack, &args.files).await?;
    let prunes = args.prune && !plan.left_over.is_empty();
    if plan.is_empty() && !prunes {
        return Ok(End::NothingToDo);
    }
    let waiting = Waiting {
        client: &client,
        deadline,
        quiet: args.quiet,
    };
    if prunes {
        for left in &plan.left_over {
            said(args, &format!("Removing service {}", left.spec.name))?;
            cluster::remove_service(&client, &left.id.to_string()).await?;
        }
    }
    for network in plan.networks.clone() {
        said(args, &format!("Creating network {}", network.name))?;
        let id = cluster::create_network(&client, &network).await?;
        plan.made(&network.name, id);
    }
    let mut changed = Vec::new();
    for step in plan.services.iter().filter(|step| !step.same) {
        for before in &step.wanted.after {
            waiting.until(before).await?;
        }
        changed.push(apply(&client, &plan, step, args).await?);
    }
    if args.detach {
        return Ok(End::Converged);
    }
    Ok(worst(waiting.all(changed).await))
}

async fn apply(
    client: &Client,
    plan: &Plan,
    step: &Step,
    args: &DeployArgs,
) -> anyhow::Result<Watched> {
    let name = step.wanted.spec.name.clone();
    let spec = plan.bind(&step.wanted, step.present.as_ref());
    let spec = spec.ok_or_else(|| End::Refused(format!("service {name}: a network is missing")))?;
    let wrong = |error: anyhow::Error| match error.downcast::<End>() {
        Ok(End::Refused(why)) => End::Refused(format!("{}: {name}: {why}", step.wanted.at)).into(),
        Ok(end) => end.into(),
        Err(error) => error.context(format!("service {name}")),
    };
    let id = match &step.present {
        None => {
            said(args, &format!("Creating service {name}"))?;
            cluster::create_service(client, &spec).await
        }
        Some(present) => {
            said(args, &format!("Updating service {name}"))?;
            cluster::update_service(client, present, &spec).await
        }
    };
    let id = id.map_err(wrong)?;
    Ok(Watched { name, id })
}

fn said(args: &DeployArgs, text: &str) -> anyhow::Result<()> {
    if !args.quiet {
        output::line(text)?;
    }
    Ok(())
}
