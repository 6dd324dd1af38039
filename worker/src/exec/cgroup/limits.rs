//! A container's limits, and how each version of control groups is told of them.

use super::{CgroupError, DeviceRule, Group, devices, kernel, write};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// What a container may use; `None` is without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory. Swap is not given on top, so that the limit is the limit.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory below which it is spared when the machine is short.
    pub memory_reservation: Option<u64>,
    /// Bytes of memory and swap together, if swap is wanted on top.
    pub memory_and_swap: Option<u64>,
    /// Microseconds of processor time in each period.
    pub cpu_quota: Option<u64>,
    /// The period in microseconds; 100,000 if not given.
    pub cpu_period: Option<u64>,
    /// Relative weight as version 1 counts it: 2 to 262,144, default 1024.
    pub cpu_shares: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processors, such as `0-1,3`.
    pub cpus: Option<String>,
    /// Memory nodes, such as `0`.
    pub mems: Option<String>,
    /// Which devices; empty for all.
    pub devices: Vec<DeviceRule>,
}

const PERIOD: u64 = 100_000;

impl Limits {
    /// True if a cpuset is asked for.
    #[must_use]
    pub fn wants_cpuset(&self) -> bool {
        self.cpus.is_some() || self.mems.is_some()
    }

    pub(super) fn apply(&self, group: &Group) -> Result<(), CgroupError> {
        self.apply_memory(group)?;
        self.apply_cpu(group)?;
        self.apply_cpuset(group)?;
        if let Some(pids) = self.pids {
            let path = group.legacy("pids").or(group.unified.as_deref());
            write(
                &path.ok_or(CgroupError::Missing("pids"))?.join("pids.max"),
                &pids.to_string(),
            )?;
        }
        self.apply_devices(group)
    }

    fn apply_memory(&self, group: &Group) -> Result<(), CgroupError> {
        if let Some(old) = group.legacy("memory") {
            if let Some(reserved) = self.memory_reservation {
                write(
                    &old.join("memory.soft_limit_in_bytes"),
                    &reserved.to_string(),
                )?;
            }
            let Some(limit) = self.memory_bytes else {
                return Ok(());
            };
            write(&old.join("memory.limit_in_bytes"), &limit.to_string())?;
            let both = self.memory_and_swap.unwrap_or(limit).max(limit);
            let swap = old.join("memory.memsw.limit_in_bytes");
            // Kernels without swap accounting have no such file, and count no swap.
            return if swap.exists() {
                write(&swap, &both.to_string())
            } else {
                Ok(())
            };
        }
        if self.memory_bytes.is_none() && self.memory_reservation.is_none() {
            return Ok(());
        }
        let new = group
            .unified
            .as_ref()
            .ok_or(CgroupError::Missing("memory"))?;
        if let Some(reserved) = self.memory_reservation {
            write(&new.join("memory.low"), &reserved.to_string())?;
        }
        let Some(limit) = self.memory_bytes else {
            return Ok(());
        };
        write(&new.join("memory.max"), &limit.to_string())?;
        let swap = new.join("memory.swap.max");
        let extra = self.memory_and_swap.unwrap_or(limit).saturating_sub(limit);
        if swap.exists() {
            write(&swap, &extra.to_string())
        } else {
            Ok(())
        }
    }

    fn apply_cpu(&self, group: &Group) -> Result<(), CgroupError> {
        let period = self.cpu_period.unwrap_or(PERIOD);
        if let Some(old) = group.legacy("cpu") {
            if let Some(shares) = self.cpu_shares {
                write(&old.join("cpu.shares"), &shares.to_string())?;
            }
            if let Some(quota) = self.cpu_quota {
                write(&old.join("cpu.cfs_period_us"), &period.to_string())?;
                write(&old.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
            return Ok(());
        }
        if self.cpu_quota.is_none() && self.cpu_shares.is_none() {
            return Ok(());
        }
        let new = group.unified.as_ref().ok_or(CgroupError::Missing("cpu"))?;
        if let Some(shares) = self.cpu_shares {
            write(&new.join("cpu.weight"), &weight(shares).to_string())?;
        }
        let Some(quota) = self.cpu_quota else {
            return Ok(());
        };
        write(&new.join("cpu.max"), &format!("{quota} {period}"))
    }

    fn apply_cpuset(&self, group: &Group) -> Result<(), CgroupError> {
        if !self.wants_cpuset() {
            return Ok(());
        }
        let old = group.legacy("cpuset");
        let path = old
            .or(group.unified.as_deref())
            .ok_or(CgroupError::Missing("cpuset"))?;
        let wanted = [("cpuset.cpus", &self.cpus), ("cpuset.mems", &self.mems)];
        for (file, value) in wanted {
            if old.is_some() {
                // A new version 1 group begins with none at all, and so does its parent.
                fill_from_parent(path.parent(), file)?;
                fill_from_parent(Some(path), file)?;
            }
            if let Some(value) = value {
                write(&path.join(file), value)?;
            }
        }
        Ok(())
    }

    fn apply_devices(&self, group: &Group) -> Result<(), CgroupError> {
        if self.devices.is_empty() {
            return Ok(());
        }
        if let Some(old) = group.legacy("devices") {
            for rule in &self.devices {
                let (file, line) = rule.legacy();
                write(&old.join(file), &line)?;
            }
            return Ok(());
        }
        let new = group
            .unified
            .as_ref()
            .ok_or(CgroupError::Missing("devices"))?;
        attach_program(new, &self.devices).map_err(|source| CgroupError::Devices {
            path: new.clone(),
            source,
        })
    }
}

pub(super) fn attach_program(group: &Path, rules: &[DeviceRule]) -> std::io::Result<()> {
    let program = kernel::load(&devices::program(rules))?;
    kernel::attach(File::open(group)?.as_fd(), program.as_fd())
}

fn fill_from_parent(group: Option<&Path>, file: &str) -> Result<(), CgroupError> {
    let Some((group, parent)) = group.and_then(|group| Some((group, group.parent()?))) else {
        return Ok(());
    };
    let read = |path: &Path| {
        std::fs::read_to_string(path.join(file)).map_err(|source| CgroupError::Read {
            path: path.join(file),
            source,
        })
    };
    if !read(group)?.trim().is_empty() {
        return Ok(());
    }
    write(&group.join(file), read(parent)?.trim())
}

/// Version 2's weight (1 to 10,000, default 100) for version 1's shares, as runc converts it.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9_999 / 262_142
}
