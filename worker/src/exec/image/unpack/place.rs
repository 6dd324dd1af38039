//! Finds and makes places below the layer's root, and nowhere else.
//!
//! Every parent is resolved by the kernel with the root as its `/`; links in it are followed, but only inside.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, mkdirat, mknodat,
    openat2, statat, unlinkat,
};
use rustix::io::{Errno, Result};

use super::path::Place;

/// The deepest tree that is taken away when an entry replaces it.
const MAX_DEPTH: usize = 512;
/// The most directories that are remembered as not named: their paths go back in one answer.
const MAX_IMPLIED: usize = 4000;

/// Everything below one root.
#[derive(Debug)]
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// The directory of the last entry: streams are mostly sorted.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Names that hid something below and have been made anew as a directory.
    opaque: BTreeSet<Vec<u8>>,
    /// Directories that were made because something is in them.
    implied: BTreeSet<Vec<u8>>,
}

/// Directories that only the daemon can mark.
#[derive(Debug)]
pub(super) struct Marks {
    /// They hide what is below them.
    pub(super) opaque: Vec<Vec<u8>>,
    /// They have not been named.
    pub(super) implied: Vec<Vec<u8>>,
}

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root: Rc::new(root),
            last: None,
            opaque: BTreeSet::new(),
            implied: BTreeSet::new(),
        }
    }

    /// The root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Says that a directory hides what is below it.
    pub(super) fn hide_below(&mut self, path: Vec<u8>) {
        self.opaque.insert(path);
    }

    /// All directories that are to be marked.
    pub(super) fn into_marks(self) -> Marks {
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        // Not what gave way to another entry, or is reached by a link.
        let there = |path: &Vec<u8>| {
            openat2(&self.root, path.as_slice(), DIRECTORY, Mode::empty(), flags).is_ok()
        };
        let implied = self.implied.iter().filter(|path| there(path)).cloned();
        Marks {
            implied: implied.collect(),
            opaque: self.opaque.into_iter().collect(),
        }
    }

    /// The directory `path`, made with its parents where it is missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((_, directory)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(Rc::clone(directory));
        }
        let directory = match self.open(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(path)?,
            other => other?,
        };
        not_too_deep(&directory)?;
        let directory = Rc::new(directory);
        self.last = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// The directory at `path`, which must be there.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd> {
        openat2(&self.root, path, DIRECTORY, Mode::empty(), IN_ROOT)
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let mut at = self.root.try_clone().map_err(|_| Errno::MFILE)?;
        let mut walked: Vec<u8> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match self.look(at.as_fd(), part)? {
                Found::Nothing => {
                    make_roots(at.as_fd(), part)?;
                    // So many are found in no real layer: the others stay as they are made.
                    if self.implied.len() < MAX_IMPLIED {
                        let parent = walked.clone();
                        let name = part.to_vec();
                        self.implied.insert(Place { parent, name }.path());
                    }
                }
                Found::Whiteout => {
                    unlinkat(&at, part, AtFlags::empty())?;
                    make_roots(at.as_fd(), part)?;
                    let place = Place {
                        parent: walked.clone(),
                        name: part.to_vec(),
                    };
                    self.opaque.insert(place.path());
                }
                Found::Directory | Found::Other => {}
            }
            if !walked.is_empty() {
                walked.push(b'/');
            }
            walked.extend_from_slice(part);
            at = self.open(&walked)?;
        }
        Ok(at)
    }

    /// What stands under `name` in `directory`; links are not followed.
    pub(super) fn look(&self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<Found> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            other => other?,
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory,
            FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
            _ => Found::Other,
        })
    }

    /// Takes away what stands under `name`, whatever it is.
    pub(super) fn clear(&mut self, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        match self.look(directory, name)? {
            Found::Nothing => Ok(()),
            Found::Whiteout | Found::Other => unlinkat(directory, name, AtFlags::empty()),
            Found::Directory => {
                self.last = None;
                remove_tree(directory, name, MAX_DEPTH)
            }
        }
    }

    /// Makes a directory at a place, or keeps the one that is there.
    pub(super) fn make_directory(&mut self, place: &Place) -> Result<OwnedFd> {
        if place.is_root() {
            return self.root.try_clone().map_err(|_| Errno::MFILE);
        }
        let parent = self.directory(&place.parent)?;
        let found = self.look(parent.as_fd(), &place.name)?;
        self.implied.remove(&place.path());
        if found != Found::Directory {
            self.clear(parent.as_fd(), &place.name)?;
            mkdirat(&parent, &*place.name, Mode::from_raw_mode(0o700))?;
        }
        if found == Found::Whiteout {
            self.opaque.insert(place.path());
        }
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        openat2(&parent, &*place.name, DIRECTORY, Mode::empty(), flags)
    }

    /// Hides a name of lower layers. What this layer itself has there stays; if that is a directory, it
    /// hides what is below.
    pub(super) fn white_out(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let directory = self.directory(parent)?;
        match self.look(directory.as_fd(), name)? {
            Found::Nothing => mknodat(
                &directory,
                name,
                FileType::CharacterDevice,
                Mode::empty(),
                rustix::fs::makedev(0, 0),
            ),
            Found::Directory => {
                let place = Place {
                    parent: parent.to_vec(),
                    name: name.to_vec(),
                };
                self.opaque.insert(place.path());
                Ok(())
            }
            Found::Whiteout | Found::Other => Ok(()),
        }
    }
}

/// Links could otherwise build a tree so deep that no path reaches its end, and nobody could remove it.
fn not_too_deep(directory: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(directory)?;
    rustix::process::getcwd(Vec::new()).map(|_| ())
}

/// A parent that the stream does not name belongs to root.
fn make_roots(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
    let (uid, gid) = (Some(Uid::ROOT), Some(Gid::ROOT));
    chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

fn remove_tree(directory: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<()> {
    let deeper = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let tree = openat2(directory, name, DIRECTORY, Mode::empty(), flags)?;
    for entry in Dir::read_from(&tree)? {
        let entry = entry?;
        let inner = entry.file_name().to_bytes();
        if inner == b"." || inner == b".." {
            continue;
        }
        match unlinkat(&tree, inner, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_tree(tree.as_fd(), inner, deeper)?,
            other => other?,
        }
    }
    unlinkat(directory, name, AtFlags::REMOVEDIR)
}
