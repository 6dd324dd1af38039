//! The `local` driver's options: what a volume stands for is mounted while it is used.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::error::VolumeError;

/// Types whose server may be named; the kernel wants its address.
const NETWORK: [&str; 4] = ["nfs", "nfs4", "cifs", "smb3"];

/// What is to be mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    kind: String,
    device: String,
    options: String,
}

impl Wanted {
    /// By a volume's options; none where it is a directory of ours.
    pub(super) fn of(options: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| options.get(key).cloned().unwrap_or_default();
        let wanted = Self {
            kind: text("type"),
            device: text("device"),
            options: text("o"),
        };
        (!wanted.kind.is_empty() && !wanted.device.is_empty()).then_some(wanted)
    }

    /// Mounts it at `at`, unless something is mounted there already.
    pub(super) fn mount(&self, name: &str, at: &Path) -> Result<(), VolumeError> {
        if is_mount_point(at) {
            return Ok(());
        }
        let failed = |reason: String| VolumeError::Mount {
            name: name.to_owned(),
            kind: self.kind.clone(),
            device: self.device.clone(),
            options: self.options.clone(),
            reason,
        };
        let (flags, rest) = split(&self.options);
        let rest = match NETWORK.contains(&self.kind.as_str()) {
            true => with_addresses(&rest).map_err(failed)?,
            false => rest,
        };
        let rest = (!rest.is_empty()).then_some(rest.as_str());
        let (device, kind) = (self.device.as_str(), self.kind.as_str());
        mount(Some(device), at, Some(kind), flags, rest)
            .map_err(|errno| failed(self.reason(errno)))?;
        let further = flags & !(MsFlags::MS_BIND | MsFlags::MS_REC);
        if flags.contains(MsFlags::MS_BIND) && !further.is_empty() {
            // A bind takes its attributes only when it is mounted again.
            let again = flags | MsFlags::MS_REMOUNT;
            let mounted = mount(None::<&str>, at, None::<&str>, again, None::<&str>);
            mounted.map_err(|errno| {
                let _ = umount2(at, MntFlags::MNT_DETACH);
                failed(self.reason(errno))
            })?;
        }
        Ok(())
    }

    fn reason(&self, errno: Errno) -> String {
        let said = errno.desc();
        match errno {
            Errno::ENODEV => format!(
                "{said}: this node's kernel has no file system {}",
                self.kind
            ),
            Errno::ENOENT => format!("{said}: is the device there?"),
            Errno::EINVAL if self.kind.starts_with("nfs") => {
                format!("{said}: nfs needs o=addr=SERVER, and device=:/EXPORT")
            }
            Errno::EINVAL => format!("{said}: is an option misspelt?"),
            _ => said.to_owned(),
        }
    }
}

/// Takes away what is mounted there; programs that use it keep it until they end.
pub(super) fn unmount(at: &Path) {
    if is_mount_point(at)
        && let Err(errno) = umount2(at, MntFlags::MNT_DETACH)
    {
        tracing::warn!(path = %at.display(), error = errno.desc(), "a volume stays mounted");
    }
}

fn is_mount_point(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let wanted = path.to_string_lossy();
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&*wanted))
}

/// What of the options is for every mount, and what is for the file system.
fn split(options: &str) -> (MsFlags, String) {
    let (mut flags, mut rest) = (MsFlags::empty(), Vec::new());
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match flag(word) {
            Some((flag, true)) => flags.insert(flag),
            Some((flag, false)) => flags.remove(flag),
            None => rest.push(word),
        }
    }
    (flags, rest.join(","))
}

/// The flag of a word, and whether it is set or taken back (mount(8)).
fn flag(word: &str) -> Option<(MsFlags, bool)> {
    Some(match word {
        "defaults" => (MsFlags::empty(), true),
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "sync" => (MsFlags::MS_SYNCHRONOUS, true),
        "async" => (MsFlags::MS_SYNCHRONOUS, false),
        "dirsync" => (MsFlags::MS_DIRSYNC, true),
        "noatime" => (MsFlags::MS_NOATIME, true),
        "atime" => (MsFlags::MS_NOATIME, false),
        "nodiratime" => (MsFlags::MS_NODIRATIME, true),
        "diratime" => (MsFlags::MS_NODIRATIME, false),
        "relatime" => (MsFlags::MS_RELATIME, true),
        "norelatime" => (MsFlags::MS_RELATIME, false),
        "strictatime" => (MsFlags::MS_STRICTATIME, true),
        "bind" => (MsFlags::MS_BIND, true),
        "rbind" => (MsFlags::MS_BIND.union(MsFlags::MS_REC), true),
        _ => return None,
    })
}

/// The server's name in `addr=NAME` becomes its address.
fn with_addresses(options: &str) -> Result<String, String> {
    let words = options.split(',').map(|word| {
        let Some(name) = word.strip_prefix("addr=") else {
            return Ok(word.to_owned());
        };
        if name.parse::<IpAddr>().is_ok() {
            return Ok(word.to_owned());
        }
        let found = (name, 0).to_socket_addrs();
        let first = found.ok().and_then(|mut found| found.next());
        let address = first.ok_or_else(|| format!("the server {name} has no address"))?;
        Ok(format!("addr={}", address.ip()))
    });
    Ok(words.collect::<Result<Vec<_>, String>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_what_is_for_the_file_system() {
        let check = |options: &str, flags: MsFlags, rest: &str| {
            assert_eq!(split(options), (flags, rest.to_owned()), "{options}");
        };
        check("", MsFlags::empty(), "");
        check(
            "ro,addr=1.2.3.4,vers=4",
            MsFlags::MS_RDONLY,
            "addr=1.2.3.4,vers=4",
        );
        check("ro,rw,nosuid", MsFlags::MS_NOSUID, "");
        check("bind", MsFlags::MS_BIND, "");
        check("size=1m,noexec", MsFlags::MS_NOEXEC, "size=1m");
    }

    #[test]
    fn servers_become_addresses() {
        assert_eq!(
            with_addresses("addr=10.0.0.1,rw"),
            Ok("addr=10.0.0.1,rw".to_owned())
        );
        let found = with_addresses("addr=localhost").unwrap();
        assert!(
            ["addr=127.0.0.1", "addr=::1"].contains(&found.as_str()),
            "{found}"
        );
    }
}
