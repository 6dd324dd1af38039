//! What the mounts of a container must satisfy. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::container::absolute;
use super::{Invalid, invalid};
use crate::spec::{Mount, MountSource, VolumeUse};

/// Longest name of a volume: that of a file.
const LONGEST_VOLUME: usize = 255;
/// What the `local` driver understands, as mount(8) names them.
const LOCAL_OPTIONS: [&str; 3] = ["type", "device", "o"];

pub(super) fn check(mounts: &[Mount]) -> Result<(), Invalid> {
    let mut targets = BTreeSet::new();
    for mount in mounts {
        absolute("--mount", &mount.target)?;
        let parts: Vec<&str> = mount.target.split('/').filter(is_name).collect();
        if parts.is_empty() {
            let reason = "the target / is the container's root; mount below it";
            return Err(invalid("--mount", reason));
        }
        if !targets.insert(parts) {
            let reason = format!("two mounts have the target {}", mount.target);
            return Err(invalid("--mount", reason));
        }
        match &mount.source {
            MountSource::Bind { path, .. } => absolute("--mount", path)?,
            MountSource::Volume(volume) => used(volume)?,
            MountSource::Tmpfs { mode, .. } if *mode > 0o7777 => {
                let reason = format!("tmpfs-mode {mode:o} has more than permission bits");
                return Err(invalid("--mount", reason));
            }
            MountSource::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

fn is_name(part: &&str) -> bool {
    !part.is_empty() && *part != "."
}

fn used(volume: &VolumeUse) -> Result<(), Invalid> {
    match &volume.name {
        Some(name) => volume_name("--mount", name)?,
        None if volume.sticky => {
            let reason = "sticky needs source=NAME: a volume without a name goes with its task";
            return Err(invalid("--mount", reason));
        }
        None => {}
    }
    if let Some(subpath) = &volume.subpath {
        let leads_out = subpath.split('/').any(|part| part == "..");
        if subpath.is_empty() || subpath.starts_with('/') || leads_out || subpath.contains('\0') {
            let reason = format!(
                "volume-subpath \"{subpath}\" must be relative to the volume and stay in it"
            );
            return Err(invalid("--mount", reason));
        }
    }
    volume_driver("--mount", volume.driver.as_deref(), &volume.options)
}

/// The name of a volume: letters, digits, `-`, `_`, `.`, a letter or digit first, two at least; Docker's rule.
///
/// # Errors
/// Says which rule it breaks.
pub fn volume_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = name
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = (2..=LONGEST_VOLUME).contains(&name.len());
    if first && fits && name.chars().all(inner) {
        return Ok(());
    }
    let reason = if name.contains('/') {
        format!("\"{name}\" is not a volume's name; for a directory of the node use type=bind")
    } else {
        format!(
            "\"{name}\" is not a volume's name: 2 to {LONGEST_VOLUME} letters, digits, \"-\", \"_\" and \
             \".\", a letter or digit first"
        )
    };
    Err(invalid(field, reason))
}

/// The driver of a volume and its options.
///
/// # Errors
/// Names what is not known.
pub fn volume_driver(
    field: &'static str,
    driver: Option<&str>,
    options: &BTreeMap<String, String>,
) -> Result<(), Invalid> {
    if let Some(driver) = driver.filter(|driver| *driver != "local") {
        let reason =
            format!("there is no volume driver \"{driver}\"; local is the one that is built in");
        return Err(invalid(field, reason));
    }
    let unknown = |key: &&String| !LOCAL_OPTIONS.contains(&key.as_str());
    if let Some(key) = options.keys().find(unknown) {
        let reason = format!(
            "the local driver has no option \"{key}\"; it knows {}",
            LOCAL_OPTIONS.join(", ")
        );
        return Err(invalid(field, reason));
    }
    let given = |key: &str| options.get(key).is_some_and(|value| !value.is_empty());
    if given("type") != given("device") {
        let missing = if given("type") { "device" } else { "type" };
        let reason =
            format!("the local driver mounts only with type and device; {missing} is missing");
        return Err(invalid(field, reason));
    }
    if given("o") && !given("type") {
        let reason = "option o needs type and device, which say what is mounted";
        return Err(invalid(field, reason));
    }
    Ok(())
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;
