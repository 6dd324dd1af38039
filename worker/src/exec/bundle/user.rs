//! Who a container's program runs as, and how a name in an image becomes numbers.

use super::RootSource;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use thiserror::Error;

/// Bytes of a passwd or group file that are read; larger ones are refused.
const LARGEST: u64 = 4 << 20;

/// A user by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Why a user cannot be found.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UserError {
    /// Not in the image.
    #[error("the image has no user {0:?} in /etc/passwd; give a numeric id or a user it has")]
    NoUser(String),
    /// Not in the image.
    #[error("the image has no group {0:?} in /etc/group; give a numeric id or a group it has")]
    NoGroup(String),
}

impl User {
    /// As OCI writes it.
    #[must_use]
    pub fn to_oci(&self) -> oci_spec::runtime::User {
        let mut user = oci_spec::runtime::User::default();
        user.set_uid(self.uid).set_gid(self.gid);
        user.set_additional_gids((!self.groups.is_empty()).then(|| self.groups.clone()));
        user
    }

    /// Finds `user`, `user:group`, `uid` or `uid:gid` as an image's own files say; an empty text
    /// is root. Also returns the home directory, `/` if the image does not know it.
    ///
    /// It reads files of the image, resolved below its root, so it belongs on a blocking thread.
    ///
    /// # Errors
    /// [`UserError`] for a name that the image does not have.
    pub fn find(root: &RootSource, wanted: &str) -> Result<(Self, String), UserError> {
        Self::among(&read(root, "etc/passwd"), &read(root, "etc/group"), wanted)
    }

    /// Puts the user into further groups, by name or number, as the image's own files say.
    ///
    /// It reads a file of the image, so it belongs on a blocking thread.
    ///
    /// # Errors
    /// [`UserError::NoGroup`] for a name that the image does not have.
    pub fn join(&mut self, root: &RootSource, groups: &[String]) -> Result<(), UserError> {
        if groups.is_empty() {
            return Ok(());
        }
        let known = read(root, "etc/group");
        for wanted in groups {
            let gid = group_id(&known, wanted).ok_or_else(|| UserError::NoGroup(wanted.clone()))?;
            if !self.groups.contains(&gid) {
                self.groups.push(gid);
            }
        }
        Ok(())
    }

    /// The name of a user id as the image's own files say; the number where they do not.
    ///
    /// It reads files of the image, resolved below its root, so it belongs on a blocking thread.
    #[must_use]
    pub fn name(root: &RootSource, uid: u32) -> String {
        let passwd = read(root, "etc/passwd");
        let mut entries = passwd.lines().map(|line| line.split(':'));
        let found = entries.find_map(|mut fields| {
            let name = fields.next()?;
            let number: u32 = fields.nth(1)?.parse().ok()?;
            (number == uid).then(|| name.to_owned())
        });
        found.unwrap_or_else(|| uid.to_string())
    }

    fn among(passwd: &str, group: &str, wanted: &str) -> Result<(Self, String), UserError> {
        let (name, group_name) = match wanted.split_once(':') {
            Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
            None => (wanted, None),
        };
        let name = if name.is_empty() { "0" } else { name };
        let number: Option<u32> = name.parse().ok();
        let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let is_wanted = |entry: &Vec<String>| {
            let uid = entry.get(2).and_then(|uid| uid.parse().ok());
            entry.first().is_some_and(|known| known == name) || (number.is_some() && uid == number)
        };
        let entry = passwd.lines().map(fields).find(is_wanted);
        let at = |index: usize| entry.as_ref().and_then(|entry| entry.get(index));
        let uid = at(2).and_then(|uid| uid.parse().ok()).or(number);
        let uid = uid.ok_or_else(|| UserError::NoUser(name.to_owned()))?;
        let home = at(5)
            .filter(|home| !home.is_empty())
            .map_or("/", String::as_str)
            .to_owned();
        let groups = || group.lines().map(fields);
        if let Some(wanted) = group_name {
            let gid =
                group_id(group, wanted).ok_or_else(|| UserError::NoGroup(wanted.to_owned()))?;
            return Ok((
                Self {
                    uid,
                    gid,
                    groups: Vec::new(),
                },
                home,
            ));
        }
        let gid = at(3).and_then(|gid| gid.parse().ok()).unwrap_or(0);
        let login = at(0).cloned().unwrap_or_default();
        let belongs = |entry: &Vec<String>| {
            entry
                .get(3)
                .is_some_and(|members| members.split(',').any(|one| one == login))
        };
        let gids = groups()
            .filter(belongs)
            .filter_map(|entry| entry.get(2)?.parse().ok());
        let groups = if login.is_empty() {
            Vec::new()
        } else {
            gids.collect()
        };
        Ok((Self { uid, gid, groups }, home))
    }
}

/// A group by name in a text like /etc/group, or by number.
fn group_id(known: &str, wanted: &str) -> Option<u32> {
    let mut lines = known
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let named = lines.find(|entry| entry.first() == Some(&wanted));
    let gid = named.and_then(|entry| entry.get(2)?.parse().ok());
    gid.or_else(|| wanted.parse().ok())
}

/// The topmost layer's version of a file; empty if there is none.
fn read(root: &RootSource, path: &str) -> String {
    let layers: Vec<&Path> = match root {
        RootSource::Directory(only) => vec![only],
        RootSource::Overlay { lower, upper, .. } => std::iter::once(upper)
            .chain(lower)
            .map(AsRef::as_ref)
            .collect(),
    };
    layers
        .into_iter()
        .find_map(|layer| read_below(layer, path))
        .unwrap_or_default()
}

fn read_below(layer: &Path, path: &str) -> Option<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(layer, flags, Mode::empty()).ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).ok()?);
    let mut text = String::new();
    (file.metadata().ok()?.is_file()).then_some(())?;
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlog:x:40:web,other\nssl:x:41:web\n";

    fn check(wanted: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let found = User::among(PASSWD, GROUP, wanted);
        let user = User {
            uid,
            gid,
            groups: groups.to_vec(),
        };
        assert_eq!(found, Ok((user, home.to_owned())), "{wanted}");
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        check("", 0, 0, &[], "/root");
        check("web", 33, 34, &[40, 41], "/srv");
        check("33", 33, 34, &[40, 41], "/srv");
        check("web:log", 33, 40, &[], "/srv");
        check("web:7", 33, 7, &[], "/srv");
        check("1000", 1000, 0, &[], "/");
        check("1000:1000", 1000, 1000, &[], "/");
    }

    #[test]
    fn unknown_names_are_refused() {
        let find = |wanted| User::among(PASSWD, GROUP, wanted).unwrap_err();
        assert_eq!(find("nobody"), UserError::NoUser("nobody".into()));
        assert_eq!(find("web:nobody"), UserError::NoGroup("nobody".into()));
    }

    #[test]
    fn a_link_in_the_image_does_not_lead_to_the_host() {
        let layer = tempfile::tempdir().unwrap();
        std::fs::create_dir(layer.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", layer.path().join("etc/passwd")).unwrap();
        assert_eq!(read_below(layer.path(), "etc/passwd"), None);
    }
}
