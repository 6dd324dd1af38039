//! Reads single values as Docker's users write them: durations, sizes, ports.

use std::time::Duration;

use skep_proto::spec::{PortSpec, Protocol, PublishMode};

/// A network named on the command line, not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkArg {
    /// Its name or id.
    pub name: String,
    /// Further names by which the service is found there.
    pub aliases: Vec<String>,
}

/// Reads a duration such as `1m30s`, `500ms` or `1.5h`.
///
/// # Errors
/// Says what is not understood.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration such as 500ms, 10s or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
        rest = next;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

/// Reads a size such as `64m` or `1.5g`: units are powers of 1024.
///
/// # Errors
/// Says what is not understood.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size such as 512k, 64m or 1g");
    let lower = text.to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    scaled(number, 1 << shift).ok_or_else(wrong)
}

/// Reads a number of cores such as `0.5`, as billionths.
///
/// # Errors
/// Says what is not understood.
pub fn cpus(text: &str) -> Result<u64, String> {
    scaled(text, 1_000_000_000)
        .ok_or_else(|| format!("\"{text}\" is not a number of cores such as 0.5"))
}

/// `text`, a decimal fraction, times `factor`; exact, rounded down.
fn scaled(text: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = fraction.get(..fraction.len().min(9)).unwrap_or_default();
    let numerator: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u64::try_from(numerator * u128::from(factor) / divisor).ok()?;
    whole.checked_mul(factor)?.checked_add(part)
}

/// Reads a signal by name (`SIGTERM`, `TERM`) or number.
///
/// # Errors
/// Says what is not understood.
pub fn signal(text: &str) -> Result<i32, String> {
    let wrong = || format!("\"{text}\" is not a signal such as SIGTERM, INT or 15");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(wrong())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    name.parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| wrong())
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
