//! Descriptors that travel over sockets.
#![expect(unsafe_code, reason = "these are the system calls themselves")]

use super::{Errno, Result, check};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Room for control messages, aligned as the kernel wants it.
type Control = [u64; 16];

/// Reads once from a socket; zero is the end. Descriptors that came along are added to `descriptors`.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize> {
    let mut control: Control = [0; 16];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: a msghdr is plain old bytes.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_CMSG_CLOEXEC;
    // SAFETY: all that `message` points to lives and is borrowed mutably.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let count = usize::try_from(check(i64::try_from(count).unwrap_or(-1))?).unwrap_or(0);
    // SAFETY: the kernel has just filled the control messages that `message` describes.
    let mut head = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !head.is_null() {
        // SAFETY: the macros give headers inside the control buffer only.
        let (level, kind, length) =
            unsafe { ((*head).cmsg_level, (*head).cmsg_type, (*head).cmsg_len) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // SAFETY: no memory is involved.
            let empty = usize::try_from(unsafe { libc::CMSG_LEN(0) }).unwrap_or(0);
            for index in 0..length.saturating_sub(empty) / size_of::<RawFd>() {
                // SAFETY: the message holds that many descriptors, which are ours alone from now on.
                descriptors.push(unsafe {
                    let at = libc::CMSG_DATA(head).cast::<RawFd>().add(index);
                    OwnedFd::from_raw_fd(at.read_unaligned())
                });
            }
        }
        // SAFETY: as above.
        head = unsafe { libc::CMSG_NXTHDR(&raw const message, head) };
    }
    Ok(count)
}

/// Sends a descriptor, and one byte to carry it. Allocates nothing.
pub fn send(socket: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> Result<()> {
    let mut control: Control = [0; 16];
    let byte = [0_u8];
    let mut part = libc::iovec {
        iov_base: byte.as_ptr().cast_mut().cast(),
        iov_len: 1,
    };
    let one = u32::try_from(size_of::<RawFd>()).map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: a msghdr is plain old bytes.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: no memory is involved.
    message.msg_controllen = usize::try_from(unsafe { libc::CMSG_SPACE(one) }).unwrap_or(0);
    // SAFETY: the control buffer has room for one header and one descriptor.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = usize::try_from(libc::CMSG_LEN(one)).unwrap_or(0);
        let at = libc::CMSG_DATA(head).cast::<RawFd>();
        at.write_unaligned(descriptor.as_raw_fd());
    }
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: all that `message` points to lives; the kernel only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    check(i64::try_from(sent).unwrap_or(-1)).map(|_| ())
}
