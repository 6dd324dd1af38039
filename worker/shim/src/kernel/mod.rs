//! The kernel's doors, one thin function each.
//!
//! Nothing here allocates, formats or panics, so all of it may be called between clone and exec.
//! No function keeps state, and no other file of this binary is unsafe.
#![expect(unsafe_code, reason = "these are the system calls themselves")]

pub mod identity;
pub mod mount;
pub mod pass;
pub mod terminal;
pub mod wait;

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The kernel's reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// What the calling thread's last failed call left behind.
pub(crate) fn last() -> Errno {
    // SAFETY: errno's address is the thread's own and always readable.
    Errno(unsafe { *libc::__errno_location() })
}

pub(crate) fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret < 0 { Err(last()) } else { Ok(ret) }
}

pub(crate) fn done(ret: libc::c_long) -> Result<()> {
    check(ret).map(|_| ())
}

/// Takes ownership of a descriptor that a system call has just returned.
pub(crate) fn owned(ret: libc::c_long) -> Result<OwnedFd> {
    let raw = RawFd::try_from(check(ret)?).map_err(|_| Errno(libc::EBADF))?;
    // SAFETY: the kernel has just handed this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Takes over a descriptor that was given to this program at its start.
///
/// To be called once for a number, before anything else is opened.
pub fn inherited(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: only asks for the flags of a number.
    done(i64::from(unsafe { libc::fcntl(number, libc::F_GETFD) }))?;
    // SAFETY: it is open, and by contract nobody else in this program owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Opens a path of the caller's own namespace; the descriptor closes at exec.
pub fn open(path: &CStr, flags: i32) -> Result<OwnedFd> {
    // SAFETY: the path is a C string and outlives the call.
    owned(i64::from(unsafe {
        libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0)
    }))
}

/// Writes all of `bytes` in one call; a short write is an error.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    // SAFETY: the buffer is valid for its length.
    let ret = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    if ret < 0 {
        return Err(last());
    }
    if usize::try_from(ret) == Ok(bytes.len()) {
        Ok(())
    } else {
        Err(Errno(libc::EIO))
    }
}

/// Reads once; zero is the end.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is valid for its length and borrowed mutably.
        let ret = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if ret >= 0 {
            return usize::try_from(ret).map_err(|_| Errno(libc::EIO));
        }
        if last() != Errno(libc::EINTR) {
            return Err(last());
        }
    }
}

/// Writes a small value to a kernel file.
pub fn write_file(path: &CStr, value: &[u8]) -> Result<()> {
    use std::os::fd::AsFd;
    write(open(path, libc::O_WRONLY)?.as_fd(), value)
}

/// A pipe, reading end first. Both ends close at exec.
pub fn pipe(flags: i32) -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array holds the two descriptors the kernel writes.
    done(i64::from(unsafe {
        libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | flags)
    }))?;
    // SAFETY: both have just been handed to us alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Gives a pipe room for so many bytes, as far as this is allowed: without it a writer stops more often.
pub fn widen(pipe: BorrowedFd<'_>, bytes: libc::c_int) {
    // SAFETY: takes a number, and a refusal changes nothing.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// Makes `fd` the descriptor number `number`, which stays open at exec.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    // SAFETY: plain descriptor arithmetic; the caller owns the standard descriptors it replaces.
    done(i64::from(unsafe { libc::dup2(fd.as_raw_fd(), number) }))
}

/// Lets every descriptor from `first` on close at exec.
pub fn close_at_exec(first: u32) -> Result<()> {
    // SAFETY: only flags change.
    done(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
}

/// Closes what a careless parent left open, from the descriptor number `first` on.
///
/// To be called before anything is opened.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: by contract nothing of ours has such a number yet.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// Gives a descriptor's file to another owner.
pub fn give(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: no memory is involved.
    done(i64::from(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) }))
}

/// Runs the program at `path`. Returns only on failure.
///
/// The arrays end with a null pointer; see [`pointers`].
pub fn exec(path: &CStr, args: &[*const libc::c_char], env: &[*const libc::c_char]) -> Errno {
    // SAFETY: both arrays are null-terminated (they come from `pointers`) and their strings live.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    last()
}

/// The null-terminated array that [`exec`] wants. Allocates: to be made before clone.
pub fn pointers(strings: &[std::ffi::CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|text| text.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Ends the calling process at once: no destructor, no buffer is written.
pub fn leave(code: i32) -> ! {
    // SAFETY: always sound.
    unsafe { libc::_exit(code) }
}
