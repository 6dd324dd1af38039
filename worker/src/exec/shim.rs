//! Starts supervisors and speaks with them.
//!
//! The program is inside the daemon; it is started from one sealed memory file, so nothing on disk
//! can replace it and its start does not depend on the daemon's size. It never waits for a
//! container on a thread.

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use skep_shim::protocol::{self, FrameError, Reply, Request};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// The supervisor as the build script made it.
static PROGRAM: &[u8] = include_bytes!(env!("SKEP_SHIM"));

/// POSIX_SPAWN_SETSID of the C library.
const SET_SESSION: i32 = 128;
/// The number of its first connection; see the supervisor's main.
const FIRST_CONNECTION: i32 = 3;
/// Descriptors that go through the start have numbers from here, so that none is overwritten.
const CLEAR_OF_STANDARD: i32 = 10;
/// Bytes of the control message for three descriptors, which is the most that go at once.
const DESCRIPTOR_SPACE: usize = rustix::cmsg_space!(ScmRights(3));

/// Why a supervisor did not answer.
#[derive(Debug, Error)]
pub enum ShimError {
    /// It could not be started.
    #[error("cannot start the container's supervisor")]
    Spawn(#[source] io::Error),
    /// It does not listen, or stopped while it was asked.
    #[error("the container's supervisor does not answer")]
    Gone(#[source] io::Error),
    /// It is alive and does not answer in time.
    #[error("the container's supervisor did not answer within {0:?}")]
    Late(Duration),
    /// It said something this release does not understand.
    #[error("the container's supervisor gave an answer that cannot be read")]
    Garbled,
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

/// Starts supervisors.
#[derive(Debug)]
pub struct Launcher {
    program: OwnedFd,
    path: CString,
}

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Launcher {
    /// Puts the program into a sealed memory file.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("skep-shim", flags)?);
        file.write_all(PROGRAM)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let program = rustix::io::fcntl_dupfd_cloexec(&file, CLEAR_OF_STANDARD)?;
        let path = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
        Ok(Self { program, path })
    }

    /// Starts a supervisor; returns it and our end of its first connection, which does not block.
    /// Blocks for about half a millisecond.
    ///
    /// # Errors
    /// [`ShimError::Spawn`].
    pub fn spawn(&self) -> Result<(Pid, std::os::unix::net::UnixStream), ShimError> {
        debug_assert!(self.program.as_raw_fd() >= CLEAR_OF_STANDARD);
        self.try_spawn().map_err(ShimError::Spawn)
    }

    fn try_spawn(&self) -> io::Result<(Pid, std::os::unix::net::UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let theirs = rustix::io::fcntl_dupfd_cloexec(&theirs, CLEAR_OF_STANDARD)?;
        ours.set_nonblocking(true)?;
        let mut actions = PosixSpawnFileActions::init()?;
        let null = rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        let null = rustix::io::fcntl_dupfd_cloexec(&null, CLEAR_OF_STANDARD)?;
        for number in 0..FIRST_CONNECTION {
            actions.add_dup2(null.as_raw_fd(), number)?;
        }
        actions.add_dup2(theirs.as_raw_fd(), FIRST_CONNECTION)?;
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            PosixSpawnFlags::from_bits_retain(SET_SESSION)
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
        )?;
        attributes.set_sigmask(&SigSet::empty())?;
        attributes.set_sigdefault(&SigSet::all())?;
        let args = [c"skep-shim"];
        let env: [&std::ffi::CStr; 0] = [];
        let pid = posix_spawn(self.path.as_c_str(), &actions, &attributes, &args, &env)?;
        let pid = Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidData)?;
        Ok((pid, ours))
    }
}

