//! From our own description of a container to an OCI bundle, with Docker's defaults.
//!
//! Pure. It decides what a container gets when nobody said otherwise; it never looks at the
//! machine, and how the bundle becomes a process is [`super::runtime`]'s business.

mod attachment;
mod defaults;
#[cfg(test)]
mod tests;
pub mod user;

pub use attachment::{Attachment, Bind, Device};
pub use user::User;

use super::seccomp::policy;
use attachment::{attachment, mount};
use oci_spec::runtime::{
    Capability, Linux, LinuxCapabilities, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxNamespace,
    LinuxNamespaceType, LinuxPids, LinuxResources, LinuxSeccomp, Mount, PosixRlimit, Process, Root,
    Spec,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// What a container should be. [`Default`] is a container of Docker's kind without a program.
#[derive(Clone, Debug)]
pub struct ContainerPlan {
    /// 1 to 128 letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// Its files.
    pub root: RootSource,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Who it runs as.
    pub user: User,
    /// Its host name; at most 64 bytes.
    pub hostname: String,
    /// Besides the standard ones, in this order.
    pub mounts: Vec<Attachment>,
    /// What it may not exceed.
    pub limits: Resources,
    /// What it is promised.
    pub reservations: Resources,
    /// Its network namespace.
    pub network: Network,
    /// What root may do in it.
    pub capabilities: HashSet<Capability>,
    /// True to make its root file system read-only.
    pub read_only: bool,
    /// True if no program in it may gain privileges.
    pub no_new_privileges: bool,
    /// True if it gets every device, nothing of /proc and /sys is kept from it, and it may write to them.
    pub privileged: bool,
    /// Devices of the host besides the harmless ones.
    pub devices: Vec<Device>,
    /// -1000 to 1000: whom the kernel ends first when memory is short.
    pub oom_score_adj: i32,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Kernel parameters of its namespaces, such as `net.core.somaxconn`.
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits of its first process.
    pub rlimits: Vec<PosixRlimit>,
    /// Bytes of /dev/shm.
    pub shm_bytes: u64,
    /// Kept with it for whoever recovers it.
    pub labels: BTreeMap<String, String>,
    /// What asks it to end.
    pub stop_signal: i32,
    /// True if its input and output are a terminal of its own, into which nobody types.
    pub tty: bool,
    /// How its output is kept; none to keep nothing.
    pub log: Option<LogBounds>,
}

/// Where the root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A directory, used as it is.
    Directory(PathBuf),
    /// Layers below a writable directory; mounted inside the container's mount namespace alone.
    Overlay {
        /// Read-only layers, topmost first; at least one.
        lower: Vec<PathBuf>,
        /// Receives what the container writes.
        upper: PathBuf,
        /// Overlayfs' scratch directory, on the file system of `upper`.
        work: PathBuf,
    },
}

/// Amounts; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Processors, in billionths.
    pub nano_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// A container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// A new one, with a loopback that is down.
    New,
    /// An existing one, by the path of its file.
    Join(PathBuf),
    /// The host's.
    Host,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// Docker's default policy.
    Default,
    /// All.
    Unconfined,
    /// As this policy says.
    Policy(Box<LinuxSeccomp>),
}

/// How output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Bytes after which a new file is begun.
    pub max_bytes: u64,
    /// Files at most; at least one.
    pub max_files: u32,
}

/// An OCI bundle and what OCI has no words for.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The container's id.
    pub id: String,
    /// As in a `config.json`; `root.path` counts only for [`RootSource::Directory`].
    pub spec: Spec,
    /// Where the root comes from.
    pub root: RootSource,
    /// Kept with the container.
    pub labels: BTreeMap<String, String>,
    /// What asks it to end.
    pub stop_signal: i32,
    /// How its output is kept; none to keep nothing.
    pub log: Option<LogBounds>,
}

impl Default for LogBounds {
    /// Three files of 10 MiB.
    fn default() -> Self {
        Self {
            max_bytes: 10 << 20,
            max_files: 3,
        }
    }
}

impl Default for ContainerPlan {
    fn default() -> Self {
        Self {
            id: String::new(),
            root: RootSource::Directory(PathBuf::new()),
            args: Vec::new(),
            env: vec![defaults::PATH.to_owned()],
            cwd: PathBuf::from("/"),
            user: User::default(),
            hostname: String::new(),
            mounts: Vec::new(),
            limits: Resources::default(),
            reservations: Resources::default(),
            network: Network::New,
            capabilities: defaults::CAPABILITIES.iter().copied().collect(),
            read_only: false,
            no_new_privileges: false,
            privileged: false,
            devices: Vec::new(),
            oom_score_adj: 0,
            seccomp: Seccomp::Default,
            sysctls: BTreeMap::new(),
            rlimits: Vec::new(),
            shm_bytes: 64 << 20,
            labels: BTreeMap::new(),
            stop_signal: libc::SIGTERM,
            tty: false,
            log: Some(LogBounds::default()),
        }
    }
}

