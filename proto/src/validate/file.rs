//! What secrets and configs, and their uses, must satisfy. Pure.

use std::collections::BTreeMap;

use super::container::absolute;
use super::{Invalid, invalid, named};
use crate::file::{FileKind, FileSpec};
use crate::spec::{ContainerSpec, FileUse};

/// Longest name of a secret or config, as in Docker.
const LONGEST: usize = 64;

/// Checks what a user says of a secret or config.
///
/// # Errors
/// Says which rule it breaks.
pub fn file(spec: &FileSpec) -> Result<(), Invalid> {
    named("NAME", &spec.name, LONGEST)
}

/// Checks how much is in a secret or config.
///
/// # Errors
/// Names both sizes.
pub fn content(kind: FileKind, name: &str, size: usize) -> Result<(), Invalid> {
    let most = kind.most();
    if size == 0 {
        let reason = format!("{kind} \"{name}\" would be empty; it must have 1 to {most} bytes");
        return Err(invalid("FILE", reason));
    }
    if size > most {
        let reason = format!(
            "{kind} \"{name}\" would have {size} bytes; it can have {most} ({} KiB) at most",
            most / 1024
        );
        return Err(invalid("FILE", reason));
    }
    Ok(())
}

/// No two files show at one place, nor where something is mounted.
pub(super) fn check(container: &ContainerSpec) -> Result<(), Invalid> {
    let secrets = container.secrets.iter().map(|it| ("--secret", bare(it)));
    let configs = container.configs.iter().map(|it| ("--config", bare(it)));
    let mut taken: BTreeMap<Vec<&str>, String> = BTreeMap::new();
    for mount in &container.mounts {
        taken.insert(parts(&mount.target), "a mount".to_owned());
    }
    for (field, used) in secrets.chain(configs) {
        absolute(field, used.target)?;
        let place = parts(used.target);
        if place.is_empty() || used.target.ends_with('/') {
            let reason = format!(
                "target \"{}\" of \"{}\" is a directory; name a file",
                used.target, used.name
            );
            return Err(invalid(field, reason));
        }
        if used.mode > 0o7777 {
            let reason = format!(
                "mode {:o} of \"{}\" has more than permission bits",
                used.mode, used.name
            );
            return Err(invalid(field, reason));
        }
        let me = format!("\"{}\"", used.name);
        if let Some(other) = taken.insert(place, me) {
            let reason = format!(
                "\"{}\" and {other} both have the target {}; give one another target=",
                used.name, used.target
            );
            return Err(invalid(field, reason));
        }
    }
    Ok(())
}

/// A use without the type of its id.
struct Bare<'a> {
    name: &'a str,
    target: &'a str,
    mode: u32,
}

fn bare<I>(used: &FileUse<I>) -> Bare<'_> {
    Bare {
        name: &used.name,
        target: &used.target,
        mode: used.mode,
    }
}

fn parts(path: &str) -> Vec<&str> {
    let parts = path.split('/');
    parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConfigId, SecretId};

    fn used<I>(id: I, name: &str, target: &str) -> FileUse<I> {
        FileUse {
            id,
            name: name.into(),
            target: target.into(),
            uid: 0,
            gid: 0,
            mode: 0o444,
            revision: None,
        }
    }

    fn wrong(secrets: &[&str], configs: &[&str]) -> String {
        let mut container = ContainerSpec::new("x");
        let secret = |target: &&str| used(SecretId::new(1), "s", target);
        let config = |target: &&str| used(ConfigId::new(1), "c", target);
        container.secrets = secrets.iter().map(secret).collect();
        container.configs = configs.iter().map(config).collect();
        check(&container).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn files_show_at_places_of_their_own() {
        assert_eq!(wrong(&["/run/secrets/a", "/run/secrets/b"], &["/c"]), "");
        let clash = wrong(&["/a"], &["//a"]);
        assert!(
            clash.contains("\"c\" and \"s\" both have the target //a"),
            "{clash}"
        );
        for bad in ["a", "/", "/a/", "/a/../b"] {
            assert_ne!(wrong(&[bad], &[]), "", "{bad}");
        }
    }

    #[test]
    fn sizes_are_named() {
        let big = content(FileKind::Secret, "s", 512_001)
            .unwrap_err()
            .to_string();
        assert!(big.contains("512001") && big.contains("512000"), "{big}");
        assert!(content(FileKind::Secret, "s", 512_000).is_ok());
        assert!(content(FileKind::Config, "c", 1_024_000).is_ok());
        assert!(content(FileKind::Config, "c", 1_024_001).is_err());
        assert!(content(FileKind::Config, "c", 0).is_err());
    }
}
