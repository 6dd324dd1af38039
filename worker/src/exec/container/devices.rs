//! Devices of this node that a container is to see.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use skep_proto::spec::Privileges;

use super::super::ExecError;
use super::super::bundle::Device;
use crate::resources::hostname as node;

/// Most devices of one container; a directory may hold any number.
const MOST: usize = 4096;
/// Directories of /dev that every container has of its own.
const OWN: [&str; 4] = ["pts", "shm", "mqueue", "fd"];

/// The devices that are asked for; for a privileged container all.
pub(super) fn find(privileges: &Privileges) -> Result<Vec<Device>, ExecError> {
    let mut found = Vec::new();
    if privileges.privileged {
        let all = walk(Path::new("/dev"), Path::new("/dev"), "rwm", &mut found);
        all.map_err(|error| ExecError::new(format!("cannot list the devices in /dev: {error}")))?;
    }
    for device in &privileges.devices {
        let (source, target) = (Path::new(&device.source), Path::new(&device.target));
        let before = found.len();
        let walked = walk(source, target, &device.permissions, &mut found);
        walked.map_err(|error| {
            ExecError::new(format!(
                "device {} on node {}: {error}",
                device.source,
                node()
            ))
        })?;
        if found.len() == before {
            return Err(ExecError::new(format!(
                "{} on node {} is no device and holds none",
                device.source,
                node()
            )));
        }
    }
    Ok(found)
}

/// A device, or all in a directory.
fn walk(source: &Path, target: &Path, access: &str, found: &mut Vec<Device>) -> io::Result<()> {
    let metadata = fs::metadata(source)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let name = entry.file_name();
            let standard = source == Path::new("/dev") && OWN.iter().any(|own| name == *own);
            // Links lead to what is listed elsewhere, or nowhere.
            if !standard && !entry.file_type()?.is_symlink() {
                walk(&entry.path(), &target.join(&name), access, found)?;
            }
        }
        return Ok(());
    }
    if !kind.is_block_device() && !kind.is_char_device() {
        return Ok(());
    }
    if found.len() >= MOST {
        return Err(io::Error::other(format!(
            "there are more than {MOST} devices"
        )));
    }
    found.push(Device {
        path: target.to_owned(),
        block: kind.is_block_device(),
        major: libc::major(metadata.rdev()),
        minor: libc::minor(metadata.rdev()),
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: access.to_owned(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_proto::spec::Device as Asked;

    fn asked(source: &str) -> Result<Vec<Device>, ExecError> {
        find(&Privileges {
            devices: vec![Asked {
                source: source.to_owned(),
                target: "/dev/mine".to_owned(),
                permissions: "r".to_owned(),
            }],
            ..Privileges::default()
        })
    }

    #[test]
    fn devices_have_the_nodes_numbers() {
        let found = asked("/dev/null").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].major, found[0].minor, found[0].block),
            (1, 3, false)
        );
        assert_eq!(
            (found[0].path.to_str(), &*found[0].access),
            (Some("/dev/mine"), "r")
        );
    }

    #[test]
    fn what_is_no_device_is_refused_with_path_and_node() {
        for source in ["/dev/no-such", "/etc/hostname"] {
            let error = asked(source).unwrap_err().to_string();
            assert!(error.contains(source) && error.contains(&node()), "{error}");
        }
    }
}
