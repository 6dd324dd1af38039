//! The file systems of a container. Pure.

use skep_proto::spec::{Mount, MountSource, Propagation, VolumeUse};

use super::Names;
use super::fields::Fields;
use crate::stack::place::Trouble;

/// Permission bits of a tmpfs.
const TMPFS_MODE: u32 = 0o1777;

#[derive(Clone, Copy)]
enum Kind {
    Bind,
    Volume,
    Tmpfs,
}

/// `volumes` and `tmpfs`, the outer ones first.
pub fn all(fields: &Fields<'_>, names: &Names<'_>) -> Result<Vec<Mount>, Trouble> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut add = |mount: Mount| match mounts.iter().any(|other| other.target == mount.target) {
        true => Err(mount.target),
        false => {
            mounts.push(mount);
            Ok(())
        }
    };
    let twice = |target: String| format!("two of them are mounted at {target}");
    for item in fields.items("volumes")? {
        let mount = mount(&item, names)?;
        add(mount).map_err(|target| item.wrong(twice(target)))?;
    }
    for mount in fields.each("tmpfs", tmpfs)? {
        add(mount).map_err(|target| fields.wrong_at("tmpfs", twice(target)))?;
    }
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    Ok(mounts)
}

fn mount(item: &Fields<'_>, names: &Names<'_>) -> Result<Mount, Trouble> {
    let kinds = [
        ("bind", Kind::Bind),
        ("volume", Kind::Volume),
        ("tmpfs", Kind::Tmpfs),
    ];
    let kind = item.word("type", &kinds)?.unwrap_or(Kind::Volume);
    let target = item.read("target", |text| {
        if text.starts_with('/') {
            Ok(text.to_owned())
        } else {
            Err(format!("\"{text}\" must begin with /"))
        }
    })?;
    let target = target.ok_or_else(|| item.wrong("target is missing"))?;
    let source = match kind {
        Kind::Bind => bind(item)?,
        Kind::Volume => MountSource::Volume(volume(item, names)?),
        Kind::Tmpfs => {
            let options = item.below("tmpfs")?;
            let size = options.as_ref().map(|options| options.bytes("size"));
            let mode = options.as_ref().map(|options| options.mode("mode"));
            MountSource::Tmpfs {
                size: size.transpose()?.flatten().filter(|bytes| *bytes > 0),
                mode: mode.transpose()?.flatten().unwrap_or(TMPFS_MODE),
            }
        }
    };
    Ok(Mount {
        source,
        target,
        read_only: item.flag("read_only")?,
    })
}

fn bind(item: &Fields<'_>) -> Result<MountSource, Trouble> {
    let path = item.needed("source")?.to_owned();
    let options = item.below("bind")?;
    let words = [
        ("private", Propagation::Private),
        ("rprivate", Propagation::Rprivate),
        ("shared", Propagation::Shared),
        ("rshared", Propagation::Rshared),
        ("slave", Propagation::Slave),
        ("rslave", Propagation::Rslave),
    ];
    let (mut propagation, mut recursive) = (Propagation::default(), true);
    if let Some(options) = options {
        propagation = options.word("propagation", &words)?.unwrap_or_default();
        let says = [
            ("enabled", true),
            ("writable", true),
            ("readonly", true),
            ("disabled", false),
        ];
        recursive = options.word("recursive", &says)?.unwrap_or(true);
    }
    Ok(MountSource::Bind {
        path,
        propagation,
        recursive,
    })
}

fn volume(item: &Fields<'_>, names: &Names<'_>) -> Result<VolumeUse, Trouble> {
    let mut found = VolumeUse::default();
    if let Some(defined) = item
        .text("source")?
        .and_then(|name| names.volumes.get(name))
    {
        found.name = Some(defined.name.clone());
        found.driver.clone_from(&defined.driver);
        found.options.clone_from(&defined.options);
        found.labels.clone_from(&defined.labels);
    }
    if let Some(options) = item.below("volume")? {
        found.no_copy = options.flag("nocopy")?;
        found.subpath = options.owned("subpath")?;
        found.labels.extend(options.table("labels")?);
    }
    Ok(found)
}

/// `PATH[:OPTION,…]`
fn tmpfs(text: &str) -> Result<Mount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(format!("\"{text}\": \"{target}\" must begin with /"));
    }
    let (mut size, mut mode, mut read_only) = (None, TMPFS_MODE, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => size = Some(skep_proto::unit::bytes(value)?),
            ("mode", value) => {
                mode = u32::from_str_radix(value, 8)
                    .map_err(|_| format!("\"{value}\" is not a file mode such as 1777"))?;
            }
            ("ro", "") => read_only = true,
            ("rw" | "noexec" | "nosuid" | "nodev", "") => {}
            _ => {
                return Err(format!(
                    "unknown option \"{option}\"; there are size, mode and ro"
                ));
            }
        }
    }
    Ok(Mount {
        source: MountSource::Tmpfs { size, mode },
        target: target.to_owned(),
        read_only,
    })
}
