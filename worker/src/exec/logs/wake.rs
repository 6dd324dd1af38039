//! Wakes a follower when something in the directory of a log changes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// A watched directory.
pub struct Wake(OwnedFd);

impl Wake {
    /// Watches a directory.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, directory, flags)?;
        Ok(Self(watch))
    }

    /// Waits for a change since the last wait, `most` at the longest.
    pub fn wait(&mut self, most: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(most).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout))?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.0, &mut buffer);
        while events.next().is_ok() {}
        Ok(())
    }
}
