//! The container of a service. Pure.

use std::net::IpAddr;

use skep_proto::image::ImageRef;
use skep_proto::spec::{
    ContainerSpec, Device, DnsConfig, HealthCheck, HealthTest, LogDriver, Platform, Privileges,
    PullPolicy, STOP_GRACE, Seccomp, Ulimit,
};
use skep_proto::unit;

use super::fields::Fields;
use super::{Names, mounts};
use crate::stack::place::{Trouble, nearest};
use crate::stack::wanted::NAMESPACE;

/// Limits of processes that Linux knows.
const ULIMITS: [&str; 16] = [
    "as",
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

/// The container.
pub fn container(fields: &Fields<'_>, names: &Names<'_>) -> Result<ContainerSpec, Trouble> {
    let mut labels = fields.table("labels")?;
    labels.insert(NAMESPACE.into(), names.stack.to_owned());
    let environment = fields.table("environment")?.into_iter();
    let pulls = [
        ("missing", PullPolicy::Missing),
        ("if_not_present", PullPolicy::Missing),
        ("always", PullPolicy::Always),
        ("never", PullPolicy::Never),
    ];
    Ok(ContainerSpec {
        image: image(fields)?,
        pull: fields.word("pull_policy", &pulls)?.unwrap_or_default(),
        entrypoint: fields.words("entrypoint")?,
        args: fields.words("command")?,
        env: environment
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        labels,
        hostname: fields.owned("hostname")?,
        user: fields.owned("user")?,
        groups: fields.words("group_add")?,
        workdir: workdir(fields)?,
        tty: fields.flag("tty")?,
        read_only: fields.flag("read_only")?,
        init: fields.flag("init")?,
        stop_signal: fields.read("stop_signal", unit::signal)?,
        stop_grace: fields.duration("stop_grace_period")?.unwrap_or(STOP_GRACE),
        health: health(fields)?,
        mounts: mounts::all(fields, names)?,
        secrets: Vec::new(),
        configs: Vec::new(),
        hosts: hosts(fields)?,
        dns: DnsConfig {
            servers: fields.each("dns", address)?,
            search: fields.words("dns_search")?,
            options: fields.words("dns_opt")?,
        },
        privileges: privileges(fields)?,
        sysctls: fields.table("sysctls")?,
        ulimits: ulimits(fields)?,
        oom_score_adj: score(fields)?,
        shm_size: fields.bytes("shm_size")?.filter(|bytes| *bytes > 0),
    })
}

fn image(fields: &Fields<'_>) -> Result<ImageRef, Trouble> {
    let Some(text) = fields.text("image")?.filter(|text| !text.is_empty()) else {
        return Err(fields.wrong(
            "image is missing; a cluster builds none: build it, push it, and name it here",
        ));
    };
    if text.contains(char::is_whitespace) {
        return Err(fields.wrong_at("image", format!("\"{text}\" is not the name of an image")));
    }
    match text.split_once('@') {
        None => Ok(ImageRef {
            name: text.to_owned(),
            digest: None,
        }),
        Some((name, digest)) => {
            let digest = digest.parse();
            Ok(ImageRef {
                name: name.to_owned(),
                digest: Some(digest.map_err(|error| fields.wrong_at("image", error))?),
            })
        }
    }
}

fn workdir(fields: &Fields<'_>) -> Result<Option<String>, Trouble> {
    fields.read("working_dir", |text| {
        if text.starts_with('/') {
            Ok(text.to_owned())
        } else {
            Err(format!("\"{text}\" must begin with /"))
        }
    })
}

fn score(fields: &Fields<'_>) -> Result<i32, Trouble> {
    let score = fields.number("oom_score_adj")?.unwrap_or(0);
    if (-1000..=1000).contains(&score) {
        return Ok(score);
    }
    Err(fields.wrong_at(
        "oom_score_adj",
        format!("{score} is not from -1000 to 1000"),
    ))
}

fn health(fields: &Fields<'_>) -> Result<Option<HealthCheck>, Trouble> {
    let Some(check) = fields.below("healthcheck")? else {
        return Ok(None);
    };
    let words = check.words("test")?;
    let test = match words.split_first() {
        None => None,
        Some((first, rest)) => Some(match (first.as_str(), rest) {
            ("NONE", []) => HealthTest::None,
            ("CMD", [_, ..]) => HealthTest::Command(rest.to_vec()),
            ("CMD-SHELL", [line]) => HealthTest::Shell(line.clone()),
            ("NONE" | "CMD" | "CMD-SHELL", _) => {
                return Err(check.wrong_at(
                    "test",
                    "NONE stands alone, CMD before a program, CMD-SHELL before one line",
                ));
            }
            (other, _) => {
                let reason = format!(
                    "a list must begin with NONE, CMD or CMD-SHELL, this one begins with \"{other}\""
                );
                return Err(check.wrong_at("test", reason));
            }
        }),
    };
    if check.flag("disable")? {
        if matches!(test, None | Some(HealthTest::None)) {
            let test = Some(HealthTest::None);
            return Ok(Some(HealthCheck {
                test,
                ..HealthCheck::default()
            }));
        }
        return Err(check.wrong_at("disable", "it has a test as well; leave one of them out"));
    }
    Ok(Some(HealthCheck {
        test,
        interval: check.duration("interval")?,
        timeout: check.duration("timeout")?,
        retries: check.number("retries")?,
        start_period: check.duration("start_period")?,
        start_interval: check.duration("start_interval")?,
    }))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("\"{text}\" is not an address such as 10.0.0.1"))
}

