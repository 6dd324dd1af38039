//! What the options of a container must satisfy. Pure.

use std::collections::BTreeSet;

use super::{Invalid, invalid};
use crate::spec::{ContainerSpec, Device, HealthCheck, HealthTest, Privileges, Ulimit};

/// Every capability of Linux, without `CAP_`, in the order of their numbers (capabilities(7)).
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every limit of single processes that can be set (getrlimit(2)), as Docker names them.
pub const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Kernel parameters of a container's own IPC namespace; those below `fs.mqueue.` and `net.` come on top.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Longest host name: what the kernel takes.
const LONGEST_HOSTNAME: usize = 64;

/// A capability's name without `CAP_`, however it was written; `ALL` stands for all.
pub fn capability(text: &str) -> Option<&'static str> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CAPABILITIES
        .iter()
        .chain(&["ALL"])
        .find(|known| **known == name)
        .copied()
}

/// Whether a kernel parameter belongs to a namespace that every container has of its own.
pub fn is_own_sysctl(name: &str) -> bool {
    let below = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    };
    let own = IPC_SYSCTLS.contains(&name) || below("fs.mqueue.") || below("net.");
    own && !name.contains('/') && !name.contains("..") && !name.contains('\0')
}

pub(super) fn check(container: &ContainerSpec) -> Result<(), Invalid> {
    identity(container)?;
    resolver(container)?;
    privileges(&container.privileges)?;
    for name in container.sysctls.keys() {
        if !is_own_sysctl(name) {
            let reason = format!(
                "\"{name}\" belongs to the whole node, not to a container; those below net. and fs.mqueue. \
                 and {} can be set",
                IPC_SYSCTLS.join(", ")
            );
            return Err(invalid("--sysctl", reason));
        }
    }
    ulimits(&container.ulimits)?;
    if !(-1000..=1000).contains(&container.oom_score_adj) {
        let reason = format!(
            "{} is not a number from -1000 to 1000",
            container.oom_score_adj
        );
        return Err(invalid("--oom-score-adj", reason));
    }
    if container.shm_size == Some(0) {
        return Err(invalid(
            "--shm-size",
            "must be more than 0; leave it out for 64m",
        ));
    }
    container.health.as_ref().map_or(Ok(()), health)
}

fn identity(container: &ContainerSpec) -> Result<(), Invalid> {
    if container.entrypoint.iter().any(|word| word.contains('\0')) {
        return Err(invalid("--entrypoint", "a word holds a zero byte"));
    }
    let odd = |text: &String| text.is_empty() || text.contains(['\0', '\n', ' ']);
    if let Some(user) = container.user.as_ref().filter(|user| odd(user)) {
        let reason = format!("\"{user}\" is not USER, UID, USER:GROUP or UID:GID");
        return Err(invalid("--user", reason));
    }
    if let Some(group) = container
        .groups
        .iter()
        .find(|group| odd(group) || group.contains(':'))
    {
        let reason = format!("\"{group}\" is neither a group's name nor its number");
        return Err(invalid("--group", reason));
    }
    if let Some(workdir) = &container.workdir {
        absolute("--workdir", workdir)?;
    }
    if let Some(hostname) = &container.hostname {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if hostname.is_empty() || hostname.len() > LONGEST_HOSTNAME || !hostname.chars().all(fits) {
            let reason = format!(
                "\"{hostname}\" must have 1 to {LONGEST_HOSTNAME} letters, digits, \"-\", \".\" or \"_\""
            );
            return Err(invalid("--hostname", reason));
        }
    }
    Ok(())
}

