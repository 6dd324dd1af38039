//! `skep demo`: a whole cluster at work on this machine, in under a minute.
//!
//! It types on the nodes of a lab what a user would type, shows what they answer, and asks the
//! service from where a client would stand. It knows nothing of the cluster that a user could not see.

pub mod ask;
mod interrupt;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use skep_deploy::lab::{Lab, LabError, LabOptions, LabStatus, OUTSIDE, Power, Roots};

use crate::lab::{form, skep};
use crate::output;

/// The demo's lab.
const NAME: &str = "demo";
const NODES: usize = 3;
const REPLICAS: usize = 3;
const SERVICE: &str = "web";
const NETWORK: &str = "front";
const IMAGE: &str = "skep/hello";
const PUBLISHED: u16 = 8080;
const TARGET: u16 = 80;
/// The node that dies, and the one that we talk to.
const VICTIM: &str = "node-3";
const FIRST: &str = "node-1";
/// Replacements run within 4 s by default; a loaded machine may need more.
const REPLACE_WAIT: Duration = Duration::from_secs(60);
/// A rule or an endpoint reaches the last node a moment after the first.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Questions asked to see that more than one task answers.
const QUESTIONS: usize = 9;

/// One task, as `service ps --format json` shows it.
#[derive(Deserialize, Debug)]
struct Task {
    id: String,
    name: String,
    node: String,
    desired: String,
    state: String,
    pid: Option<u32>,
}

impl Task {
    fn runs(&self) -> bool {
        self.state.eq_ignore_ascii_case("running") && self.desired.eq_ignore_ascii_case("running")
    }
}

/// What the built-in image answers, as far as the demo shows it.
struct Answer {
    /// Short id of the task that answered.
    task: String,
    /// Whom it saw asking.
    client: String,
}

impl Answer {
    fn read(body: &str) -> anyhow::Result<Self> {
        let word = |key: &str| {
            let found = body.lines().find_map(|line| line.strip_prefix(key));
            found.map(|value| value.trim().to_owned())
        };
        let parts = word("hostname:").zip(word("client:"));
        let (task, client) = parts.with_context(|| format!("not our image answers: {body}"))?;
        Ok(Self { task, client })
    }

    /// The task by its name and node.
    fn who(&self, tasks: &[Task]) -> String {
        let found = tasks.iter().find(|task| task.id.starts_with(&self.task));
        let known = found.map(|task| format!("{} on {}", task.name, task.node));
        known.unwrap_or_else(|| self.task.clone())
    }
}

/// Shows it all; leaves the cluster up if `keep`.
///
/// # Errors
/// The step that failed and why; the lab is taken down then.
pub fn run(keep: bool) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot.into());
    }
    let begin = Instant::now();
    clean()?;
    interrupt::arm(NAME)?;
    step(1, "Three machines: namespaces, cables, a switch")?;
    let lab = Lab::up(&LabOptions::new(NAME, NODES, 0)?).inspect_err(|_| interrupt::give_way())?;
    if let Err(error) = show(&lab) {
        interrupt::give_way();
        let down = lab.down();
        let error = error.context("the demo did not come to its end and was taken down");
        return match down {
            Ok(()) => Err(error),
            Err(down) => Err(error.context(format!("the lab could not be taken down: {down}"))),
        };
    }
    if keep {
        next_when_kept(&lab)?;
    } else {
        lab.down()?;
        say("\nThe machines are gone again. What to type next:\n")?;
        say("    skep demo --keep                 the same, and the cluster stays up")?;
        say("    skep lab up                      a cluster of three managers of your own")?;
        say("    skep daemon                      this machine as a node (then: skep swarm init)")?;
        say(&format!("\n{}", where_skep_is()))?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    say(&format!("\nAll of it took {seconds:.1} s."))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the commands are typed from: a build directory is not in the user's PATH.
fn where_skep_is() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "skep".into());
    format!("(skep is {})", path.display())
}

