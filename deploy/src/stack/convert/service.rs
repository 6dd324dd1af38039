//! A service of a stack. Pure.

use std::collections::BTreeMap;

use skep_proto::spec::{
    EndpointMode, FileUse, PortSpec, Protocol, PublishMode, RestartCondition, RestartPolicy,
    ServiceSpec, TaskSpec,
};

use super::fields::Fields;
use super::{Names, container, deploy};
use crate::stack::compose;
use crate::stack::place::Trouble;
use crate::stack::wanted::{Condition, Dependency, NAMESPACE, ServiceWanted};

/// The label that keeps the image as the file names it.
const IMAGE: &str = "com.docker.stack.image";
/// Permission bits of a secret or config.
const MODE: u32 = 0o444;

/// All services, each behind those it waits for.
pub fn all(root: &Fields<'_>, names: &Names<'_>) -> Result<Vec<ServiceWanted>, Trouble> {
    let mut found = BTreeMap::new();
    let mut waits = BTreeMap::new();
    for (key, fields) in root.named("services")? {
        let service = one(key, &fields, names)?;
        let before = service.after.iter().map(|after| after.service.clone());
        waits.insert(service.spec.name.clone(), before.collect());
        found.insert(service.spec.name.clone(), service);
    }
    // The project was read, so there is no circle.
    let order = compose::order(&waits).unwrap_or_else(|_| found.keys().cloned().collect());
    Ok(order.iter().filter_map(|name| found.remove(name)).collect())
}

fn one(key: &str, fields: &Fields<'_>, names: &Names<'_>) -> Result<ServiceWanted, Trouble> {
    let deploy = fields.below("deploy")?;
    let mut spec = ServiceSpec::new(
        names.prefixed(key),
        TaskSpec::new(container::container(fields, names)?),
    );
    let image = fields.text("image")?.unwrap_or_default();
    spec.labels = match &deploy {
        Some(deploy) => deploy.table("labels")?,
        None => BTreeMap::new(),
    };
    spec.labels.insert(NAMESPACE.into(), names.stack.to_owned());
    spec.labels.insert(IMAGE.into(), image.to_owned());
    old_limits(fields, &mut spec.task)?;
    spec.task.log = container::log(fields)?;
    spec.task.platforms = container::platform(fields)?;
    spec.task.restart = restart(fields)?;
    if let Some(replicas) = fields.number("scale")? {
        spec.mode = skep_proto::spec::Mode::Replicated { replicas };
    }
    if let Some(deploy) = &deploy {
        deploy::apply(deploy, &mut spec)?;
    }
    spec.ports = ports(fields)?;
    if spec.endpoint == EndpointMode::Dnsrr
        && spec
            .ports
            .iter()
            .any(|port| port.mode == PublishMode::Ingress)
    {
        return Err(fields.wrong(
            "endpoint_mode dnsrr has no virtual address for a port in mode ingress; publish with mode: host",
        ));
    }
    Ok(ServiceWanted {
        at: fields.place().clone(),
        networks: networks(key, fields, names)?,
        secrets: uses(fields, "secrets", &names.secrets, "/run/secrets/")?,
        configs: uses(fields, "configs", &names.configs, "/")?,
        after: after(fields, names)?,
        spec,
    })
}

/// The names that limits have outside of `deploy`, which goes before them.
fn old_limits(fields: &Fields<'_>, task: &mut TaskSpec) -> Result<(), Trouble> {
    task.limits.nano_cpus = fields.cpus("cpus")?.filter(|cpus| *cpus > 0);
    task.limits.memory = fields.bytes("mem_limit")?.filter(|bytes| *bytes > 0);
    task.reservations.memory = fields.bytes("mem_reservation")?.unwrap_or(0);
    let pids: Option<i64> = fields.number("pids_limit")?;
    task.limits.pids = pids
        .and_then(|pids| u64::try_from(pids).ok())
        .filter(|pids| *pids > 0);
    Ok(())
}

/// `restart`, which `deploy.restart_policy` goes before.
fn restart(fields: &Fields<'_>) -> Result<RestartPolicy, Trouble> {
    let mut policy = RestartPolicy::default();
    let Some(text) = fields.text("restart")? else {
        return Ok(policy);
    };
    let (word, most) = text.split_once(':').unwrap_or((text, ""));
    policy.condition = match word {
        "no" | "false" => RestartCondition::None,
        "always" | "unless-stopped" => RestartCondition::Any,
        "on-failure" => RestartCondition::OnFailure,
        _ => {
            let reason =
                format!("\"{text}\" is none of no, always, unless-stopped, on-failure[:TIMES]");
            return Err(fields.wrong_at("restart", reason));
        }
    };
    if !most.is_empty() {
        let most: u32 = most.parse().map_err(|_| {
            fields.wrong_at("restart", format!("\"{most}\" is not a number of times"))
        })?;
        policy.max_attempts = Some(most).filter(|most| *most > 0);
    }
    Ok(policy)
}

