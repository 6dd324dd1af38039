//! `skep stack deploy` and `diff`: from files to a plan, from a plan to calls, then wait.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use skep_deploy::stack::{Plan, ServicePresent, Step, Wanted, plan};
use skep_proto::spec::ServiceSpec;
use skep_proto::wire::v1;

use super::cluster::Run;
use super::end::{End, worst};
use super::wait::{Waiting, Watched};
use super::{cluster, differ, files, origin, stored};
use crate::args::stack::{DeployArgs, DiffArgs, FileArgs, OriginArgs};
use crate::commands::client::{Client, reaches_nobody};
use crate::output;
use crate::reach::Said;

/// What `--plan` and `diff` end with when something would change.
const WOULD_CHANGE: u8 = 2;
/// Services that are looked at at once: a manager may have to ask a registry for each.
const AT_ONCE: usize = 8;

/// Does what `skep stack deploy` says.
///
/// # Errors
/// When nothing can be printed.
pub async fn run(to: &Said, args: DeployArgs) -> anyhow::Result<ExitCode> {
    if args.plan {
        let diff = DiffArgs {
            stack: args.stack,
            files: args.files,
            prune: args.prune,
        };
        return shown(to, diff, Some(args.origin)).await;
    }
    let end = match attempt(to, &args).await {
        Ok(end) => end,
        Err(error) => failed(error),
    };
    Ok(told(&end))
}

/// Does what `skep stack diff` says.
///
/// # Errors
/// When nothing can be printed.
pub async fn diff(to: &Said, args: DiffArgs) -> anyhow::Result<ExitCode> {
    shown(to, args, None).await
}

/// Prints what would change; with `origin` also where an image's tag means something else now.
async fn shown(to: &Said, args: DiffArgs, origin: Option<OriginArgs>) -> anyhow::Result<ExitCode> {
    let differing = async {
        let (client, _, plan) = planned(to, &args.stack, &args.files).await?;
        let mut lines = lines(&plan, args.prune);
        if let Some(origin) = &origin {
            let same = plan.services.iter().filter(|step| step.same);
            let looking = same.map(|step| other_image(&client, &plan, step, origin));
            let mut looking = stream::iter(looking).buffered(AT_ONCE);
            while let Some(found) = looking.next().await {
                lines.extend(found?);
            }
        }
        anyhow::Ok(lines)
    };
    let lines = match differing.await {
        Ok(lines) => lines,
        Err(error) => return Ok(told(&failed(error))),
    };
    for line in &lines {
        output::line(line)?;
    }
    if lines.is_empty() {
        output::notice(&End::NothingToDo.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(WOULD_CHANGE))
}

async fn other_image(
    client: &Client,
    plan: &Plan,
    step: &Step,
    args: &OriginArgs,
) -> anyhow::Result<Vec<String>> {
    let found = looked_up(client, plan, step, args, Run::Try).await?;
    let Some((present, answer)) = found.filter(|(_, answer)| !answer.unchanged) else {
        return Ok(Vec::new());
    };
    let spec = ServiceSpec::try_from(answer.spec.context("an answer without a spec")?)?;
    let mut lines = vec![format!("~ service {}", spec.name)];
    let differences = differ::differences(&present.spec, &spec);
    lines.extend(differences.iter().map(|line| format!("    {line}")));
    Ok(lines)
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
    to: &Said,
    stack: &str,
    files: &FileArgs,
) -> anyhow::Result<(Client, Wanted, Plan)> {
    let wanted = files::wanted(stack, &files::read(files)?)?;
    let client = Client::connect(to)
        .await
        .map_err(|error| match reaches_nobody(&error) {
            true => End::NoAnswer(format!("{error:#}")),
            false => End::Refused(format!("{error:#}")),
        })?;
    let plan = compared(&client, &wanted).await?;
    Ok((client, wanted, plan))
}

/// What takes the cluster to what is wanted. Only the cluster knows what is in a secret, so it is asked.
async fn compared(client: &Client, wanted: &Wanted) -> anyhow::Result<Plan> {
    let present = cluster::present(client).await?;
    let mut plan = plan(wanted, &present)?;
    for step in plan.files.iter_mut().filter(|step| step.present) {
        step.same = !stored::differs(client, step).await?;
    }
    Ok(plan)
}

/// What would change, for a person.
fn lines(plan: &Plan, prune: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for network in &plan.networks {
        lines.push(format!("+ network {}", network.name));
    }
    for step in plan.files.iter().filter(|step| !step.same) {
        let (kind, name) = (step.kind, &step.wanted.name);
        lines.push(match step.present {
            true => format!("~ {kind} {name} (content or labels)"),
            false => format!("+ {kind} {name}"),
        });
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
            None => lines.push("    a network, secret or config that is to be made".to_owned()),
        }
    }
    if prune {
        let left_over = plan.left_over.iter();
        lines.extend(left_over.map(|left| format!("- service {}", left.spec.name)));
    }
    lines
}

async fn attempt(to: &Said, args: &DeployArgs) -> anyhow::Result<End> {
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let (client, wanted, mut plan) = planned(to, &args.stack, &args.files).await?;
    let prunes = args.prune && !plan.left_over.is_empty();
    let touched = !plan.is_empty() || prunes;
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
    let rotated = keep_files(&client, &mut plan, args).await?;
    if !rotated.is_empty() {
        // Services are at other revisions now.
        plan = compared(&client, &wanted).await?;
    }
    let mut changed = rotating(&plan, &rotated);
    let same = plan.services.iter().filter(|step| step.same);
    let looking = same.map(|step| again(&client, &plan, step, args));
    let mut looking = stream::iter(looking).buffered(AT_ONCE);
    while let Some(found) = looking.next().await {
        let found = found?.filter(|found| changed.iter().all(|known| known.id != found.id));
        changed.extend(found);
    }
    for step in plan.services.iter().filter(|step| !step.same) {
        for before in &step.wanted.after {
            waiting.until(before).await?;
        }
        changed.push(apply(&client, &plan, step, args).await?);
    }
    if !touched && changed.is_empty() {
        return Ok(End::NothingToDo);
    }
    if args.detach {
        return Ok(End::Converged);
    }
    Ok(worst(waiting.all(changed).await))
}

