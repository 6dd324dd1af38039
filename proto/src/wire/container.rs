//! Converts what a container is to be.

use std::net::IpAddr;
use std::time::Duration;

use super::field::{address, address_bytes, enumeration, id, list, message, millis, optional};
use super::{WireError, WireId, v1};
use crate::spec::{
    ContainerSpec, Device, DnsConfig, FileUse, HealthCheck, HealthTest, Mount, MountSource,
    Privileges, PullPolicy, Ulimit, VolumeUse,
};

impl From<&ContainerSpec> for v1::ContainerSpec {
    fn from(spec: &ContainerSpec) -> Self {
        Self {
            image: Some((&spec.image).into()),
            pull: Some(v1::PullPolicy::from(spec.pull).into()),
            entrypoint: spec.entrypoint.clone(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            labels: spec.labels.clone(),
            hostname: spec.hostname.clone(),
            user: spec.user.clone(),
            groups: spec.groups.clone(),
            workdir: spec.workdir.clone(),
            tty: spec.tty,
            read_only: spec.read_only,
            init: spec.init,
            stop_signal: spec.stop_signal,
            stop_grace_ms: millis(spec.stop_grace),
            health: spec.health.as_ref().map(Into::into),
            mounts: spec.mounts.iter().map(Into::into).collect(),
            secrets: spec.secrets.iter().map(Into::into).collect(),
            configs: spec.configs.iter().map(Into::into).collect(),
            hosts: spec.hosts.iter().map(host_out).collect(),
            dns: Some((&spec.dns).into()),
            privileges: Some((&spec.privileges).into()),
            sysctls: spec.sysctls.clone(),
            ulimits: spec.ulimits.iter().map(Into::into).collect(),
            oom_score_adj: spec.oom_score_adj,
            shm_size: spec.shm_size,
        }
    }
}

impl TryFrom<v1::ContainerSpec> for ContainerSpec {
    type Error = WireError;

    fn try_from(from: v1::ContainerSpec) -> Result<Self, WireError> {
        let pull = from
            .pull
            .map(|policy| enumeration::<v1::PullPolicy, _>(policy, "pull"));
        Ok(Self {
            image: message(from.image, "image")?,
            pull: pull.transpose()?.unwrap_or(PullPolicy::Missing),
            entrypoint: from.entrypoint,
            args: from.args,
            env: from.env,
            labels: from.labels,
            hostname: from.hostname,
            user: from.user,
            groups: from.groups,
            workdir: from.workdir,
            tty: from.tty,
            read_only: from.read_only,
            init: from.init,
            stop_signal: from.stop_signal,
            stop_grace: Duration::from_millis(from.stop_grace_ms),
            health: from.health.map(Into::into),
            mounts: list(from.mounts, "mounts")?,
            secrets: list(from.secrets, "secrets")?,
            configs: list(from.configs, "configs")?,
            hosts: from
                .hosts
                .into_iter()
                .map(host_in)
                .collect::<Result<_, _>>()?,
            dns: optional(from.dns, "dns")?.unwrap_or_default(),
            privileges: optional(from.privileges, "privileges")?.unwrap_or_default(),
            sysctls: from.sysctls,
            ulimits: from.ulimits.into_iter().map(Into::into).collect(),
            oom_score_adj: from.oom_score_adj,
            shm_size: from.shm_size,
        })
    }
}

fn host_out((name, address): &(String, IpAddr)) -> v1::HostEntry {
    v1::HostEntry {
        name: name.clone(),
        address: address_bytes(*address),
    }
}

fn host_in(from: v1::HostEntry) -> Result<(String, IpAddr), WireError> {
    Ok((from.name, address(&from.address, "hosts")?))
}

impl<I: WireId> From<&FileUse<I>> for v1::FileUse {
    fn from(used: &FileUse<I>) -> Self {
        Self {
            id: used.id.to_bytes(),
            name: used.name.clone(),
            target: used.target.clone(),
            uid: used.uid,
            gid: used.gid,
            mode: used.mode,
            revision: used.revision,
        }
    }
}

impl<I: WireId> TryFrom<v1::FileUse> for FileUse<I> {
    type Error = WireError;

    fn try_from(from: v1::FileUse) -> Result<Self, WireError> {
        Ok(Self {
            id: id(&from.id, "id")?,
            name: from.name,
            target: from.target,
            uid: from.uid,
            gid: from.gid,
            mode: from.mode,
            revision: from.revision,
        })
    }
}

impl From<&DnsConfig> for v1::DnsConfig {
    fn from(dns: &DnsConfig) -> Self {
        Self {
            servers: dns.servers.iter().copied().map(address_bytes).collect(),
            search: dns.search.clone(),
            options: dns.options.clone(),
        }
    }
}

impl TryFrom<v1::DnsConfig> for DnsConfig {
    type Error = WireError;

    fn try_from(from: v1::DnsConfig) -> Result<Self, WireError> {
        let servers = from.servers.iter().map(|server| address(server, "servers"));
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            search: from.search,
            options: from.options,
        })
    }
}

