//! From the mounts of a service to what is mounted on this node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use skep_proto::spec::{Mount, MountSource, Propagation};

use super::super::ExecError;
use super::super::bundle::{Attachment, Bind};
use crate::resources::hostname as node;
use crate::volumes::Given;

/// What is mounted, parents before what is below them. `volumes` are those that the task was given, by target; what
/// no mount names was the image's wish. `places` are for secrets and configs.
pub(super) fn attachments(
    mounts: &[Mount],
    mut volumes: BTreeMap<String, Given>,
    places: Vec<Attachment>,
) -> Result<Vec<Attachment>, ExecError> {
    let mut all = Vec::new();
    for mount in mounts {
        let given = volumes.remove(&mount.target);
        all.push((PathBuf::from(&mount.target), attachment(mount, given)?));
    }
    let images = volumes.iter().map(|(target, given)| {
        let bind = Attachment::Bind(Bind::new(&given.path, target));
        (PathBuf::from(target), bind)
    });
    all.extend(images);
    let places = places.into_iter().map(|place| (place.target(), place));
    all.extend(places);
    all.sort_by_key(|(target, _)| target.components().count());
    Ok(all.into_iter().map(|(_, attachment)| attachment).collect())
}

fn attachment(mount: &Mount, given: Option<Given>) -> Result<Attachment, ExecError> {
    let target = PathBuf::from(&mount.target);
    match &mount.source {
        MountSource::Bind {
            path,
            propagation,
            recursive,
        } => {
            exists(path)?;
            passes_on(path, *propagation)?;
            Ok(Attachment::Bind(Bind {
                read_only: mount.read_only,
                recursive: *recursive,
                propagation: *propagation,
                ..Bind::new(path, target)
            }))
        }
        MountSource::Tmpfs { size, mode } => Ok(Attachment::Tmpfs {
            target,
            bytes: *size,
            mode: Some(*mode),
            read_only: mount.read_only,
        }),
        MountSource::Volume(wanted) => {
            let given = given.ok_or_else(|| {
                ExecError::new(format!("no volume was given for {}", mount.target))
            })?;
            Ok(Attachment::Bind(Bind {
                below: wanted.subpath.clone(),
                read_only: mount.read_only,
                ..Bind::new(given.path, target)
            }))
        }
    }
}

fn exists(path: &str) -> Result<(), ExecError> {
    fs::metadata(path).map(|_| ()).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "does not exist: make it there, or let the service run where it is".to_owned()
            }
            _ => format!("cannot be used: {error}"),
        };
        ExecError::new(format!("mount source {path} on node {} {reason}", node()))
    })
}

/// Mounts pass on only from a mount that the node shares.
fn passes_on(path: &str, propagation: Propagation) -> Result<(), ExecError> {
    let needed: &[&str] = match propagation {
        Propagation::Private | Propagation::Rprivate => return Ok(()),
        Propagation::Shared | Propagation::Rshared => &["shared:"],
        Propagation::Slave | Propagation::Rslave => &["shared:", "master:"],
    };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let (point, fields) = mounted_on(&table, &real).unwrap_or_default();
    if fields
        .iter()
        .any(|field| needed.iter().any(|one| field.starts_with(one)))
    {
        return Ok(());
    }
    Err(ExecError::new(format!(
        "{path} is on the mount {point} of node {}, which is private: no later mount passes on from it; \
         make it shared there (mount --make-rshared {point}) or use bind-propagation=rprivate",
        node()
    )))
}

/// The mount point a path lies on and its tags, by the text of a mountinfo (proc_pid_mountinfo(5)).
fn mounted_on<'t>(table: &'t str, path: &Path) -> Option<(&'t str, Vec<&'t str>)> {
    let lines = table.lines().filter_map(|line| {
        let (fields, _) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(4);
        let point = fields.next()?;
        let tags = fields.skip(1).collect();
        path.starts_with(point).then_some((point, tags))
    });
    // Of two on the same point the later one is on top.
    lines.max_by_key(|(point, _): &(&str, Vec<&str>)| point.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda rw\n\
        23 22 0:21 / /srv rw master:4 - ext4 /dev/sdb rw\n\
        24 22 0:22 / /srv rw - ext4 /dev/sdc rw\n";

    #[test]
    fn the_topmost_mount_counts() {
        let on = |path: &str| mounted_on(TABLE, Path::new(path));
        assert_eq!(on("/etc/x"), Some(("/", vec!["shared:1"])));
        assert_eq!(on("/srv/x"), Some(("/srv", vec![])));
        assert_eq!(on("/srvx"), Some(("/", vec!["shared:1"])));
    }

    #[test]
    fn a_missing_source_is_named_with_its_node() {
        let error = exists("/no/such").unwrap_err().to_string();
        assert!(
            error.contains("/no/such") && error.contains(&node()),
            "{error}"
        );
    }
}
