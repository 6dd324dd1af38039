//! What containers use, each second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skep_proto::wire::v1;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{Answers, list};
use crate::exec::cgroup::Usage;
use crate::exec::containers::Containers;
use crate::exec::runtime::Container;

/// From one answer to the next.
const PACE: Duration = Duration::from_secs(1);
/// Between the two looks of a single answer.
const ONCE: Duration = Duration::from_millis(500);

/// Processor time at a moment, by container.
type Looked = BTreeMap<String, (Duration, Instant)>;

/// Sends figures until nobody listens, or once.
pub(super) fn send(
    containers: Containers,
    request: v1::ContainerStatsRequest,
) -> Answers<v1::ContainerStatsAnswer> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(if request.once { ONCE } else { PACE });
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut first) = (Looked::new(), true);
        loop {
            pace.tick().await;
            let wanted = wanted(&containers, &request.references);
            let looked = tokio::task::spawn_blocking(move || look(&wanted, last)).await;
            let Ok((answer, now)) = looked else { return };
            last = now;
            // What a processor did is the difference of two looks.
            if std::mem::take(&mut first) {
                continue;
            }
            if sender.send(Ok(answer)).await.is_err() || request.once {
                return;
            }
        }
    });
    Answers::new(receiver)
}

fn wanted(containers: &Containers, references: &[String]) -> Vec<Container> {
    let all = if references.is_empty() {
        containers.all()
    } else {
        let found = references
            .iter()
            .map(|reference| containers.find(reference));
        found.flatten().collect()
    };
    let runs = |one: &Container| one.ended().is_none();
    all.into_iter().filter(runs).collect()
}

fn look(containers: &[Container], last: Looked) -> (v1::ContainerStatsAnswer, Looked) {
    let (mut now, mut answer) = (Looked::new(), v1::ContainerStatsAnswer::default());
    let machine = machine_memory();
    for container in containers {
        let usage = container.group().usage();
        let at = Instant::now();
        let before = last.get(container.id());
        let percent = before.map_or(0.0, |(cpu, then)| {
            let used = usage.cpu.saturating_sub(*cpu).as_secs_f64();
            used / at.duration_since(*then).as_secs_f64().max(1e-6) * 100.0
        });
        now.insert(container.id().to_owned(), (usage.cpu, at));
        answer
            .containers
            .push(figures(container, &usage, percent, machine));
    }
    (answer, now)
}

fn figures(container: &Container, usage: &Usage, percent: f64, machine: u64) -> v1::ContainerStats {
    let (received, sent) = container.pid().map_or((0, 0), network);
    v1::ContainerStats {
        id: container.id().to_owned(),
        name: list::name(container),
        cpu_percent: percent,
        memory: usage.memory_bytes,
        memory_limit: usage
            .memory_limit
            .filter(|limit| *limit < machine)
            .unwrap_or(machine),
        net_received: received,
        net_sent: sent,
        block_read: usage.block_read,
        block_written: usage.block_written,
        pids: usage.pids,
    }
}

/// Bytes that the interfaces of a container's network namespace have received and sent, without loopback.
fn network(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let interfaces = text.lines().filter_map(|line| line.split_once(':'));
    let mut sums = (0_u64, 0_u64);
    for (_, figures) in interfaces.filter(|(name, _)| name.trim() != "lo") {
        let mut numbers = figures
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0));
        sums.0 = sums.0.saturating_add(numbers.next().unwrap_or(0));
        sums.1 = sums.1.saturating_add(numbers.nth(7).unwrap_or(0));
    }
    sums
}

fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}
