//! Makes a cluster of a lab's machines, with the commands a user would type on them.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use skep_deploy::lab::{DaemonStatus, Lab, NodeRole, NodeStatus};

/// A daemon listens some 50 ms after its start; a machine busy with a build takes longer.
const DAEMON_WAIT: Duration = Duration::from_secs(30);
/// A node is ready some 100 ms after it joined.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How much of a daemon's log an error shows.
const LOG_LINES: usize = 12;

/// Makes a cluster: the first manager begins it, the others join it one by one. `say` is told of each step.
///
/// # Errors
/// What a command said, or the end of a daemon's log.
pub fn form(lab: &Lab, say: impl Fn(&str)) -> anyhow::Result<()> {
    let nodes: Vec<NodeStatus> = lab
        .nodes()?
        .into_iter()
        .filter(|node| node.role.is_some())
        .collect();
    for node in &nodes {
        wait_for_daemon(lab, &node.name)?;
    }
    let Some(first) = nodes
        .iter()
        .find(|node| node.role == Some(NodeRole::Manager))
    else {
        bail!("a cluster begins with a manager: ask for one with --managers 1");
    };
    let address = first.address.to_string();
    skep(
        lab,
        &first.name,
        &["swarm", "init", "--advertise-addr", &address],
    )?;
    say(&format!("{} began a cluster", first.name));
    for node in nodes.iter().filter(|node| node.name != first.name) {
        let role = if node.role == Some(NodeRole::Manager) {
            "manager"
        } else {
            "worker"
        };
        let token = skep(lab, &first.name, &["swarm", "join-token", "--quiet", role])?;
        let (remote, own) = (format!("{address}:2377"), node.address.to_string());
        let join = [
            "swarm",
            "join",
            "--token",
            token.trim(),
            "--advertise-addr",
            &own,
            &remote,
        ];
        skep(lab, &node.name, &join)?;
        say(&format!("{} joined as a {role}", node.name));
    }
    wait_until_ready(lab, &first.name, nodes.len())
}

/// What `node ls --format json` shows of a node, as far as it matters here.
#[derive(serde::Deserialize)]
struct Seen {
    state: String,
    manager: String,
}

/// Waits until every node has a session and every manager is reached: tasks are placed on all of them then.
fn wait_until_ready(lab: &Lab, first: &str, count: usize) -> anyhow::Result<()> {
    let end = Instant::now() + READY_WAIT;
    loop {
        let text = skep(lab, first, &["node", "ls", "--format", "json"])?;
        let seen: Vec<Seen> = serde_json::from_str(&text).context("read the list of nodes")?;
        let whole = |node: &&Seen| node.state == "ready" && node.manager != "unreachable";
        let ready = seen.iter().filter(whole).count();
        if ready == count {
            return Ok(());
        }
        if Instant::now() > end {
            let seconds = READY_WAIT.as_secs();
            bail!("only {ready} of {count} nodes are ready after {seconds} s");
        }
        pause();
    }
}

/// Runs `skep` in a node and gives what it printed.
///
/// # Errors
/// What it said when its exit code was not 0.
pub fn skep(lab: &Lab, node: &str, args: &[&str]) -> anyhow::Result<String> {
    let program = lab.program()?;
    let mut argv = vec![
        program
            .to_str()
            .context("the program's path is not UTF-8")?,
    ];
    argv.extend(args);
    let output = lab.exec(node, &argv)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    bail!(
        "`skep {}` on {node}: {said}",
        args.iter().take(2).copied().collect::<Vec<_>>().join(" ")
    )
}

/// Waits until a node's daemon takes connections.
fn wait_for_daemon(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let socket = lab.socket(node)?;
    let end = Instant::now() + DAEMON_WAIT;
    while UnixStream::connect(&socket).is_err() {
        let status = lab.nodes()?.into_iter().find(|other| other.name == node);
        match status.map(|status| status.daemon) {
            Some(DaemonStatus::Running(_)) if Instant::now() < end => pause(),
            Some(DaemonStatus::Running(_)) => {
                let seconds = DAEMON_WAIT.as_secs();
                bail!(
                    "the daemon of {node} does not listen after {seconds} s; it logged:\n{}",
                    tail(lab, node)
                );
            }
            _ => bail!(
                "the daemon of {node} has ended; it logged:\n{}",
                tail(lab, node)
            ),
        }
    }
    Ok(())
}

/// The last lines that a node's daemon logged.
pub fn tail(lab: &Lab, node: &str) -> String {
    let text = lab.logs(node).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default()
        .join("\n")
}

/// The step of a bounded wait for something that tells nobody when it is there.
pub fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}
