//! The files of a log: `PATH` is written, `PATH.1`, `PATH.2` and so on are older.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::seek;

/// More files than this are none of ours.
const MOST: u32 = 10_000;
/// Bytes read at a time from behind.
const BLOCK: u64 = 64 << 10;

/// An open file and which one it is: its names change.
#[derive(Debug)]
pub struct Numbered {
    pub file: File,
    device: u64,
    inode: u64,
}

impl Numbered {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let about = file.metadata()?;
        let (device, inode) = (about.dev(), about.ino());
        Ok(Some(Self {
            file,
            device,
            inode,
        }))
    }

    fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether nothing was written to it from `since` on.
    pub fn ends_before(&self, since: SystemTime) -> bool {
        let modified = self.file.metadata().and_then(|about| about.modified());
        modified.is_ok_and(|modified| modified < since)
    }
}

/// All files, oldest first.
///
/// They are opened from the newest on: a rotation meanwhile moves each to a higher number, so that a file is
/// met twice at the most, and none is missed.
pub fn snapshot(path: &Path) -> io::Result<VecDeque<Numbered>> {
    let mut files: VecDeque<Numbered> = VecDeque::new();
    files.extend(Numbered::open(path)?);
    for number in 1..MOST {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let Some(file) = Numbered::open(&PathBuf::from(name))? else {
            break;
        };
        if !files.iter().any(|known| known.is(&file)) {
            files.push_front(file);
        }
    }
    Ok(files)
}

/// Those of `files` that are newer than `present`; all, if it is gone.
pub fn after(present: &Numbered, mut files: VecDeque<Numbered>) -> VecDeque<Numbered> {
    match files.iter().position(|file| file.is(present)) {
        Some(at) => files.split_off(at + 1),
        None => files,
    }
}

/// Leaves what holds the last `lines`, and puts the first of them to where they begin.
pub fn tail_of(mut files: VecDeque<Numbered>, lines: u64) -> io::Result<VecDeque<Numbered>> {
    let mut wanted = lines;
    let mut kept = VecDeque::new();
    while let Some(mut newest) = files.pop_back() {
        let (found, at) = last_lines(&mut newest.file, wanted)?;
        seek(&mut newest.file, at)?;
        kept.push_front(newest);
        wanted = wanted.saturating_sub(found);
        if wanted == 0 {
            break;
        }
    }
    Ok(kept)
}

/// How many of the last `wanted` lines a file has, and where they begin.
fn last_lines(file: &mut File, wanted: u64) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    let (mut at, mut ends) = (length, 0_u64);
    let mut block = Vec::new();
    while at > 0 {
        let from = at.saturating_sub(BLOCK);
        block.resize(usize::try_from(at - from).unwrap_or(0), 0);
        seek(file, from)?;
        file.read_exact(&mut block)?;
        for (offset, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            // The end of the last wanted line but one is where they begin.
            if ends == wanted {
                return Ok((wanted, from + u64::try_from(offset).unwrap_or(0) + 1));
            }
            ends += 1;
        }
        at = from;
    }
    Ok((ends.min(wanted), 0))
}
