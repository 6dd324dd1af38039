//! What a container uses, as `docker stats` counts it.

use super::Group;
use std::path::PathBuf;
use std::time::Duration;

/// What a container uses now. What cannot be read counts as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since its beginning.
    pub cpu: Duration,
    /// Bytes of memory, without the page cache that can be given up at once.
    pub memory_bytes: u64,
    /// The most it may use, if it has a limit.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes read from block devices.
    pub block_read: u64,
    /// Bytes written to block devices.
    pub block_written: u64,
}

impl Group {
    /// What the container uses now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let stats = self.stats();
        let old = |controller: &str, file: &str| read(Some(self.legacy(controller)?.join(file)));
        let new = |file: &str| read(Some(self.unified.as_ref()?.join(file)));
        let (inactive, limit, blocks) = if self.counts_unified {
            (
                field(new("memory.stat"), "inactive_file"),
                new("memory.max"),
                pairs(new("io.stat")),
            )
        } else {
            (
                field(old("memory", "memory.stat"), "total_inactive_file"),
                old("memory", "memory.limit_in_bytes"),
                operations(old("blkio", "blkio.throttle.io_service_bytes_recursive")),
            )
        };
        Usage {
            cpu: stats.cpu,
            memory_bytes: stats.memory_bytes.saturating_sub(inactive),
            memory_limit: limit.and_then(|text| text.trim().parse().ok()),
            pids: stats.pids,
            block_read: blocks.0,
            block_written: blocks.1,
        }
    }
}

fn read(path: Option<PathBuf>) -> Option<String> {
    std::fs::read_to_string(path?).ok()
}

/// A line `NAME VALUE`.
fn field(text: Option<String>, name: &str) -> u64 {
    let text = text.unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(key, _)| *key == name);
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// Lines `DEVICE rbytes=N wbytes=N …` of version 2.
fn pairs(text: Option<String>) -> (u64, u64) {
    let text = text.unwrap_or_default();
    let sum = |name: &str| {
        let words = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        let numbers = words
            .filter(|(key, _)| *key == name)
            .filter_map(|(_, value)| value.parse().ok());
        numbers.fold(0_u64, u64::saturating_add)
    };
    (sum("rbytes"), sum("wbytes"))
}

/// Lines `DEVICE Read N` of version 1.
fn operations(text: Option<String>) -> (u64, u64) {
    let text = text.unwrap_or_default();
    let sum = |name: &str| {
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let numbers = lines.filter_map(|words| match &*words {
            [_, operation, number] if *operation == name => number.parse().ok(),
            _ => None,
        });
        numbers.fold(0_u64, u64::saturating_add)
    };
    (sum("Read"), sum("Write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_figures_of_both_versions_are_summed_over_devices() {
        let new = "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=5 wbytes=0\n";
        assert_eq!(pairs(Some(new.into())), (15, 20));
        let old = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 5\nTotal 35\n";
        assert_eq!(operations(Some(old.into())), (15, 20));
        assert_eq!((pairs(None), operations(None)), ((0, 0), (0, 0)));
    }
}
