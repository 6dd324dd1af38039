//! Where a program's input and output are, and how a child connects them. It allocates nothing.

use crate::kernel::{self, identity, pass, terminal};
use crate::report::{Act, During, Fault};
use std::os::fd::{AsFd, OwnedFd};

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

/// Begins a session of the calling process and connects its three streams; all else closes at exec.
///
/// The terminal belongs to `uid`, so that /dev/tty and its name can be opened by a program that does not run as
/// root.
pub fn connect(streams: &Streams, uid: u32) -> Result<(), Fault> {
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
            for number in 0..3 {
                kernel::place(peer.as_fd(), number).during(Act::Output)?;
            }
            terminal::control(peer.as_fd()).during(Act::Terminal)?;
        }
    }
    kernel::close_at_exec(3).during(Act::Output)
}
