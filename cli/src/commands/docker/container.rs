//! What a container is, as Docker's ContainerSpec.

use serde_json::{Value, json};
use skep_proto::image::ImageRef;
use skep_proto::spec::{
    ContainerSpec, FileUse, HealthCheck, HealthTest, Mount, MountSource, Propagation, Seccomp,
};

use super::{nanos, texts};

/// `name:tag@sha256:…`
pub(super) fn image(image: &ImageRef) -> String {
    match image.digest {
        Some(digest) => format!("{}@{digest}", image.name),
        None => image.name.clone(),
    }
}

pub(super) fn container(spec: &ContainerSpec) -> Value {
    let privileges = &spec.privileges;
    json!({
        "Image": image(&spec.image),
        "Labels": spec.labels,
        "Command": spec.entrypoint,
        "Args": spec.args,
        "Hostname": spec.hostname.clone().unwrap_or_default(),
        "Env": spec.env,
        "Dir": spec.workdir.clone().unwrap_or_default(),
        "User": spec.user.clone().unwrap_or_default(),
        "Groups": spec.groups,
        "TTY": spec.tty,
        "ReadOnly": spec.read_only,
        "Init": spec.init,
        "StopSignal": spec.stop_signal.map(signal).unwrap_or_default(),
        "StopGracePeriod": nanos(spec.stop_grace),
        "Healthcheck": spec.health.as_ref().map(health),
        "Mounts": spec.mounts.iter().map(mount).collect::<Value>(),
        "Secrets": spec.secrets.iter().map(|it| file(it, "SecretID", "SecretName")).collect::<Value>(),
        "Configs": spec.configs.iter().map(|it| file(it, "ConfigID", "ConfigName")).collect::<Value>(),
        "Hosts": texts(spec.hosts.iter().map(|(name, address)| format!("{address} {name}"))),
        "DNSConfig": {
            "Nameservers": texts(&spec.dns.servers),
            "Search": spec.dns.search,
            "Options": spec.dns.options,
        },
        "Privileges": {
            "NoNewPrivileges": privileges.no_new_privileges,
            "Seccomp": { "Mode": match privileges.seccomp {
                Seccomp::Docker => "default",
                Seccomp::Unconfined => "unconfined",
            } },
        },
        "Privileged": privileges.privileged,
        "Devices": privileges.devices.iter().map(|device| json!({
            "PathOnHost": device.source,
            "PathInContainer": device.target,
            "CgroupPermissions": device.permissions,
        })).collect::<Value>(),
        "CapabilityAdd": privileges.cap_add,
        "CapabilityDrop": privileges.cap_drop,
        "Sysctls": spec.sysctls,
        "Ulimits": spec.ulimits.iter().map(|limit| json!({
            "Name": limit.name,
            "Soft": limit.soft,
            "Hard": limit.hard,
        })).collect::<Value>(),
        "OomScoreAdj": spec.oom_score_adj,
        "ShmSize": spec.shm_size,
    })
}

fn signal(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| number.to_string(), |signal| signal.to_string())
}

fn health(check: &HealthCheck) -> Value {
    let test: Vec<String> = match &check.test {
        None => Vec::new(),
        Some(HealthTest::None) => vec!["NONE".into()],
        Some(HealthTest::Command(words)) => std::iter::once("CMD".to_owned())
            .chain(words.iter().cloned())
            .collect(),
        Some(HealthTest::Shell(line)) => vec!["CMD-SHELL".into(), line.clone()],
    };
    json!({
        "Test": test,
        "Interval": nanos(check.interval.unwrap_or_default()),
        "Timeout": nanos(check.timeout.unwrap_or_default()),
        "Retries": check.retries.unwrap_or_default(),
        "StartPeriod": nanos(check.start_period.unwrap_or_default()),
        "StartInterval": nanos(check.start_interval.unwrap_or_default()),
    })
}

fn mount(mount: &Mount) -> Value {
    let (kind, source) = match &mount.source {
        MountSource::Bind { path, .. } => ("bind", path.clone()),
        MountSource::Volume(volume) => ("volume", volume.name.clone().unwrap_or_default()),
        MountSource::Tmpfs { .. } => ("tmpfs", String::new()),
    };
    let mut shown = json!({
        "Type": kind,
        "Source": source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "BindOptions": null,
        "VolumeOptions": null,
        "TmpfsOptions": null,
    });
    match &mount.source {
        MountSource::Bind {
            propagation,
            recursive,
            ..
        } => {
            shown["BindOptions"] = json!({
                "Propagation": word(*propagation),
                "NonRecursive": !recursive,
            });
        }
        MountSource::Volume(volume) => {
            shown["VolumeOptions"] = json!({
                "NoCopy": volume.no_copy,
                "Labels": volume.labels,
                "Sticky": volume.sticky,
                "Subpath": volume.subpath.clone().unwrap_or_default(),
                "DriverConfig": { "Name": volume.driver, "Options": volume.options },
            });
        }
        MountSource::Tmpfs { size, mode } => {
            shown["TmpfsOptions"] = json!({ "SizeBytes": size.unwrap_or_default(), "Mode": mode });
        }
    }
    shown
}

fn word(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Private => "private",
        Propagation::Rprivate => "rprivate",
        Propagation::Shared => "shared",
        Propagation::Rshared => "rshared",
        Propagation::Slave => "slave",
        Propagation::Rslave => "rslave",
    }
}

fn file<I: ToString>(used: &FileUse<I>, id: &str, name: &str) -> Value {
    json!({
        id: used.id.to_string(),
        name: used.name,
        "File": {
            "Name": used.target,
            "UID": used.uid.to_string(),
            "GID": used.gid.to_string(),
            "Mode": used.mode,
        },
    })
}
