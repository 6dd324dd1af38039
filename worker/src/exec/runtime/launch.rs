//! From an OCI bundle to the supervisor's launch plan.
//!
//! It resolves every default and refuses what this runtime cannot do; the supervisor decides
//! nothing. It looks at the machine only where the bundle names something of it.

use super::RuntimeError;
use super::place::Place;
use crate::exec::bundle::{Bundle, RootSource};
use crate::exec::cgroup::{DeviceRule, Group, Limits};
use crate::exec::mounts::{self, MountError, text};
use crate::exec::seccomp::{self, Filter};
use oci_spec::runtime::{
    Capability, Linux, LinuxNamespaceType, LinuxResources, PosixRlimitType, Process, Spec,
};
use skep_proto::validate;
use skep_shim::plan::{
    Capabilities, LaunchPlan, Log, MOST_TIED, Notes, Program, Root, Step, VERSION,
};
use std::collections::HashSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Why a bundle cannot become a container here.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A part that every bundle needs.
    #[error("the bundle has no {0}")]
    Missing(&'static str),
    /// A part that this runtime does not know.
    #[error("the bundle wants {0}, which this runtime does not offer")]
    Unsupported(String),
    /// A kernel parameter that is not the container's own.
    #[error("the kernel parameter {0:?} does not belong to a namespace of the container")]
    Sysctl(String),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The system call policy.
    #[error(transparent)]
    Seccomp(#[from] seccomp::SeccompError),
}

/// What a plan is made of besides the bundle.
pub struct Surroundings<'s> {
    pub place: &'s Place,
    pub group: &'s Group,
    pub supervisor_files: Vec<PathBuf>,
    pub visible_hierarchies: &'s [(String, Vec<String>)],
    pub filter: Filter,
}

/// The limits that a bundle sets.
pub fn limits(spec: &Spec) -> Limits {
    let none = LinuxResources::default();
    let resources = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    let resources = resources.unwrap_or(&none);
    // Negative amounts mean "without limit".
    let amount = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let memory = resources.memory().unwrap_or_default();
    let cpu = resources.cpu().clone().unwrap_or_default();
    Limits {
        memory_bytes: amount(memory.limit()),
        memory_reservation: amount(memory.reservation()),
        memory_and_swap: amount(memory.swap()),
        cpu_quota: amount(cpu.quota()),
        cpu_period: cpu.period(),
        cpu_shares: cpu.shares(),
        pids: amount(resources.pids().map(|pids| pids.limit())).filter(|limit| *limit > 0),
        cpus: cpu.cpus().clone(),
        mems: cpu.mems().clone(),
        devices: resources
            .devices()
            .iter()
            .flatten()
            .map(DeviceRule::from_oci)
            .collect(),
    }
}

/// The whole plan.
pub fn plan(bundle: &Bundle, around: Surroundings<'_>) -> Result<LaunchPlan, RuntimeError> {
    build(bundle, around).map_err(|source| RuntimeError::Plan {
        id: bundle.id.clone(),
        source,
    })
}

fn build(bundle: &Bundle, around: Surroundings<'_>) -> Result<LaunchPlan, PlanError> {
    let spec = &bundle.spec;
    let process = spec
        .process()
        .as_ref()
        .ok_or(PlanError::Missing("process"))?;
    let linux = spec
        .linux()
        .as_ref()
        .ok_or(PlanError::Missing("linux section"))?;
    let (namespaces, join_network) = namespaces(linux)?;
    let place = around.place;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let supervisor_groups = around.supervisor_files.iter().map(text);
    let private = has(linux, LinuxNamespaceType::Cgroup);
    Ok(LaunchPlan {
        version: VERSION,
        id: bundle.id.clone(),
        notes: Notes {
            socket: path(&place.socket()),
            created: path(&place.created()),
            ended: path(&place.ended()),
        },
        supervisor_groups: supervisor_groups.collect::<Result<_, _>>()?,
        namespaces,
        join_network,
        groups: skep_shim::plan::Groups {
            private,
            ..around.group.plan()
        },
        root: root(&bundle.root, &place.mount_point())?,
        steps: steps(spec, linux, around.visible_hierarchies)?,
        root_read_only: spec
            .root()
            .as_ref()
            .and_then(|root| root.readonly())
            .unwrap_or(false),
        program: program(process, around.filter)?,
        terminal: process.terminal().unwrap_or(false),
        log: bundle.log.map(|bounds| Log {
            path: path(&place.log()),
            max_bytes: bounds.max_bytes,
            max_files: bounds.max_files.max(1),
        }),
    })
}

fn has(linux: &Linux, kind: LinuxNamespaceType) -> bool {
    linux
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == kind)
}

fn namespaces(linux: &Linux) -> Result<(u64, Option<CString>), PlanError> {
    let (mut flags, mut network) = (0, None);
    for namespace in linux.namespaces().iter().flatten() {
        let flag = match (namespace.typ(), namespace.path()) {
            (LinuxNamespaceType::Network, Some(path)) => {
                network = Some(text(path)?);
                0
            }
            (LinuxNamespaceType::Mount, None) => libc::CLONE_NEWNS,
            (LinuxNamespaceType::Uts, None) => libc::CLONE_NEWUTS,
            (LinuxNamespaceType::Ipc, None) => libc::CLONE_NEWIPC,
            (LinuxNamespaceType::Pid, None) => libc::CLONE_NEWPID,
            (LinuxNamespaceType::Network, None) => libc::CLONE_NEWNET,
            // Entered by the child after it has joined its groups.
            (LinuxNamespaceType::Cgroup, None) => 0,
            (kind, None) => return Err(PlanError::Unsupported(format!("a {kind} namespace"))),
            (kind, Some(path)) => {
                let wanted = format!("the {kind} namespace at {}", path.display());
                return Err(PlanError::Unsupported(wanted));
            }
        };
        flags |= flag;
    }
    if flags & libc::CLONE_NEWNS == 0 || flags & libc::CLONE_NEWPID == 0 {
        return Err(PlanError::Missing("mount and pid namespace of its own"));
    }
    Ok((u64::from(flags.unsigned_abs()), network))
}

