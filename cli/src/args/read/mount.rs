//! Reads mounts as Docker's users write them: `--mount` and `-v`.

use skep_proto::spec::{Mount, MountSource, Propagation, VolumeUse};

/// What `--mount` understands, for whoever wrote something else.
const KEYS: &str = "type, source, target, readonly, bind-propagation, bind-recursive, volume-subpath, \
                    volume-nocopy, volume-driver, volume-opt, volume-label, tmpfs-size, tmpfs-mode, sticky";

/// Bits of a tmpfs' root by default.
const TMPFS_MODE: u32 = 0o1777;

/// What of a `--mount` has been read.
#[derive(Default)]
struct Draft {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    propagation: Option<Propagation>,
    recursive: Option<bool>,
    volume: VolumeUse,
    tmpfs_size: Option<u64>,
    tmpfs_mode: Option<u32>,
    /// First option that is for one type only, and which.
    only_for: Vec<(String, &'static str)>,
}

/// Reads `type=volume|bind|tmpfs,source=…,target=…,…`: comma-separated, where a field in double quotes may hold commas.
///
/// # Errors
/// Names the key and what is accepted.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut draft = Draft::default();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        draft.take(&key.to_ascii_lowercase(), value)?;
    }
    draft.finish(text)
}

impl Draft {
    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let text = || match value {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(format!("{key} needs a value: {key}=…")),
        };
        if let Some((kind, _)) = key.split_once('-').filter(|(kind, _)| *kind != "no") {
            let kind = ["bind", "volume", "tmpfs"]
                .into_iter()
                .find(|one| *one == kind);
            self.only_for
                .extend(kind.map(|kind| (key.to_owned(), kind)));
        }
        match key {
            "type" => self.kind = Some(text()?.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(text()?),
            "target" | "destination" | "dst" => self.target = Some(text()?),
            "readonly" | "ro" => self.read_only = flag(key, value)?,
            "sticky" => {
                self.volume.sticky = flag(key, value)?;
                self.only_for.push((key.to_owned(), "volume"));
            }
            "bind-propagation" => self.propagation = Some(propagation(&text()?)?),
            "bind-nonrecursive" => self.recursive = Some(!flag(key, value)?),
            "bind-recursive" => self.recursive = Some(self.recursion(&text()?)?),
            "volume-nocopy" => self.volume.no_copy = flag(key, value)?,
            "volume-subpath" => self.volume.subpath = Some(text()?),
            "volume-driver" => self.volume.driver = Some(text()?),
            "volume-opt" => insert(key, &text()?, &mut self.volume.options)?,
            "volume-label" => insert(key, &text()?, &mut self.volume.labels)?,
            "tmpfs-size" => self.tmpfs_size = Some(crate::args::read::bytes(&text()?)?),
            "tmpfs-mode" => {
                let text = text()?;
                let mode = u32::from_str_radix(&text, 8);
                let wrong = |_| format!("tmpfs-mode \"{text}\" is not octal, such as 1777");
                self.tmpfs_mode = Some(mode.map_err(wrong)?);
            }
            _ => return Err(format!("unknown key \"{key}\"; expected one of {KEYS}")),
        }
        Ok(())
    }

    /// What is read-only is so with all that is mounted below, so `readonly` asks for nothing more.
    fn recursion(&self, text: &str) -> Result<bool, String> {
        match text {
            "enabled" | "readonly" => Ok(true),
            "disabled" => Ok(false),
            "writable" => Err(
                "bind-recursive=writable is not offered: what is mounted read-only is so with all below it".into(),
            ),
            _ => Err(format!(
                "bind-recursive \"{text}\" is neither enabled, disabled nor readonly"
            )),
        }
    }

    fn finish(self, text: &str) -> Result<Mount, String> {
        let kind = self.kind.as_deref().unwrap_or("volume");
        let odd = self.only_for.iter().find(|(_, only)| *only != kind);
        if let Some((key, only)) = odd {
            return Err(format!(
                "{key} goes with type={only} only, not with type={kind}"
            ));
        }
        let target = self
            .target
            .ok_or_else(|| format!("\"{text}\" names no target=PATH"))?;
        let source = match kind {
            "bind" => MountSource::Bind {
                path: self
                    .source
                    .ok_or_else(|| format!("\"{text}\" names no source=PATH on the node"))?,
                propagation: self.propagation.unwrap_or_default(),
                recursive: self.recursive.unwrap_or(true),
            },
            "volume" => MountSource::Volume(VolumeUse {
                name: self.source,
                ..self.volume
            }),
            "tmpfs" if self.source.is_some() => {
                return Err("a tmpfs has no source: leave it out".to_owned());
            }
            "tmpfs" => MountSource::Tmpfs {
                size: self.tmpfs_size,
                mode: self.tmpfs_mode.unwrap_or(TMPFS_MODE),
            },
            other => {
                return Err(format!(
                    "type \"{other}\" is not known; expected volume, bind or tmpfs"
                ));
            }
        };
        Ok(Mount {
            source,
            target,
            read_only: self.read_only,
        })
    }
}

fn flag(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("{key} is true or false, not \"{other}\"")),
    }
}

fn insert(
    key: &str,
    text: &str,
    into: &mut std::collections::BTreeMap<String, String>,
) -> Result<(), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(format!("{key} \"{text}\" is not NAME=VALUE"));
    }
    into.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn propagation(text: &str) -> Result<Propagation, String> {
    Ok(match text {
        "private" => Propagation::Private,
        "rprivate" => Propagation::Rprivate,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::Rshared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::Rslave,
        _ => {
            return Err(format!(
                "propagation \"{text}\" is none of private, rprivate, shared, rshared, slave, rslave"
            ));
        }
    })
}

/// Splits at commas; a field in double quotes keeps them, and `""` in it is one quote (RFC 4180).
pub(super) fn fields(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(format!("`{text}` ends within a quote"));
    }
    fields.push(field);
    Ok(fields)
}

/// Reads `NAME:TARGET[:OPTIONS]`, `/PATH:TARGET[:OPTIONS]`, or `TARGET` alone for a volume without a name. Options are
/// ro, rw, nocopy, sticky and the words of propagation.
///
/// # Errors
/// Says what is not understood.
pub fn short(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(format!("\"{text}\" is not SOURCE:TARGET[:OPTIONS]")),
    };
    if target.is_empty() || source == Some("") {
        return Err(format!("\"{text}\" is not SOURCE:TARGET[:OPTIONS]"));
    }
    let mut draft = Draft {
        kind: source
            .filter(|source| source.starts_with('/'))
            .map(|_| "bind".to_owned()),
        source: source.map(str::to_owned),
        target: Some(target.to_owned()),
        ..Draft::default()
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => draft.read_only = true,
            "rw" => draft.read_only = false,
            "nocopy" => draft.take("volume-nocopy", None)?,
            "sticky" => draft.take("sticky", None)?,
            word => {
                let known = propagation(word).map_err(|_| {
                    format!("\"{word}\" is none of ro, rw, nocopy, sticky, and no propagation such as rslave")
                })?;
                draft.propagation = Some(known);
                draft.only_for.push((word.to_owned(), "bind"));
            }
        }
    }
    draft.finish(text)
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;
