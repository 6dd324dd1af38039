//! Pseudo-terminals of the container's own.
#![expect(unsafe_code, reason = "these are the system calls themselves")]

use super::{Errno, Result, check, done, open, owned};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What `statfs` says of a devpts.
const DEVPTS: i64 = 0x1cd1;

/// Opens a new terminal of the devpts at `/dev/pts`: master first.
///
/// An image or a container may have put anything there, so what was opened is looked at before it is used.
pub fn open_new() -> Result<(OwnedFd, OwnedFd)> {
    let master = open(
        c"/dev/pts/ptmx",
        libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK,
    )?;
    is_master(master.as_fd())?;
    let unlock: libc::c_int = 0;
    // SAFETY: the kernel reads one int.
    done(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock)
    }))?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags and gives a descriptor.
    let peer = owned(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags)
    }))?;
    Ok((master, peer))
}

fn is_master(fd: BorrowedFd<'_>) -> Result<()> {
    let mut system = std::mem::MaybeUninit::<libc::statfs>::uninit();
    let mut file = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills the structs; they are read only after success.
    unsafe {
        done(i64::from(libc::fstatfs(
            fd.as_raw_fd(),
            system.as_mut_ptr(),
        )))?;
        done(i64::from(libc::fstat(fd.as_raw_fd(), file.as_mut_ptr())))?;
    }
    // SAFETY: both calls succeeded.
    let (system, file) = unsafe { (system.assume_init(), file.assume_init()) };
    let device = file.st_mode & libc::S_IFMT == libc::S_IFCHR;
    let ptmx = libc::major(file.st_rdev) == 5 && libc::minor(file.st_rdev) == 2;
    if system.f_type == DEVPTS && device && ptmx {
        return Ok(());
    }
    Err(Errno(libc::ENOTTY))
}

/// Sets rows and columns.
pub fn resize(terminal: BorrowedFd<'_>, (rows, columns): (u16, u16)) -> Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel reads one winsize.
    done(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size)
    }))
}

/// Makes it the controlling terminal of the calling process, which leads a session.
pub fn control(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes a number.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0)
    }))
    .map(|_| ())
}