/// Makes secrets and configs and gives those that are there their new content. Names of the services that are
/// updated by that.
async fn keep_files(
    client: &Client,
    plan: &mut Plan,
    args: &DeployArgs,
) -> anyhow::Result<BTreeSet<String>> {
    let mut updated = BTreeSet::new();
    for step in plan.files.clone().iter().filter(|step| !step.same) {
        let (kind, name) = (step.kind, &step.wanted.name);
        let wrong = |error: anyhow::Error| match error.downcast::<End>() {
            Ok(End::Refused(why)) => {
                End::Refused(format!("{}: {kind} {name}: {why}", step.wanted.at)).into()
            }
            Ok(end) => end.into(),
            Err(error) => error.context(format!("{kind} {name}")),
        };
        if step.present {
            let services = stored::renew(client, step).await.map_err(wrong)?;
            let users = match services.is_empty() {
                true => "nobody uses it".to_owned(),
                false => format!("being updated: {}", services.join(", ")),
            };
            said(args, &format!("Rotating {kind} {name} ({users})"))?;
            updated.extend(services);
        } else {
            said(args, &format!("Creating {kind} {name}"))?;
            let id = stored::create(client, kind, &step.wanted).await;
            plan.kept(name, id.map_err(wrong)?);
        }
    }
    Ok(updated)
}

/// Services of the stack that are updated since a secret or config of theirs was rotated, and by nothing else.
fn rotating(plan: &Plan, rotated: &BTreeSet<String>) -> Vec<Watched> {
    let same = plan.services.iter().filter(|step| step.same);
    let there = same.filter_map(|step| step.present.as_ref());
    let watched = there.filter(|there| rotated.contains(&there.spec.name));
    watched
        .map(|there| Watched {
            name: there.spec.name.clone(),
            id: there.id,
        })
        .collect()
}

async fn apply(
    client: &Client,
    plan: &Plan,
    step: &Step,
    args: &DeployArgs,
) -> anyhow::Result<Watched> {
    let name = step.wanted.spec.name.clone();
    let spec = plan.bind(&step.wanted, step.present.as_ref());
    let mut spec = spec.ok_or_else(|| {
        End::Refused(format!(
            "service {name}: a network, secret or config is missing"
        ))
    })?;
    let wrong = |error: anyhow::Error| match error.downcast::<End>() {
        Ok(End::Refused(why)) => End::Refused(format!("{}: {name}: {why}", step.wanted.at)).into(),
        Ok(end) => end.into(),
        Err(error) => error.context(format!("service {name}")),
    };
    origin::follow_tag(&args.origin, step, &mut spec);
    let origin = origin::of(&args.origin, &spec)?;
    let id = match &step.present {
        None => {
            said(args, &format!("Creating service {name}"))?;
            cluster::create_service(client, &spec, origin).await
        }
        Some(present) => {
            said(args, &format!("Updating service {name}"))?;
            let answer = cluster::update_service(client, present, &spec, origin, Run::Change).await;
            answer.map(|_| present.id)
        }
    };
    let id = id.map_err(wrong)?;
    Ok(Watched { name, id })
}

/// Looks at a service that is as its files say: its image's tag may mean something else now, and it may lack a login.
async fn again(
    client: &Client,
    plan: &Plan,
    step: &Step,
    args: &DeployArgs,
) -> anyhow::Result<Option<Watched>> {
    let Some((present, answer)) = looked_up(client, plan, step, &args.origin, Run::Change).await?
    else {
        return Ok(None);
    };
    if answer.unchanged {
        return Ok(None);
    }
    let name = step.wanted.spec.name.clone();
    said(args, &format!("Updating service {name}"))?;
    let id = present.id;
    Ok(Some(Watched { name, id }))
}

/// What a manager says to a service that is as its files say; nothing where it is not to be looked at. A registry that
/// does not answer changes nothing.
async fn looked_up<'a>(
    client: &Client,
    plan: &Plan,
    step: &'a Step,
    args: &OriginArgs,
    run: Run,
) -> anyhow::Result<Option<(&'a ServicePresent, v1::UpdateServiceAnswer)>> {
    let bound = plan.bind(&step.wanted, step.present.as_ref());
    let (Some(present), Some(mut spec)) = (&step.present, bound) else {
        return Ok(None);
    };
    if !origin::looks_again(args, step) {
        return Ok(None);
    }
    origin::follow_tag(args, step, &mut spec);
    let origin = origin::of(args, &spec)?;
    match cluster::update_service(client, present, &spec, origin, run).await {
        Ok(answer) => Ok(Some((present, answer))),
        Err(error) => match error.downcast::<End>() {
            Ok(End::Refused(why)) => {
                let name = &spec.name;
                output::notice(&format!("Warning: service {name} stays as it is: {why}"));
                Ok(None)
            }
            Ok(end) => Err(end.into()),
            Err(error) => Err(error),
        },
    }
}

fn said(args: &DeployArgs, text: &str) -> anyhow::Result<()> {
    if !args.quiet {
        output::line(text)?;
    }
    Ok(())
}