fn ports(fields: &Fields<'_>) -> Result<Vec<PortSpec>, Trouble> {
    let mut ports: Vec<PortSpec> = Vec::new();
    for item in fields.items("ports")? {
        if let Some(address) = item.text("host_ip")?
            && !matches!(address, "" | "0.0.0.0" | "::" | "*")
        {
            return Err(item.wrong_at(
                "host_ip",
                format!(
                    "\"{address}\": a port of a stack is open on every address of its nodes; leave the \
                     address out, or do not publish the port"
                ),
            ));
        }
        let published = item.read("published", port)?;
        let port = PortSpec {
            protocol: item
                .word(
                    "protocol",
                    &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
                )?
                .unwrap_or(Protocol::Tcp),
            target: item
                .read("target", port)?
                .flatten()
                .ok_or_else(|| item.wrong("target is missing"))?,
            published: published.flatten(),
            mode: item
                .word(
                    "mode",
                    &[
                        ("ingress", PublishMode::Ingress),
                        ("host", PublishMode::Host),
                    ],
                )?
                .unwrap_or(PublishMode::Ingress),
        };
        let clash = |other: &PortSpec| {
            other.published.is_some()
                && (other.published, other.protocol) == (port.published, port.protocol)
        };
        if let Some(other) = ports.iter().find(|other| clash(other)) {
            return Err(item.wrong(format!(
                "port {} is published twice, also for {}",
                port.published.unwrap_or_default(),
                other.target
            )));
        }
        ports.push(port);
    }
    Ok(ports)
}

/// Nothing and 0 let a manager choose.
fn port(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let port: u16 = text.parse().map_err(|_| {
        if text.contains('-') {
            format!("\"{text}\": a range needs as many ports inside; write both in the short form")
        } else {
            format!("\"{text}\" is not a port from 1 to 65535")
        }
    })?;
    Ok(Some(port).filter(|port| *port > 0))
}

/// Networks in the order of their priority, then by name; the service's own key is an alias on each.
fn networks(
    key: &str,
    fields: &Fields<'_>,
    names: &Names<'_>,
) -> Result<Vec<(String, Vec<String>)>, Trouble> {
    let mut found = Vec::new();
    for (network, used) in fields.named("networks")? {
        let priority: i64 = used.number("priority")?.unwrap_or(0);
        let name = names.networks.get(network).cloned().unwrap_or_default();
        let mut aliases = vec![key.to_owned()];
        for alias in used.words("aliases")? {
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        found.push((priority, name, aliases));
    }
    found.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let used = found.into_iter();
    Ok(used.map(|(_, name, aliases)| (name, aliases)).collect())
}

fn uses(
    fields: &Fields<'_>,
    section: &str,
    names: &BTreeMap<String, String>,
    folder: &str,
) -> Result<Vec<FileUse<String>>, Trouble> {
    let mut found: Vec<FileUse<String>> = Vec::new();
    for item in fields.items(section)? {
        let source = item.needed("source")?;
        let name = names.get(source).cloned().unwrap_or_default();
        let target = item.text("target")?.unwrap_or(source);
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("{folder}{target}")
        };
        if found.iter().any(|other| other.target == target) {
            return Err(item.wrong(format!("two of them would be the file {target}")));
        }
        found.push(FileUse {
            id: name.clone(),
            name,
            target,
            uid: item.number("uid")?.unwrap_or(0),
            gid: item.number("gid")?.unwrap_or(0),
            mode: item.mode("mode")?.unwrap_or(MODE),
            revision: None,
        });
    }
    found.sort_by(|one, other| one.target.cmp(&other.target));
    Ok(found)
}

fn after(fields: &Fields<'_>, names: &Names<'_>) -> Result<Vec<Dependency>, Trouble> {
    let mut found = Vec::new();
    for (service, item) in fields.named("depends_on")? {
        let words = [
            ("service_started", Condition::Started),
            ("service_healthy", Condition::Healthy),
            ("service_completed_successfully", Condition::Completed),
        ];
        found.push(Dependency {
            service: names.prefixed(service),
            condition: item
                .word("condition", &words)?
                .unwrap_or(Condition::Started),
        });
    }
    Ok(found)
}
