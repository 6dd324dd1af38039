//! Where a program's input and output are, and how a child connects them. It allocates nothing.

use crate::kernel::{self, identity, mount, pass, terminal};
use crate::report::{Act, During, Fault};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a program's input and output are.
pub enum Streams {
    /// Standard input, output and errors.
    Files([OwnedFd; 3]),
    /// A new terminal of the container's own, whose master goes to a socket.
    Terminal {
        master_to: OwnedFd,
        /// Rows and columns; zeroes for a terminal nobody looks at.
        size: (u16, u16),
    },
}

/// Where a container's own terminal is shown besides, for programs that write to the system's console.
const CONSOLE: &std::ffi::CStr = c"/dev/console";

/// Whose streams are connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The container's first process: its terminal is the console.
    First,
    /// A further program's.
    Further,
}

/// Begins a session of the calling process and connects its three streams; all else closes at exec.
///
/// The terminal belongs to `uid`, so that /dev/tty and its name can be opened by a program that does not run as
/// root.
pub fn connect(streams: &Streams, uid: u32, whose: Whose) -> Result<(), Fault> {
    identity::own_session().during(Act::Session)?;
    match streams {
        Streams::Files(files) => {
            for (file, number) in files.iter().zip(0..) {
                kernel::place(file.as_fd(), number).during(Act::Output)?;
            }
        }
        Streams::Terminal { master_to, size } => {
            let (master, peer) = terminal::open_new().during(Act::Terminal)?;
            terminal::resize(peer.as_fd(), *size).during(Act::Terminal)?;
            kernel::give(peer.as_fd(), uid, u32::MAX).during(Act::Terminal)?;
            pass::send(master_to.as_fd(), master.as_fd()).during(Act::Terminal)?;
            if whose == Whose::First {
                show_console(peer.as_fd())?;
            }
            for number in 0..3 {
                kernel::place(peer.as_fd(), number).during(Act::Output)?;
            }
            terminal::control(peer.as_fd()).during(Act::Terminal)?;
        }
    }
    kernel::close_at_exec(3).during(Act::Output)
}

/// Mounts the terminal on the file that the plan's steps made for it. What an image or a mount has there instead stays.
fn show_console(terminal: BorrowedFd<'_>) -> Result<(), Fault> {
    let Ok(at) = kernel::open(CONSOLE, libc::O_PATH | libc::O_NOFOLLOW) else {
        return Ok(());
    };
    if !mount::is_file(at.as_fd()).during(Act::Terminal)? {
        return Ok(());
    }
    let copy = mount::copy_of(terminal, false).during(Act::Terminal)?;
    mount::attach(copy.as_fd(), at.as_fd()).during(Act::Terminal)
}
