//! How long the command line takes over a stack of which nothing changes.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use skep_harness::cluster::Cluster;
use skep_proto::service::Service;
use skep_proto::wire::v1;

use crate::cluster::{User, user};
use crate::report::{Line, Times};

const NODE: &str = "node-1";
const SERVICES: usize = 50;
const TIMES: usize = 15;

/// A deploy and a diff of fifty services that are as their file says, and the first byte of any command.
pub async fn measure(cluster: &Cluster) -> anyhow::Result<Vec<Line>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("compose.yaml");
    std::fs::write(&file, compose())?;
    let socket = cluster.lab.socket(NODE)?;
    let socket = format!("unix://{}", socket.display());
    let file = file.to_str().context("a path that is not UTF-8")?;
    let words = |command: &'static str| {
        ["-H", &socket, "stack", command, "-c", file, "fifty"].map(str::to_owned)
    };
    let made = command(&[&words("deploy")[..], &["-d".to_owned()]].concat())?.output()?;
    if !made.status.success() {
        bail!("deploy: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut user = user(cluster, NODE).await?;
    let before = settled(&mut user).await?;
    let floor = times(&["--version".to_owned()])?;
    let deploy = times(&words("deploy"))?;
    let diff = times(&words("diff"))?;
    let written = before != versions(&mut user).await?;
    let mut lines = Vec::new();
    for (what, times, goal) in [
        (
            format!("deploy of {SERVICES} services, nothing changed"),
            &deploy,
            "≤ 100 ms",
        ),
        (
            format!("diff of {SERVICES} services, nothing changed"),
            &diff,
            "≤ 50 ms",
        ),
        (
            "start of the command line → first byte".to_owned(),
            &floor,
            "≤ 15 ms",
        ),
    ] {
        eprintln!("{what}: {}", times.shown());
        lines.push(Line {
            what,
            measured: times.shown(),
            floor: format!("{} `skep --version`", floor.shown()),
            ratio: times.median().as_secs_f64() / floor.median().as_secs_f64(),
            goal,
        });
    }
    lines.push(Line {
        what: "services written to Raft by these deploys".into(),
        measured: if written { "some" } else { "none" }.into(),
        floor: "none".into(),
        ratio: f64::from(u8::from(written)),
        goal: "none",
    });
    Ok(lines)
}

/// Services without tasks: what is measured is the description.
fn compose() -> String {
    let mut text = String::from("services:\n");
    for number in 0..SERVICES {
        text.push_str(&format!(
            "  s{number}:\n    image: skep/hello\n    environment: {{NUMBER: {number}, MODE: usual}}\n    \
             labels: [number={number}]\n    deploy: {{replicas: 0, update_config: {{parallelism: 2}}}}\n"
        ));
    }
    text
}

fn command(words: &[String]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).current_dir(Path::new("/"));
    Ok(command)
}

/// From the start of the program to the first byte it prints, on either output, or its end.
fn times(words: &[String]) -> anyhow::Result<Times> {
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        let (mut reader, writer) = std::io::pipe()?;
        let begin = Instant::now();
        let mut command = command(words)?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the other end of the pipe.
        drop(command);
        let mut first = [0];
        let read = reader.read(&mut first)?;
        taken.push(begin.elapsed());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest)?;
        if !child.wait()?.success() || read == 0 {
            bail!("{words:?}: {}", String::from_utf8_lossy(&rest));
        }
    }
    Ok(Times::new(taken))
}

/// Versions of all services once they have stopped changing.
async fn settled(user: &mut User) -> anyhow::Result<Vec<u64>> {
    let begin = Instant::now();
    let mut before = versions(user).await?;
    while begin.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = versions(user).await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    bail!("the services do not settle")
}

async fn versions(user: &mut User) -> anyhow::Result<Vec<u64>> {
    let answer = user
        .list_services(v1::ListServicesRequest::default())
        .await?;
    let versions = answer.into_inner().services.into_iter().map(|entry| {
        let service = Service::try_from(entry.service.context("a service")?)?;
        anyhow::Ok(service.version)
    });
    let mut versions = versions.collect::<anyhow::Result<Vec<_>>>()?;
    versions.sort_unstable();
    Ok(versions)
}