impl From<&Privileges> for v1::Privileges {
    fn from(privileges: &Privileges) -> Self {
        Self {
            cap_add: privileges.cap_add.clone(),
            cap_drop: privileges.cap_drop.clone(),
            privileged: privileges.privileged,
            no_new_privileges: privileges.no_new_privileges,
            seccomp: v1::Seccomp::from(privileges.seccomp).into(),
            devices: privileges.devices.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Privileges> for Privileges {
    type Error = WireError;

    fn try_from(from: v1::Privileges) -> Result<Self, WireError> {
        Ok(Self {
            cap_add: from.cap_add,
            cap_drop: from.cap_drop,
            privileged: from.privileged,
            no_new_privileges: from.no_new_privileges,
            seccomp: enumeration::<v1::Seccomp, _>(from.seccomp, "seccomp")?,
            devices: from.devices.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<&Device> for v1::Device {
    fn from(device: &Device) -> Self {
        Self {
            source: device.source.clone(),
            target: device.target.clone(),
            permissions: device.permissions.clone(),
        }
    }
}

impl From<v1::Device> for Device {
    fn from(from: v1::Device) -> Self {
        Self {
            source: from.source,
            target: from.target,
            permissions: from.permissions,
        }
    }
}

impl From<&Ulimit> for v1::Ulimit {
    fn from(limit: &Ulimit) -> Self {
        Self {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        }
    }
}

impl From<v1::Ulimit> for Ulimit {
    fn from(from: v1::Ulimit) -> Self {
        Self {
            name: from.name,
            soft: from.soft,
            hard: from.hard,
        }
    }
}

impl From<&HealthCheck> for v1::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        use v1::health_check::Test;
        Self {
            test: check.test.as_ref().map(|test| match test {
                HealthTest::None => Test::None(v1::NoTest {}),
                HealthTest::Command(words) => Test::Command(v1::TestCommand {
                    words: words.clone(),
                }),
                HealthTest::Shell(line) => Test::Shell(line.clone()),
            }),
            interval_ms: check.interval.map(millis),
            timeout_ms: check.timeout.map(millis),
            retries: check.retries,
            start_period_ms: check.start_period.map(millis),
            start_interval_ms: check.start_interval.map(millis),
        }
    }
}

impl From<v1::HealthCheck> for HealthCheck {
    fn from(from: v1::HealthCheck) -> Self {
        use v1::health_check::Test;
        Self {
            test: from.test.map(|test| match test {
                Test::None(v1::NoTest {}) => HealthTest::None,
                Test::Command(v1::TestCommand { words }) => HealthTest::Command(words),
                Test::Shell(line) => HealthTest::Shell(line),
            }),
            interval: from.interval_ms.map(Duration::from_millis),
            timeout: from.timeout_ms.map(Duration::from_millis),
            retries: from.retries,
            start_period: from.start_period_ms.map(Duration::from_millis),
            start_interval: from.start_interval_ms.map(Duration::from_millis),
        }
    }
}

impl From<&Mount> for v1::Mount {
    fn from(mount: &Mount) -> Self {
        use v1::mount::Source;
        Self {
            source: Some(match &mount.source {
                MountSource::Bind {
                    path,
                    propagation,
                    recursive,
                } => Source::Bind(v1::BindMount {
                    path: path.clone(),
                    propagation: v1::Propagation::from(*propagation).into(),
                    recursive: *recursive,
                }),
                MountSource::Volume(volume) => Source::Volume(volume.into()),
                MountSource::Tmpfs { size, mode } => Source::Tmpfs(v1::TmpfsMount {
                    size: *size,
                    mode: *mode,
                }),
            }),
            target: mount.target.clone(),
            read_only: mount.read_only,
        }
    }
}

impl TryFrom<v1::Mount> for Mount {
    type Error = WireError;

    fn try_from(from: v1::Mount) -> Result<Self, WireError> {
        use v1::mount::Source;
        let source = match from.source.ok_or_else(|| WireError::missing("source"))? {
            Source::Bind(bind) => MountSource::Bind {
                path: bind.path,
                propagation: enumeration::<v1::Propagation, _>(bind.propagation, "propagation")?,
                recursive: bind.recursive,
            },
            Source::Volume(volume) => MountSource::Volume(volume.into()),
            Source::Tmpfs(v1::TmpfsMount { size, mode }) => MountSource::Tmpfs { size, mode },
        };
        Ok(Self {
            source,
            target: from.target,
            read_only: from.read_only,
        })
    }
}

impl From<&VolumeUse> for v1::VolumeMount {
    fn from(volume: &VolumeUse) -> Self {
        Self {
            name: volume.name.clone(),
            no_copy: volume.no_copy,
            subpath: volume.subpath.clone(),
            sticky: volume.sticky,
            driver: volume.driver.clone(),
            options: volume.options.clone(),
            labels: volume.labels.clone(),
        }
    }
}

impl From<v1::VolumeMount> for VolumeUse {
    fn from(from: v1::VolumeMount) -> Self {
        Self {
            name: from.name,
            no_copy: from.no_copy,
            subpath: from.subpath,
            sticky: from.sticky,
            driver: from.driver,
            options: from.options,
            labels: from.labels,
        }
    }
}
