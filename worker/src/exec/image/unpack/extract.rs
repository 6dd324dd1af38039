//! Makes the entries of one stream below a root.
//!
//! It runs in the confined child only. An entry that cannot be made exactly refuses the whole stream.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timestamps, linkat, mknodat, openat, symlinkat};
use tar::EntryType;

use super::attributes;
use super::path::{Meaning, PathError, Place, meaning};
use super::place::{Marks, Tree};
use super::reader::{Entry, TarReader};
use super::{Kind, Limits};

/// Bytes copied at once.
const BUFFER: usize = 256 << 10;

/// Why an entry was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("its name is refused: {0}")]
    Path(#[from] PathError),
    #[error("{0}")]
    System(#[from] rustix::io::Errno),
    #[error("{0}")]
    Stream(#[from] io::Error),
    #[error("it is of an unknown kind ({0})")]
    Kind(u8),
    #[error("the stream holds more than {0} bytes of files")]
    Bytes(u64),
}

/// What was made so far.
#[derive(Debug)]
pub(super) struct Extractor {
    tree: Tree,
    kind: Kind,
    limits: Limits,
    /// Bytes of files written.
    written: u64,
    /// Times of directories: making something in one changes them, so they come last.
    directories: BTreeMap<Vec<u8>, Timestamps>,
    buffer: Vec<u8>,
}

impl Extractor {
    pub(super) fn new(root: OwnedFd, kind: Kind, limits: Limits) -> Self {
        Self {
            tree: Tree::new(root),
            kind,
            limits,
            written: 0,
            directories: BTreeMap::new(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Makes one entry; its body is read from the stream.
    pub(super) fn make<R: Read>(
        &mut self,
        entry: &mut Entry,
        stream: &mut TarReader<R>,
    ) -> Result<(), Fault> {
        let place = Place::read(&entry.path)?;
        if self.kind == Kind::Archive {
            return self.make_plain(&place, entry, stream);
        }
        match meaning(&place.name)? {
            Meaning::Entry => self.make_entry(&place, entry, stream),
            Meaning::Whiteout(hidden) => Ok(self.tree.white_out(&place.parent, &hidden)?),
            Meaning::Opaque => {
                self.tree.directory(&place.parent)?;
                self.tree.hide_below(place.parent);
                Ok(())
            }
            Meaning::Nothing => Ok(()),
        }
    }

    /// Only files and links, root's, readable: what an archive of images is made of.
    fn make_plain<R: Read>(
        &mut self,
        place: &Place,
        entry: &mut Entry,
        stream: &mut TarReader<R>,
    ) -> Result<(), Fault> {
        (entry.uid, entry.gid) = (0, 0);
        entry.xattrs.clear();
        entry.mode = if is_directory(entry) { 0o755 } else { 0o644 };
        match entry.kind {
            EntryType::Char | EntryType::Block | EntryType::Fifo => Ok(()),
            _ => self.make_entry(place, entry, stream),
        }
    }

    fn make_entry<R: Read>(
        &mut self,
        place: &Place,
        entry: &Entry,
        stream: &mut TarReader<R>,
    ) -> Result<(), Fault> {
        if is_directory(entry) {
            let directory = self.tree.make_directory(place)?;
            attributes::set_open(&directory, entry)?;
            self.directories
                .insert(place.path(), attributes::times(entry));
            return Ok(());
        }
        if place.is_root() {
            return Err(Fault::System(rustix::io::Errno::ISDIR));
        }
        let parent = self.tree.directory(&place.parent)?;
        // A hard link's target is looked up first: it may be the very name that gives way.
        let target = match entry.kind {
            EntryType::Link => Some(self.link_target(place, entry)?),
            _ => None,
        };
        if matches!(&target, Some(None)) {
            return Ok(());
        }
        self.tree.clear(parent.as_fd(), &place.name)?;
        let name = place.name.as_slice();
        match entry.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let file = openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
                self.fill(File::from(file), entry, stream)
            }
            EntryType::Link => match target.flatten() {
                Some((directory, target)) => {
                    Ok(linkat(directory, target, &parent, name, AtFlags::empty())?)
                }
                None => Ok(()),
            },
            EntryType::Symlink => {
                symlinkat(entry.link.as_slice(), &parent, name)?;
                Ok(attributes::set_link(&parent, name, entry)?)
            }
            EntryType::Char => self.node(&parent, name, entry, FileType::CharacterDevice),
            EntryType::Block => self.node(&parent, name, entry, FileType::BlockDevice),
            EntryType::Fifo => self.node(&parent, name, entry, FileType::Fifo),
            other => Err(Fault::Kind(other.as_byte())),
        }
    }

    /// Directory and name of a hard link's target; nothing if it links to itself.
    fn link_target(
        &mut self,
        place: &Place,
        entry: &Entry,
    ) -> Result<Option<(OwnedFd, Vec<u8>)>, Fault> {
        let target = Place::read(&entry.link)?;
        if target == *place {
            return Ok(None);
        }
        let directory = if target.parent.is_empty() {
            self.tree.root().try_clone_to_owned()?
        } else {
            self.tree.open(&target.parent)?
        };
        Ok(Some((directory, target.name)))
    }

    fn node(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), Fault> {
        let (major, minor) = entry.device;
        let device = rustix::fs::makedev(major, minor);
        mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)?;
        Ok(attributes::set_node(parent, name, entry)?)
    }

    fn fill<R: Read>(
        &mut self,
        mut file: File,
        entry: &Entry,
        stream: &mut TarReader<R>,
    ) -> Result<(), Fault> {
        match &entry.sparse {
            None => self.copy(&mut file, stream, u64::MAX)?,
            Some(sparse) => {
                for (offset, length) in &sparse.pieces {
                    file.seek(SeekFrom::Start(*offset))?;
                    self.copy(&mut file, stream, *length)?;
                }
                file.set_len(sparse.length)?;
            }
        }
        attributes::set_open(&file, entry)?;
        Ok(attributes::set_times(&file, &attributes::times(entry))?)
    }

    fn copy(&mut self, file: &mut File, stream: &mut impl Read, length: u64) -> Result<(), Fault> {
        let mut stream = stream.take(length);
        loop {
            let read = stream.read(&mut self.buffer)?;
            let Some(part) = self.buffer.get(..read).filter(|part| !part.is_empty()) else {
                return Ok(());
            };
            self.written = self
                .written
                .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if self.written > self.limits.bytes {
                return Err(Fault::Bytes(self.limits.bytes));
            }
            file.write_all(part)?;
        }
    }

    /// Sets the times of directories and tells which of them hide what is below, and which were not named.
    pub(super) fn finish(self) -> Result<Marks, Fault> {
        for (path, times) in self.directories.iter().rev() {
            let directory = match path.as_slice() {
                b"" => self.tree.root().try_clone_to_owned()?,
                path => match self.tree.open(path) {
                    // It gave way to another entry.
                    Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
                    other => other?,
                },
            };
            attributes::set_times(&directory, times)?;
        }
        Ok(self.tree.into_marks())
    }
}

/// Streams of before 1988 mark a directory by a slash at its end alone.
fn is_directory(entry: &Entry) -> bool {
    entry.kind.is_dir() || (entry.kind.is_file() && entry.path.ends_with(b"/"))
}
