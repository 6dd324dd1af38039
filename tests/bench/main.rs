//! The figures that skep promises, each beside the floor of doing the same work. It prints and asserts
//! nothing: a figure that is missed is a line in a table, never a failed test.
//!
//! The nodes of its labs run this program too: started with a word that is no figure, it is `skep`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is there to print"
)]

mod cluster;
mod docker;
mod floor;
mod images;
mod logs;
mod loss;
mod memory;
mod plan;
mod proposals;
mod pull;
mod report;
mod service;
mod stack;
mod start;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use report::Line;

/// What can be asked for; without a word, all of it.
const FIGURES: [&str; 13] = [
    "start",
    "rate",
    "memory",
    "leader",
    "worker",
    "proposals",
    "plan",
    "stack",
    "logs",
    "images",
    "update",
    "rm",
    "pull",
];
/// How long a daemon is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((word, rest)) if word == floor::WORD => return ended(floor::main(rest)),
        Some((word, _)) if !FIGURES.contains(&word.as_str()) => return skep_cli::run(),
        _ => {}
    }
    ended(run(&words))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let asked = |figure: &str| words.is_empty() || words.iter().any(|word| word == figure);
    let began = Instant::now();
    let mut lines: Vec<Line> = Vec::new();
    let whole = runtime.block_on(async {
        if asked("plan") {
            lines.extend(plan::measure().context("plan")?);
        }
        if asked("proposals") {
            lines.extend(proposals::measure().await.context("proposals")?);
        }
        if asked("logs") {
            lines.extend(logs::measure().await.context("logs")?);
        }
        if asked("images") {
            lines.push(images::measure().context("images")?);
        }
        let of_one = ["start", "rate", "memory", "stack", "update", "rm"];
        if of_one.into_iter().any(asked) {
            lines.extend(one_node(&asked).await?);
        }
        if asked("leader") {
            lines.extend(loss::leader().await.context("leader killed")?);
        }
        if asked("worker") {
            lines.extend(loss::worker().await.context("worker killed")?);
        }
        if asked("pull") {
            lines.extend(pull::measure().context("pull")?);
        }
        anyhow::Ok(())
    });
    println!("\n{}", report::table(&lines));
    println!("\ntook {:.0} s", began.elapsed().as_secs_f64());
    whole
}

/// Figures of a cluster of one.
async fn one_node(asked: &impl Fn(&str) -> bool) -> anyhow::Result<Vec<Line>> {
    let cluster = cluster::up(1, 0)?;
    let mut lines = Vec::new();
    if asked("memory") {
        // Nothing tells that a daemon has come to rest.
        std::thread::park_timeout(IDLE);
        lines.push(start::memory(&cluster).context("memory")?);
    }
    if asked("start") {
        lines.extend(start::one(&cluster).await.context("one replica")?);
    }
    if asked("rate") {
        lines.extend(start::many(&cluster).await.context("many replicas")?);
    }
    if asked("update") || asked("rm") {
        lines.extend(
            service::measure(&cluster, asked)
                .await
                .context("update and rm")?,
        );
    }
    if asked("stack") {
        lines.extend(stack::measure(&cluster).await.context("stack")?);
    }
    Ok(lines)
}