fn root(source: &RootSource, at: &Path) -> Result<Root, PlanError> {
    Ok(match source {
        RootSource::Directory(path) => Root::Directory(text(path)?),
        RootSource::Overlay { lower, upper, work } => {
            let all = lower.iter().chain([upper, work]);
            let odd = |path: &&PathBuf| path.to_string_lossy().contains([':', ',', '\\']);
            if let Some(path) = all.clone().find(odd) {
                let why = format!("a layer whose path has one of : , \\ ({})", path.display());
                return Err(PlanError::Unsupported(why));
            }
            if lower.is_empty() {
                return Err(PlanError::Missing("layer"));
            }
            Root::Overlay {
                lower: lower.iter().map(text).collect::<Result<_, _>>()?,
                upper: text(upper)?,
                work: text(work)?,
                at: text(at)?,
            }
        }
    })
}

fn steps(
    spec: &Spec,
    linux: &Linux,
    hierarchies: &[(String, Vec<String>)],
) -> Result<Vec<Step>, PlanError> {
    let process = spec.process().as_ref();
    let terminal = process.is_some_and(|process| process.terminal() == Some(true));
    let mut steps = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        steps.extend(mounts::steps(mount, hierarchies)?);
        if mount.destination() == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs") {
            steps.extend(mounts::standard_devices()?);
            steps.extend(terminal.then(mounts::console).transpose()?);
        }
    }
    let tied = |step: &&Step| matches!(step, Step::Bind { propagation, .. } if *propagation != libc::MS_PRIVATE);
    if steps.iter().filter(tied).count() > MOST_TIED {
        let why = format!("more than {MOST_TIED} binds with shared or slave propagation");
        return Err(PlanError::Unsupported(why));
    }
    for device in linux.devices().iter().flatten() {
        steps.push(mounts::device(device)?);
    }
    for (name, value) in linux.sysctl().iter().flatten() {
        steps.push(sysctl(linux, name, value)?);
    }
    for path in linux.masked_paths().iter().flatten() {
        steps.push(Step::Mask(text(path)?));
    }
    for path in linux.readonly_paths().iter().flatten() {
        steps.push(Step::ReadOnly(text(path)?));
    }
    if let Some(name) = spec.hostname() {
        steps.push(Step::Hostname(text(name)?));
    }
    if let Some(name) = spec.domainname() {
        steps.push(Step::Domainname(text(name)?));
    }
    Ok(steps)
}

/// Only what belongs to a namespace of the container's own may be written.
fn sysctl(linux: &Linux, name: &str, value: &str) -> Result<Step, PlanError> {
    let namespace = match name.starts_with("net.") {
        true => LinuxNamespaceType::Network,
        false => LinuxNamespaceType::Ipc,
    };
    if !validate::is_own_sysctl(name) || !has(linux, namespace) {
        return Err(PlanError::Sysctl(name.to_owned()));
    }
    let target = text(format!("/proc/sys/{}", name.replace('.', "/")))?;
    Ok(Step::Sysctl {
        target,
        value: text(value)?,
    })
}

fn program(process: &Process, filter: Filter) -> Result<Program, PlanError> {
    let args = process.args().as_deref().unwrap_or_default();
    let env = process.env().as_deref().unwrap_or_default();
    let command = args.first().filter(|word| !word.is_empty());
    let command = command.ok_or(PlanError::Missing("command"))?;
    let user = process.user();
    let sets = process.capabilities().clone().unwrap_or_default();
    let words = |words: &[String]| words.iter().map(text).collect::<Result<Vec<_>, _>>();
    let limits = process.rlimits().iter().flatten();
    Ok(Program {
        candidates: words(&candidates(command, env))?,
        args: words(args)?,
        env: words(env)?,
        cwd: text(process.cwd())?,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(0o022),
        capabilities: Capabilities {
            bounding: mask(sets.bounding().as_ref()),
            effective: mask(sets.effective().as_ref()),
            permitted: mask(sets.permitted().as_ref()),
            inheritable: mask(sets.inheritable().as_ref()),
            ambient: mask(sets.ambient().as_ref()),
        },
        limits: limits
            .map(|limit| (rlimit(limit.typ()), limit.soft(), limit.hard()))
            .collect(),
        oom_score: process.oom_score_adj().unwrap_or(0),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        seccomp: filter.program,
        seccomp_flags: filter.flags,
    })
}

/// The paths that a command may stand for, as a shell would look for it.
pub fn candidates(command: &str, env: &[String]) -> Vec<String> {
    if command.contains('/') {
        return vec![command.to_owned()];
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let places = path
        .split(':')
        .map(|place| if place.is_empty() { "." } else { place });
    places.map(|place| format!("{place}/{command}")).collect()
}

fn rlimit(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

/// Bit `n` for the capability with number `n`.
pub fn mask(set: Option<&HashSet<Capability>>) -> u64 {
    let bits = CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(_, one)| set.is_some_and(|set| set.contains(one)));
    bits.fold(0, |mask, (number, _)| mask | 1 << number)
}

/// In the order of their numbers.
const CAPABILITIES: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
