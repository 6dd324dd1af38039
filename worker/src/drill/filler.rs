//! Fills the file system of this node's data, for as long as somebody holds it.
//!
//! The file has no name: the kernel takes it back with the daemon, however that ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{self, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use skep_proto::drill::Fill;

/// Where the system itself lives.
const SYSTEM: &str = "/";
/// Bytes that are taken at once: a drill that is called off ends between two such pieces.
const PIECE: u64 = 1 << 30;
/// Pieces that are taken before somebody else may look at the clock.
const PIECES: usize = 16;
/// Less than this is not worth a file's block.
const SMALLEST: u64 = 4 << 10;

/// A file system that is full; dropping it gives back what was taken.
pub(crate) struct Filler {
    file: File,
    length: u64,
    reserve: u64,
}

/// How a look at a full file system ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filled {
    /// There is nothing more to take.
    Whole,
    /// There may be more.
    Partly,
}

impl Filler {
    /// Makes a file below `data_root` that takes nothing yet.
    ///
    /// # Errors
    /// When the system itself would be full too and nobody allowed it, or the file system cannot do it.
    pub(crate) fn open(data_root: &Path, fill: Fill) -> Result<Self, String> {
        let shown = data_root.display();
        let device = |path: &Path| {
            let found = std::fs::metadata(path).map(|it| it.dev());
            found.map_err(|error| format!("cannot look at {}: {error}", path.display()))
        };
        if !fill.shared && device(data_root)? == device(Path::new(SYSTEM))? {
            return Err(format!(
                "{shown} is on the file system of the system itself, which would be full too: give skep's data one of \
                 its own, or allow it with --allow-shared and a --reserve"
            ));
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = fs::open(data_root, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| format!("cannot make a file without a name in {shown}: {error}"))?;
        Ok(Self {
            file: File::from(file),
            length: 0,
            reserve: fill.reserve,
        })
    }

    /// Takes what is free but for the reserve, or some of it. Blocks.
    ///
    /// # Errors
    /// When the file system cannot do it.
    pub(crate) fn fill(&mut self) -> io::Result<Filled> {
        for _ in 0..PIECES {
            if !self.piece()? {
                return Ok(Filled::Whole);
            }
        }
        Ok(Filled::Partly)
    }

    /// Takes one piece more; `false` when there is none.
    fn piece(&mut self) -> io::Result<bool> {
        let mut wanted = self.free()?.saturating_sub(self.reserve).min(PIECE);
        while wanted >= SMALLEST {
            match fs::fallocate(&self.file, FallocateFlags::empty(), self.length, wanted) {
                Ok(()) => {
                    self.length = self.length.saturating_add(wanted);
                    return Ok(true);
                }
                // What a file system needs besides for its own lists is not known from outside.
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => wanted /= 2,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Bytes that this daemon, which is root, could still take.
    fn free(&self) -> io::Result<u64> {
        let at = fs::fstatvfs(&self.file)?;
        Ok(at.f_bfree.saturating_mul(at.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(reserve: u64, shared: bool) -> Fill {
        Fill { reserve, shared }
    }

    #[test]
    fn a_file_system_of_its_own_is_filled_down_to_the_reserve_and_given_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_owned();
        // In a mount namespace of its own, which goes with the thread.
        let filled = std::thread::spawn(move || filled(&path));
        filled.join().unwrap();
    }

    fn filled(place: &Path) {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let (kind, size) = (Some("tmpfs"), Some("size=16m"));
        mount(kind, place, kind, MsFlags::empty(), size).unwrap();
        let free = || {
            let at = fs::statvfs(place).unwrap();
            at.f_bfree * at.f_frsize
        };
        let before = free();
        let mut filler = Filler::open(place, fill(1 << 20, false)).unwrap();
        assert_eq!(free(), before, "nothing is taken yet");
        assert_eq!(filler.fill().unwrap(), Filled::Whole);
        assert!(free() <= (1 << 20) + SMALLEST, "{} are free", free());
        assert!(free() >= (1 << 20) - SMALLEST, "{} are free", free());
        assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
        drop(filler);
        assert_eq!(free(), before);
    }

    #[test]
    fn the_system_itself_is_not_filled_unless_somebody_allowed_it() {
        let refused = Filler::open(Path::new(SYSTEM), fill(0, false));
        let refused = refused.err().unwrap();
        assert!(refused.contains("--allow-shared"), "{refused}");
        // It is opened, and takes nothing before it is told to.
        let shared = Filler::open(Path::new("/var/tmp"), fill(u64::MAX, true));
        if let Ok(mut shared) = shared {
            assert_eq!(shared.fill().unwrap(), Filled::Whole);
            assert_eq!(shared.length, 0);
        }
    }
}
