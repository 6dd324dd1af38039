//! Reads options of containers as Docker's users write them.

use std::net::IpAddr;

use skep_proto::spec::{Device, Ulimit};
use skep_proto::validate;

/// A command split into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// What `--security-opt` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Whether programs are kept from gaining privileges.
    NoNewPrivileges(bool),
    /// All system calls may be made.
    SeccompUnconfined,
}

/// Splits a command as a shell does: quotes and backslashes keep spaces. Nothing is expanded.
///
/// # Errors
/// When a quote is open at the end.
pub fn command(text: &str) -> Result<Words, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => {
                let escaped = chars.next().ok_or_else(|| open_end(text))?;
                word.get_or_insert_default().push(escaped);
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(open_end(text));
    }
    words.extend(word);
    Ok(Words(words))
}

fn open_end(text: &str) -> String {
    format!("`{text}` ends within a quote or behind a backslash")
}

/// Reads a line of /etc/hosts as `NAME:ADDRESS` or `NAME=ADDRESS`; an address of version 6 may be in brackets.
///
/// # Errors
/// Says what is not understood.
pub fn host(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || format!("\"{text}\" is not NAME:ADDRESS, such as db:10.0.0.9");
    let (name, address) = text.split_once([':', '=']).ok_or_else(wrong)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address).parse().map_err(|_| wrong())?;
    match name {
        "" => Err(wrong()),
        name => Ok((name.to_owned(), address)),
    }
}

/// Reads `NAME=SOFT[:HARD]`; without a hard limit it is the soft one.
///
/// # Errors
/// Says what is not understood.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let wrong = || format!("\"{text}\" is not NAME=SOFT[:HARD], such as nofile=1024:2048");
    let (name, amounts) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = amounts.split_once(':').unwrap_or((amounts, amounts));
    let number = |text: &str| text.parse().map_err(|_| wrong());
    Ok(Ulimit {
        name: name.to_owned(),
        soft: number(soft)?,
        hard: number(hard)?,
    })
}

/// Reads `NAME=VALUE` of a kernel parameter.
///
/// # Errors
/// Says what is not understood.
pub fn sysctl(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!(
            "\"{text}\" is not NAME=VALUE, such as net.core.somaxconn=1024"
        )),
    }
}

/// Reads a capability, with or without `CAP_`, in any case.
///
/// # Errors
/// Names those there are.
pub fn capability(text: &str) -> Result<String, String> {
    validate::capability(text)
        .map(str::to_owned)
        .ok_or_else(|| {
            format!(
                "\"{text}\" is no capability; known are ALL, {}",
                validate::CAPABILITIES.join(", ")
            )
        })
}

/// Reads what `--security-opt` says.
///
/// # Errors
/// Says what is accepted.
pub fn security(text: &str) -> Result<Security, String> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, "true"));
    match (name, value) {
        ("no-new-privileges", "true") => Ok(Security::NoNewPrivileges(true)),
        ("no-new-privileges", "false") => Ok(Security::NoNewPrivileges(false)),
        ("seccomp", "unconfined") => Ok(Security::SeccompUnconfined),
        ("seccomp", _) => Err(
            "the policies there are: Docker's, which is the default, and seccomp=unconfined".into(),
        ),
        _ => Err(format!(
            "\"{text}\" is neither no-new-privileges nor seccomp=unconfined"
        )),
    }
}

/// Reads `PATH[:PATH-INSIDE[:rwm]]`; one path alone is the same inside.
///
/// # Errors
/// Says what is not understood.
pub fn device(text: &str) -> Result<Device, String> {
    let wrong = || format!("\"{text}\" is not PATH[:PATH-INSIDE[:rwm]], such as /dev/fuse");
    let is_access = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, access] if is_access(access) => (*source, *source, *access),
        [source, target] => (*source, *target, "rwm"),
        [source, target, access] if is_access(access) => (*source, *target, *access),
        _ => return Err(wrong()),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(wrong());
    }
    Ok(Device {
        source: source.to_owned(),
        target: target.to_owned(),
        permissions: access.to_owned(),
    })
}

/// Reads the lines of an environment file: `NAME=VALUE`, or `NAME` alone; those that begin with # and empty ones do
/// not count. Values are taken as they stand, quotes and all, as Docker does.
///
/// # Errors
/// Names the line.
pub fn env_file(text: &str) -> Result<Vec<String>, String> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("line {number}: \"{line}\" is not NAME=VALUE"));
        }
        entries.push(line.to_owned());
    }
    Ok(entries)
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