impl Connection {
    /// Speaks on a stream that does not block.
    ///
    /// # Errors
    /// [`ShimError::Gone`] outside a runtime.
    pub fn new(stream: std::os::unix::net::UnixStream) -> Result<Self, ShimError> {
        let stream = UnixStream::from_std(stream).map_err(ShimError::Gone)?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// Connects to the supervisor that listens at a path.
    ///
    /// # Errors
    /// [`ShimError::Gone`] if none does.
    pub async fn open(socket: &Path) -> Result<Self, ShimError> {
        let stream = connect(socket).await.map_err(ShimError::Gone)?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`ShimError`].
    pub async fn ask(&mut self, request: &Request, within: Duration) -> Result<Reply, ShimError> {
        let exchange = async {
            self.send(request).await?;
            self.receive().await
        };
        match tokio::time::timeout(within, exchange).await {
            Ok(Ok(Reply::Refused(why))) => Err(ShimError::Refused(why)),
            Ok(answer) => answer,
            Err(_) => Err(ShimError::Late(within)),
        }
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// [`ShimError::Gone`].
    pub async fn send(&mut self, request: &Request) -> Result<(), ShimError> {
        let frame = frame(request)?;
        self.stream.write_all(&frame).await.map_err(ShimError::Gone)
    }

    /// Sends a request with descriptors, which go along with its first bytes.
    ///
    /// # Errors
    /// [`ShimError::Gone`], [`ShimError::Refused`] for a request that is too long.
    pub async fn send_with(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ShimError> {
        let frame = frame(request)?;
        let first = || {
            let mut space = [MaybeUninit::uninit(); DESCRIPTOR_SPACE];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let part = [IoSlice::new(&frame)];
            Ok(rustix::net::sendmsg(
                &self.stream,
                &part,
                &mut control,
                SendFlags::NOSIGNAL,
            )?)
        };
        let sent = self.stream.async_io(Interest::WRITABLE, first).await;
        let rest = frame.get(sent.map_err(ShimError::Gone)?..);
        let rest = rest.unwrap_or_default();
        self.stream.write_all(rest).await.map_err(ShimError::Gone)
    }

    /// The next answer. May be dropped and asked again.
    ///
    /// # Errors
    /// [`ShimError::Gone`] at the end of the connection, [`ShimError::Garbled`].
    pub async fn receive(&mut self) -> Result<Reply, ShimError> {
        loop {
            match protocol::decode::<Reply>(&self.unread) {
                Ok(Some((reply, length))) => {
                    self.unread.drain(..length);
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(FrameError::TooLong(_) | FrameError::Unknown { .. }) => {
                    return Err(ShimError::Garbled);
                }
            }
            let count = self
                .stream
                .read_buf(&mut self.unread)
                .await
                .map_err(ShimError::Gone)?;
            if count == 0 {
                return Err(ShimError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

fn frame(request: &Request) -> Result<Vec<u8>, ShimError> {
    let mut frame = Vec::new();
    if protocol::encode(request, &mut frame) {
        return Ok(frame);
    }
    let why = format!("the request is longer than {} bytes", protocol::MAX_FRAME);
    Err(ShimError::Refused(why))
}

/// Takes the one descriptor that is sent on a socket; `None` if its other end is closed without.
///
/// # Errors
/// Of the socket.
pub async fn receive_descriptor(socket: UnixStream) -> io::Result<Option<OwnedFd>> {
    socket
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); DESCRIPTOR_SPACE];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let flags = RecvFlags::CMSG_CLOEXEC;
            rustix::net::recvmsg(
                &socket,
                &mut [IoSliceMut::new(&mut byte)],
                &mut control,
                flags,
            )?;
            let mut found = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            });
            Ok(found.next().and_then(|mut descriptors| descriptors.next()))
        })
        .await
}

/// Connects through the directory's descriptor, since a socket's path may have 107 bytes at most.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, rustix::fs::Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    UnixStream::connect(short).await
}

/// Waits until a supervisor is gone and reaps it if it is our child.
pub async fn reap(pid: Pid) {
    // No such process: someone else has reaped it.
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    #[expect(
        deprecated,
        reason = "the descriptor is owned, so it stays open as long as needed"
    )]
    let Ok(pidfd) = AsyncFd::new(pidfd) else {
        return;
    };
    if pidfd.readable().await.is_ok() {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // Not our child after a restart of the daemon: then init reaps it.
        let _ = rustix::process::waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), options);
    }
}