fn resolver(container: &ContainerSpec) -> Result<(), Invalid> {
    let odd =
        |text: &str| text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '\0');
    if let Some((name, _)) = container.hosts.iter().find(|(name, _)| odd(name)) {
        let reason = format!("\"{name}\" is not a host name; give NAME:ADDRESS");
        return Err(invalid("--host", reason));
    }
    let dns = &container.dns;
    if dns.servers.iter().any(|server| server.is_unspecified()) {
        return Err(invalid("--dns", "an address of a server is needed"));
    }
    if let Some(search) = dns.search.iter().find(|search| odd(search)) {
        let reason = format!("\"{search}\" is not a domain; \".\" alone means none");
        return Err(invalid("--dns-search", reason));
    }
    if let Some(option) = dns.options.iter().find(|option| odd(option)) {
        let reason = format!("\"{option}\" is not an option such as ndots:2");
        return Err(invalid("--dns-option", reason));
    }
    Ok(())
}

fn privileges(privileges: &Privileges) -> Result<(), Invalid> {
    let lists = [
        ("--cap-add", &privileges.cap_add),
        ("--cap-drop", &privileges.cap_drop),
    ];
    for (field, names) in lists {
        if let Some(unknown) = names.iter().find(|name| capability(name).is_none()) {
            let reason = format!(
                "\"{unknown}\" is no capability; known are ALL, {}",
                CAPABILITIES.join(", ")
            );
            return Err(invalid(field, reason));
        }
    }
    privileges.devices.iter().try_for_each(device)
}

fn device(device: &Device) -> Result<(), Invalid> {
    absolute("--device", &device.source)?;
    absolute("--device", &device.target)?;
    let letters: BTreeSet<char> = device.permissions.chars().collect();
    let known = letters.iter().all(|letter| "rwm".contains(*letter));
    if !known || letters.is_empty() || letters.len() != device.permissions.chars().count() {
        let reason = format!(
            "\"{}\" is not made of the letters r (read), w (write) and m (make)",
            device.permissions
        );
        return Err(invalid("--device", reason));
    }
    Ok(())
}

fn ulimits(limits: &[Ulimit]) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for limit in limits {
        let name = limit.name.as_str();
        let wrong = |reason: String| Err(invalid("--ulimit", format!("{name}: {reason}")));
        if !ULIMITS.contains(&name) {
            return wrong(format!("is no limit; known are {}", ULIMITS.join(", ")));
        }
        if !names.insert(name) {
            return wrong("is given twice".to_owned());
        }
        if limit.soft < -1 || limit.hard < -1 {
            return wrong("a limit is a number, or -1 for none".to_owned());
        }
        let beyond = limit.soft > limit.hard || limit.soft == -1;
        if limit.hard != -1 && beyond {
            return wrong(format!(
                "the soft limit {} is above the hard limit {}; lower it",
                limit.soft, limit.hard
            ));
        }
    }
    Ok(())
}

fn health(check: &HealthCheck) -> Result<(), Invalid> {
    match &check.test {
        Some(HealthTest::Command(words)) if words.first().is_none_or(String::is_empty) => {
            return Err(invalid("--health-cmd", "names no command"));
        }
        Some(HealthTest::Shell(line)) if line.trim().is_empty() => {
            return Err(invalid(
                "--health-cmd",
                "is empty; --no-healthcheck takes the image's check away",
            ));
        }
        Some(HealthTest::None) => {
            let settings = HealthCheck {
                test: None,
                ..check.clone()
            };
            if settings != HealthCheck::default() {
                let reason = "takes the check away, so no other option of it can be given";
                return Err(invalid("--no-healthcheck", reason));
            }
        }
        _ => {}
    }
    let times = [
        ("--health-interval", check.interval),
        ("--health-timeout", check.timeout),
        ("--health-start-interval", check.start_interval),
    ];
    for (field, time) in times {
        if time.is_some_and(|time| time.as_millis() == 0) {
            return Err(invalid(field, "must be 1ms at least"));
        }
    }
    if check.retries == Some(0) {
        return Err(invalid("--health-retries", "must be 1 at least"));
    }
    Ok(())
}

/// A path inside a container, or on the node.
pub(super) fn absolute(field: &'static str, path: &str) -> Result<(), Invalid> {
    if !path.starts_with('/') || path.contains('\0') {
        let reason = format!("\"{path}\" is not an absolute path; it must begin with /");
        return Err(invalid(field, reason));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(invalid(field, format!("\"{path}\" must not hold \"..\"")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