impl ContainerPlan {
    /// The bundle that this plan describes.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        let mut spec = Spec::default();
        let mut root = Root::default();
        if let RootSource::Directory(path) = &self.root {
            root.set_path(path.clone());
        }
        root.set_readonly(Some(self.read_only));
        spec.set_version("1.0.2".to_owned())
            .set_root(Some(root))
            .set_mounts(Some(self.all_mounts()))
            .set_process(Some(self.process()))
            .set_linux(Some(self.linux()));
        spec.set_hostname((!self.hostname.is_empty()).then(|| self.hostname.clone()));
        Bundle {
            id: self.id.clone(),
            spec,
            root: self.root.clone(),
            labels: self.labels.clone(),
            stop_signal: self.stop_signal,
            log: self.log,
        }
    }

    fn all_mounts(&self) -> Vec<Mount> {
        let shm = format!("mode=1777,size={}", self.shm_bytes);
        let standard = defaults::MOUNTS.iter().map(|(kind, target, options)| {
            let options = options.replace("SHM", &shm);
            let options = options.split(',').map(str::to_owned);
            let kept = options.filter(|word| !self.privileged || word != "ro");
            mount(kind, kind.into(), target.into(), kept.collect())
        });
        standard.chain(self.mounts.iter().map(attachment)).collect()
    }

    fn process(&self) -> Process {
        let kept = |set: &HashSet<Capability>| (!set.is_empty()).then(|| set.clone());
        let none = HashSet::new();
        let mut capabilities = LinuxCapabilities::default();
        capabilities
            .set_bounding(Some(self.capabilities.clone()))
            .set_permitted(Some(self.capabilities.clone()))
            .set_effective(Some(self.capabilities.clone()))
            .set_inheritable(kept(&none))
            .set_ambient(kept(&none));
        let mut process = Process::default();
        process
            .set_terminal(Some(self.tty))
            .set_user(self.user.to_oci())
            .set_args(Some(self.args.clone()))
            .set_env(Some(self.env.clone()))
            .set_cwd(self.cwd.clone())
            .set_capabilities(Some(capabilities))
            .set_rlimits((!self.rlimits.is_empty()).then(|| self.rlimits.clone()))
            .set_no_new_privileges(Some(self.no_new_privileges))
            .set_oom_score_adj(Some(self.oom_score_adj));
        process
    }

    fn linux(&self) -> Linux {
        let mut linux = Linux::default();
        let texts = |list: &[&str]| {
            let kept = list.iter().filter(|_| !self.privileged);
            kept.map(|text| (*text).to_owned()).collect()
        };
        let devices = self.devices.iter().map(Device::node).collect::<Vec<_>>();
        linux
            .set_namespaces(Some(self.namespaces()))
            .set_resources(Some(self.resources()))
            .set_sysctl(Some(self.all_sysctls()))
            .set_devices((!devices.is_empty()).then_some(devices))
            .set_masked_paths(Some(texts(defaults::MASKED)))
            .set_readonly_paths(Some(texts(defaults::READ_ONLY)))
            .set_seccomp(match &self.seccomp {
                Seccomp::Default => Some(policy::default_policy(&self.capabilities)),
                Seccomp::Unconfined => None,
                Seccomp::Policy(policy) => Some((**policy).clone()),
            });
        linux
    }

    fn namespaces(&self) -> Vec<LinuxNamespace> {
        use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network as Net, Pid, Uts};
        let new = |kind: LinuxNamespaceType, path: Option<PathBuf>| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(kind).set_path(path);
            namespace
        };
        let mut list: Vec<_> = [Mount, Uts, Ipc, Pid, Cgroup]
            .map(|kind| new(kind, None))
            .into();
        match &self.network {
            Network::New => list.push(new(Net, None)),
            Network::Join(path) => list.push(new(Net, Some(path.clone()))),
            Network::Host => {}
        }
        list
    }

    fn all_sysctls(&self) -> HashMap<String, String> {
        let own = self.network != Network::Host;
        let standard = defaults::SYSCTLS.iter().filter(|_| own);
        let mut all: HashMap<_, _> = standard
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.extend(self.sysctls.clone());
        all
    }

    fn resources(&self) -> LinuxResources {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let mut memory = LinuxMemory::default();
        memory
            .set_limit(self.limits.memory_bytes.map(signed))
            .set_reservation(self.reservations.memory_bytes.map(signed));
        let mut cpu = LinuxCpu::default();
        if let Some(nano) = self.limits.nano_cpus {
            // The kernel takes a millisecond of quota at least.
            let quota = (nano / (1_000_000_000 / defaults::CPU_PERIOD)).max(1_000);
            cpu.set_quota(Some(signed(quota)))
                .set_period(Some(defaults::CPU_PERIOD));
        }
        if let Some(nano) = self.reservations.nano_cpus {
            cpu.set_shares(Some((nano.saturating_mul(1024) / 1_000_000_000).max(2)));
        }
        let mut resources = LinuxResources::default();
        resources
            .set_devices(Some(self.device_rules()))
            .set_memory(Some(memory))
            .set_cpu(Some(cpu));
        if let Some(limit) = self.limits.pids {
            let mut pids = LinuxPids::default();
            pids.set_limit(signed(limit));
            resources.set_pids(Some(pids));
        }
        resources
    }

    fn device_rules(&self) -> Vec<LinuxDeviceCgroup> {
        let rule = |&(allow, kind, major, minor, access): &defaults::Device| {
            let mut rule = LinuxDeviceCgroup::default();
            rule.set_allow(allow)
                .set_typ(Some(kind))
                .set_major(major)
                .set_minor(minor)
                .set_access(Some(access.to_owned()));
            rule
        };
        if self.privileged {
            return vec![rule(&defaults::EVERY_DEVICE)];
        }
        let standard = defaults::DEVICES.iter().map(rule);
        standard
            .chain(self.devices.iter().map(Device::rule))
            .collect()
    }
}