fn hosts(fields: &Fields<'_>) -> Result<Vec<(String, IpAddr)>, Trouble> {
    let mut found = Vec::new();
    let Some(hosts) = fields.below("extra_hosts")? else {
        return Ok(found);
    };
    let names = fields.get("extra_hosts").and_then(|node| node.as_map());
    for name in names.into_iter().flat_map(|map| map.keys()) {
        for address in hosts.each(name, address)? {
            found.push((name.clone(), address));
        }
    }
    Ok(found)
}

fn privileges(fields: &Fields<'_>) -> Result<Privileges, Trouble> {
    let mut found = Privileges {
        cap_add: fields.each("cap_add", capability)?,
        cap_drop: fields.each("cap_drop", capability)?,
        privileged: fields.flag("privileged")?,
        ..Privileges::default()
    };
    for text in fields.words("security_opt")? {
        let (name, value) = text.split_once([':', '=']).unwrap_or((text.as_str(), ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => found.no_new_privileges = true,
            ("no-new-privileges", "false") => found.no_new_privileges = false,
            ("seccomp", "unconfined") => found.seccomp = Seccomp::Unconfined,
            // Nodes confine by neither; to ask for less of it changes nothing.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            _ => {
                let reason = format!(
                    "\"{text}\" is not understood; there are no-new-privileges:true and seccomp:unconfined"
                );
                return Err(fields.wrong_at("security_opt", reason));
            }
        }
    }
    for item in fields.items("devices")? {
        let source = item.needed("source")?;
        let permissions = item.text("permissions")?.unwrap_or("rwm");
        let known = |c: char| matches!(c, 'r' | 'w' | 'm');
        if permissions.is_empty() || !permissions.chars().all(known) {
            let reason = format!("permissions \"{permissions}\" are not made of r, w and m");
            return Err(item.wrong(reason));
        }
        found.devices.push(Device {
            source: source.to_owned(),
            target: item.text("target")?.unwrap_or(source).to_owned(),
            permissions: permissions.to_owned(),
        });
    }
    Ok(found)
}

/// A capability without `CAP_`, in capitals.
fn capability(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let good = |c: char| c.is_ascii_uppercase() || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err(format!("\"{text}\" is not a capability such as NET_ADMIN"));
    }
    Ok(name.to_owned())
}

fn ulimits(fields: &Fields<'_>) -> Result<Vec<Ulimit>, Trouble> {
    let mut found = Vec::new();
    for (name, item) in fields.named("ulimits")? {
        if !ULIMITS.contains(&name) {
            let near = nearest(name, ULIMITS);
            return Err(item.wrong(format!("no limit is called so{near}")));
        }
        let soft: Option<i64> = item.number("soft")?;
        let hard: Option<i64> = item.number("hard")?;
        let (Some(soft), Some(hard)) = (soft, hard) else {
            return Err(item.wrong("it needs soft and hard"));
        };
        if hard >= 0 && (soft > hard || soft < 0) {
            return Err(item.wrong(format!("soft {soft} is more than hard {hard}")));
        }
        found.push(Ulimit {
            name: name.to_owned(),
            soft,
            hard,
        });
    }
    Ok(found)
}

/// Where the output goes.
pub fn log(fields: &Fields<'_>) -> Result<Option<LogDriver>, Trouble> {
    let Some(logging) = fields.below("logging")? else {
        return Ok(None);
    };
    let options = logging.table("options")?;
    let Some(name) = logging.owned("driver")? else {
        if options.is_empty() {
            return Ok(None);
        }
        return Err(logging.wrong("options need a driver: json-file, local or none"));
    };
    Ok(Some(LogDriver { name, options }))
}

/// What the image must run on: `OS/ARCH` or `OS`.
pub fn platform(fields: &Fields<'_>) -> Result<Vec<Platform>, Trouble> {
    let Some(text) = fields.text("platform")? else {
        return Ok(Vec::new());
    };
    let mut parts = text.split('/');
    match (parts.next(), parts.next()) {
        (Some(os), Some(arch)) if !os.is_empty() && !arch.is_empty() => Ok(vec![Platform {
            os: os.to_owned(),
            arch: arch.to_owned(),
        }]),
        _ => Err(fields.wrong_at(
            "platform",
            format!("\"{text}\" is not OS/ARCH such as linux/amd64"),
        )),
    }
}