/// An earlier demo that was interrupted or died with the machine is cleaned; one that is kept is not.
fn clean() -> anyhow::Result<()> {
    let left: Option<LabStatus> = Lab::ls()?.into_iter().find(|lab| lab.name == NAME);
    match left {
        Some(lab) if lab.whole && lab.nodes.iter().any(|node| node.power == Power::On) => {
            Err(LabError::AlreadyUp { name: NAME.into() }.into())
        }
        _ => match Lab::down_in(&Roots::default(), NAME) {
            Ok(()) | Err(LabError::NoLab { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        },
    }
}

fn show(lab: &Lab) -> anyhow::Result<()> {
    step(2, "A cluster: one begins it, two join as managers")?;
    // A reader that went away is met by the next line that is said.
    form(lab, |text| drop(say(&format!("    {text}"))))?;
    typed(lab, &["node", "ls"])?;

    step(
        3,
        "A service of three replicas, on an overlay, with a published port",
    )?;
    typed(lab, &["network", "create", NETWORK])?;
    let (replicas, port) = (REPLICAS.to_string(), format!("{PUBLISHED}:{TARGET}"));
    let create = [
        "service",
        "create",
        "--name",
        SERVICE,
        "--replicas",
        &replicas,
    ];
    let create = [
        &create[..],
        &["--network", NETWORK, "--publish", &port, IMAGE],
    ]
    .concat();
    let began = Instant::now();
    typed(lab, &create)?;
    say(&format!(
        "    ({REPLICAS} replicas ran after {:.2} s)",
        began.elapsed().as_secs_f64()
    ))?;
    typed(lab, &["service", "ps", SERVICE])?;

    step(4, "One name inside: each question may go to another task")?;
    inside(lab)?;
    step(
        5,
        "One port outside: every node answers it, and sees who asked",
    )?;
    outside(lab, &addresses(lab)?)?;
    step(6, "A machine dies")?;
    lose_a_node(lab)
}

fn inside(lab: &Lab) -> anyhow::Result<()> {
    let tasks = tasks(lab)?;
    let task = tasks.iter().find(|task| task.runs() && task.pid.is_some());
    let task = task.context("no task of the service runs")?;
    let pid = task.pid.context("the task has no process")?;
    let address = eventually(|| lab.in_network_of(&task.node, pid, || ask::resolve(SERVICE))?)
        .with_context(|| format!("ask for the name {SERVICE} in {}", task.name))?;
    say(&format!(
        "    in {} on {}, the name {SERVICE} means {address}; asked {QUESTIONS} times:",
        task.name, task.node
    ))?;
    let mut seen = BTreeMap::<String, usize>::new();
    for _ in 0..QUESTIONS {
        let url = SocketAddr::from((address, TARGET));
        let body = eventually(|| lab.in_network_of(&task.node, pid, || ask::get(url))?)
            .with_context(|| format!("ask {SERVICE} at {url} from {}", task.name))?;
        *seen.entry(Answer::read(&body)?.who(&tasks)).or_default() += 1;
    }
    seen.iter()
        .try_for_each(|(who, count)| say(&format!("        {count} × {who} answered")))
}

/// Asks the published port of these nodes from the machine that is no node.
fn outside(lab: &Lab, nodes: &[(String, Ipv4Addr)]) -> anyhow::Result<()> {
    let (tasks, client) = (tasks(lab)?, lab.address(OUTSIDE)?.to_string());
    say(&format!("    {client} is no node, and asks:"))?;
    for (name, address) in nodes {
        let url = SocketAddr::from((*address, PUBLISHED));
        let body = eventually(|| lab.in_network(OUTSIDE, || ask::get(url))?)
            .with_context(|| format!("ask port {PUBLISHED} of {name} from outside"))?;
        let answer = Answer::read(&body)?;
        let (who, saw) = (answer.who(&tasks), &answer.client);
        if *saw != client {
            bail!("{who} answered {client} at {name}, and saw {saw} as its client");
        }
        say(&format!(
            "        http://{url} ({name}): {who} answered and saw {saw}"
        ))?;
    }
    Ok(())
}

fn lose_a_node(lab: &Lab) -> anyhow::Result<()> {
    let lost = tasks(lab)?
        .iter()
        .filter(|task| task.runs() && task.node == VICTIM)
        .count();
    say(&format!(
        "    $ skep lab kill {VICTIM}      ({lost} of {REPLICAS} tasks run there)"
    ))?;
    lab.kill(VICTIM)?;
    let began = Instant::now();
    while began.elapsed() < REPLACE_WAIT {
        // The manager that we talk to may have lost its leader for a moment.
        let found = tasks(lab).unwrap_or_default();
        let elsewhere = found
            .iter()
            .filter(|task| task.runs() && task.node != VICTIM)
            .count();
        if elsewhere == REPLICAS {
            let seconds = began.elapsed().as_secs_f64();
            say(&format!(
                "    {REPLICAS} of {REPLICAS} run elsewhere {seconds:.1} s after the power went"
            ))?;
            typed(lab, &["node", "ls"])?;
            typed(lab, &["service", "ps", SERVICE])?;
            let left: Vec<_> = addresses(lab)?
                .into_iter()
                .filter(|(name, _)| name != VICTIM)
                .collect();
            return outside(lab, &left);
        }
        crate::lab::pause();
    }
    bail!(
        "the tasks of {VICTIM} do not run elsewhere after {} s",
        REPLACE_WAIT.as_secs()
    )
}

fn next_when_kept(lab: &Lab) -> anyhow::Result<()> {
    let address = lab.address(FIRST)?;
    say("\nThe cluster is up. What to type next:\n")?;
    say(&format!(
        "    skep lab start {VICTIM}                              the dead one comes back"
    ))?;
    say(&format!(
        "    skep lab exec {FIRST} -- skep service scale {SERVICE}=10"
    ))?;
    say(&format!(
        "    skep lab exec {FIRST} -- skep service ps {SERVICE}"
    ))?;
    say(&format!(
        "    skep lab exec outside -- curl -s http://{address}:{PUBLISHED}   (if curl is here)"
    ))?;
    say("    skep lab cut node-2                                a partition; heal ends it")?;
    say(&format!(
        "    skep lab down --name {NAME}                          nothing is left\n\n{}",
        where_skep_is()
    ))
}

/// Shows a command, runs it on the first node, and shows what it printed.
fn typed(lab: &Lab, args: &[&str]) -> anyhow::Result<()> {
    say(&format!("    $ skep {}", args.join(" ")))?;
    let text = skep(lab, FIRST, args)?;
    text.trim_end()
        .lines()
        .try_for_each(|line| say(&format!("    {line}")))
}

fn tasks(lab: &Lab) -> anyhow::Result<Vec<Task>> {
    let text = skep(lab, FIRST, &["service", "ps", SERVICE, "--format", "json"])?;
    serde_json::from_str(&text).context("read the list of tasks")
}

fn addresses(lab: &Lab) -> anyhow::Result<Vec<(String, Ipv4Addr)>> {
    let nodes = lab.nodes()?.into_iter().filter(|node| node.role.is_some());
    Ok(nodes.map(|node| (node.name, node.address)).collect())
}

/// Tries until it works or the time is over; gives the last error then.
fn eventually<T>(mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let end = Instant::now() + ANSWER_WAIT;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => crate::lab::pause(),
            ended => return ended,
        }
    }
}

fn step(number: u8, title: &str) -> anyhow::Result<()> {
    say(&format!("\n[{number}/6] {title}"))
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(output::line(text)?)
}
