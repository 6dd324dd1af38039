//! Network namespaces: made, pinned at a path, opened, and entered by a thread that ends afterwards.
//!
//! A thread that has been inside another namespace never goes back to a pool: it dies there, so that no task of
//! ours can ever run in the wrong one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::oneshot;

/// The namespace of whichever thread reads it.
const OWN: &str = "/proc/thread-self/ns/net";

/// The namespace the calling thread is in.
pub(super) fn current() -> io::Result<OwnedFd> {
    Ok(File::open(OWN)?.into())
}

/// Opens a pinned namespace.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(path)?.into())
}

/// Runs `work` on a thread of its own inside a namespace.
pub(super) async fn inside<T, F>(ns: Arc<OwnedFd>, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    on_thread(move || {
        setns(ns.as_fd(), CloneFlags::CLONE_NEWNET)?;
        work()
    })
    .await
}

/// Makes a namespace and pins it at `path`; an unpinned file left there by a crash is taken over.
pub(super) async fn make(path: PathBuf) -> io::Result<()> {
    on_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        bind(Path::new(OWN), &path)
    })
    .await
}

/// Pins the namespace behind `fd` at `path`.
pub(super) async fn pin(fd: OwnedFd, path: PathBuf) -> io::Result<()> {
    inside(Arc::new(fd), move || bind(Path::new(OWN), &path)).await
}

/// Whether a namespace is pinned at `path`, and not merely a file there.
pub(super) fn is_pinned(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|at| at.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Unpins; a path that is not there is left so.
pub(super) fn unpin(path: &Path) -> io::Result<()> {
    if is_pinned(path) {
        umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn bind(from: &Path, path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    mount(
        Some(from),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    Ok(())
}

async fn on_thread<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("netns".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || {
            // Nobody listens once the caller was cancelled, and then there is nobody to tell.
            drop(tell.send(work()));
        })?;
    told.await
        .map_err(|_| io::Error::other("the thread inside the namespace ended early"))?
}
