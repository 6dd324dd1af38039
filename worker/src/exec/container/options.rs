//! Words of a service that the kernel knows by numbers: capabilities, limits, the system call policy.

use std::collections::HashSet;

use oci_spec::runtime::{Capability, PosixRlimit, PosixRlimitBuilder, PosixRlimitType};
use skep_proto::spec::{Privileges, Seccomp as Asked, Ulimit};
use skep_proto::validate::{self, CAPABILITIES};

use super::super::ExecError;
use super::super::bundle::{ContainerPlan, Seccomp};

/// As Docker reckons: with `ALL` added, all but what is dropped; with `ALL` dropped, what is added; else Docker's
/// own list, plus what is added, less what is dropped.
pub(super) fn capabilities(privileges: &Privileges) -> HashSet<Capability> {
    let named = |names: &[String]| -> Vec<&'static str> {
        let known = names.iter().filter_map(|name| validate::capability(name));
        known.collect()
    };
    let (added, dropped) = (named(&privileges.cap_add), named(&privileges.cap_drop));
    let mut kept: HashSet<Capability> = if privileges.privileged || added.contains(&"ALL") {
        CAPABILITIES
            .iter()
            .filter_map(|name| capability(name))
            .collect()
    } else if dropped.contains(&"ALL") {
        HashSet::new()
    } else {
        ContainerPlan::default().capabilities
    };
    kept.extend(added.iter().filter_map(|name| capability(name)));
    for gone in dropped.iter().filter_map(|name| capability(name)) {
        kept.remove(&gone);
    }
    kept
}

fn capability(name: &str) -> Option<Capability> {
    name.parse().ok()
}

/// A privileged container may make all calls.
pub(super) fn seccomp(privileges: &Privileges) -> Seccomp {
    match privileges.seccomp {
        _ if privileges.privileged => Seccomp::Unconfined,
        Asked::Unconfined => Seccomp::Unconfined,
        Asked::Docker => Seccomp::Default,
    }
}

/// Limits of single processes.
pub(super) fn rlimits(limits: &[Ulimit]) -> Result<Vec<PosixRlimit>, ExecError> {
    // -1 is no limit, which the kernel writes as the largest number.
    let amount = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let one = |limit: &Ulimit| {
        let kind = rlimit(&limit.name)
            .ok_or_else(|| ExecError::new(format!("there is no ulimit {}", limit.name)))?;
        let built = PosixRlimitBuilder::default()
            .typ(kind)
            .soft(amount(limit.soft))
            .hard(amount(limit.hard))
            .build();
        built.map_err(|error| ExecError::from_chain(&error))
    };
    limits.iter().map(one).collect()
}

fn rlimit(name: &str) -> Option<PosixRlimitType> {
    Some(match name {
        "core" => PosixRlimitType::RlimitCore,
        "cpu" => PosixRlimitType::RlimitCpu,
        "data" => PosixRlimitType::RlimitData,
        "fsize" => PosixRlimitType::RlimitFsize,
        "locks" => PosixRlimitType::RlimitLocks,
        "memlock" => PosixRlimitType::RlimitMemlock,
        "msgqueue" => PosixRlimitType::RlimitMsgqueue,
        "nice" => PosixRlimitType::RlimitNice,
        "nofile" => PosixRlimitType::RlimitNofile,
        "nproc" => PosixRlimitType::RlimitNproc,
        "rss" => PosixRlimitType::RlimitRss,
        "rtprio" => PosixRlimitType::RlimitRtprio,
        "rttime" => PosixRlimitType::RlimitRttime,
        "sigpending" => PosixRlimitType::RlimitSigpending,
        "stack" => PosixRlimitType::RlimitStack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], expected: usize, without: &[&str]) {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let set = capabilities(&Privileges {
            cap_add: texts(add),
            cap_drop: texts(drop),
            ..Privileges::default()
        });
        assert_eq!(set.len(), expected, "{add:?} {drop:?}");
        for name in without {
            assert!(!set.contains(&capability(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn capabilities_are_reckoned_as_docker_does() {
        check(&[], &[], 14, &["NET_ADMIN"]);
        check(&["net_admin", "CAP_SYS_PTRACE"], &[], 16, &[]);
        check(&["NET_ADMIN"], &["ALL"], 1, &["CHOWN"]);
        check(&["ALL"], &["CHOWN"], 40, &["CHOWN"]);
        check(&[], &["CHOWN", "NET_ADMIN"], 13, &["CHOWN"]);
    }

    #[test]
    fn every_known_name_has_its_number() {
        let known = CAPABILITIES.map(|name| capability(name).is_some());
        assert!(known.iter().all(|known| *known), "{known:?}");
        for name in validate::ULIMITS {
            assert!(rlimit(name).is_some(), "{name}");
        }
    }
}
