//! Reads single values as Docker's users write them: durations, sizes, ports.

pub mod container;
pub mod file;
pub mod mount;

#[path = "read_streams.rs"]
mod streams;

use skep_proto::constraint::Key;
use skep_proto::spec::{PortSpec, Protocol, PublishMode};

pub use streams::{Keys, Tail, keys, moment, tail};

pub use skep_proto::unit::{bytes, cpus, duration, share, signal};

/// A network named on the command line, not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkArg {
    /// Its name or id.
    pub name: String,
    /// Further names by which the service is found there.
    pub aliases: Vec<String>,
}

/// Reads a published port, in the short or the long form.
///
/// # Errors
/// Says what is not understood.
pub fn port(text: &str) -> Result<PortSpec, String> {
    if text.contains('=') {
        long_port(text)
    } else {
        short_port(text)
    }
}

fn short_port(text: &str) -> Result<PortSpec, String> {
    let (ports, transport) = text.split_once('/').unwrap_or((text, "tcp"));
    let (published, target) = match ports.split_once(':') {
        Some((published, target)) => (Some(port_number(published)?), target),
        None => (None, ports),
    };
    if target.contains(':') {
        return Err(format!(
            "\"{text}\": a service's port is open on every address, name none"
        ));
    }
    Ok(PortSpec {
        protocol: protocol(transport)?,
        target: port_number(target)?,
        published,
        mode: PublishMode::Ingress,
    })
}

fn long_port(text: &str) -> Result<PortSpec, String> {
    let mut port = PortSpec {
        protocol: Protocol::Tcp,
        target: 0,
        published: None,
        mode: PublishMode::Ingress,
    };
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("\"{part}\" is not KEY=VALUE"))?;
        match key.trim() {
            "target" | "dst" => port.target = port_number(value)?,
            "published" | "src" => port.published = Some(port_number(value)?),
            "protocol" => port.protocol = protocol(value)?,
            "mode" => {
                port.mode = match value {
                    "ingress" => PublishMode::Ingress,
                    "host" => PublishMode::Host,
                    _ => return Err(format!("mode \"{value}\" is neither ingress nor host")),
                }
            }
            other => {
                return Err(format!(
                    "unknown key \"{other}\"; expected target, published, protocol or mode"
                ));
            }
        }
    }
    if port.target == 0 {
        Err(format!("\"{text}\" names no target port"))
    } else {
        Ok(port)
    }
}

/// Reads a port inside the containers: `TARGET` or `TARGET/udp`.
///
/// # Errors
/// Says what is not understood.
pub fn target_port(text: &str) -> Result<(u16, Protocol), String> {
    let (target, transport) = text.split_once('/').unwrap_or((text, "tcp"));
    if target.contains(':') {
        return Err(format!(
            "\"{text}\": name the port inside the containers only"
        ));
    }
    Ok((port_number(target)?, protocol(transport)?))
}

fn port_number(text: &str) -> Result<u16, String> {
    match text.trim().parse::<u16>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("\"{text}\" is not a port from 1 to 65535")),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(format!("\"{text}\" is neither tcp nor udp")),
    }
}

/// Reads a network: `NAME`, or `name=NAME,alias=ALIAS`.
///
/// # Errors
/// Says what is not understood.
pub fn network(text: &str) -> Result<NetworkArg, String> {
    if !text.contains('=') {
        return Ok(NetworkArg {
            name: text.to_owned(),
            aliases: Vec::new(),
        });
    }
    let mut network = NetworkArg {
        name: String::new(),
        aliases: Vec::new(),
    };
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("name", value)) => network.name = value.to_owned(),
            Some(("alias", value)) => network.aliases.push(value.to_owned()),
            _ => return Err(format!("\"{part}\" is neither name=NETWORK nor alias=NAME")),
        }
    }
    if network.name.is_empty() {
        Err(format!("\"{text}\" names no network"))
    } else {
        Ok(network)
    }
}

/// Reads `SERVICE=REPLICAS`.
///
/// # Errors
/// Says what is not understood.
pub fn scale(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("\"{text}\" is not SERVICE=REPLICAS");
    let (service, replicas) = text.split_once('=').ok_or_else(wrong)?;
    if service.is_empty() {
        return Err(wrong());
    }
    replicas
        .parse()
        .map(|replicas| (service.to_owned(), replicas))
        .map_err(|_| format!("{service}: \"{replicas}\" is not a number of replicas"))
}

/// Reads `KIND=AMOUNT`; a name instead of an amount, as Docker has it, counts as one.
///
/// # Errors
/// Says what is not understood.
pub fn generic(text: &str) -> Result<(String, u64), String> {
    match text.split_once('=') {
        Some((kind, amount)) if !kind.trim().is_empty() && !amount.trim().is_empty() => {
            let amount = amount.trim().parse().unwrap_or(1);
            Ok((kind.trim().to_owned(), amount))
        }
        _ => Err(format!("\"{text}\" is not KIND=AMOUNT, such as gpu=2")),
    }
}

/// Reads `KIND=AMOUNT` of what a task reserves: names of single things are for nodes only.
///
/// # Errors
/// Says what is not understood.
pub fn reserved(text: &str) -> Result<(String, u64), String> {
    let (kind, _) = generic(text)?;
    let amount = text.rsplit('=').next().unwrap_or_default().trim();
    let amount = amount
        .parse()
        .map_err(|_| format!("\"{text}\": a task reserves a number of things, such as {kind}=2"))?;
    Ok((kind, amount))
}

/// Reads `spread=KEY`.
///
/// # Errors
/// Says what is not understood.
pub fn preference(text: &str) -> Result<Key, String> {
    let key = text.strip_prefix("spread=").ok_or_else(|| {
        format!(
            "\"{text}\" is not a preference; expected spread=KEY, such as spread=node.labels.zone"
        )
    })?;
    key.parse()
}

/// Reads `NAME=VALUE`; the value may be empty.
///
/// # Errors
/// Says what is not understood.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        Err(format!("\"{text}\" is not NAME=VALUE"))
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
