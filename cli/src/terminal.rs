//! The user's own terminal: raw while a program elsewhere has it, and as it was afterwards.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use nix::sys::termios::{self, SetArg, Termios};
use tokio::sync::mpsc;

/// Reads that wait to be sent.
const AHEAD: usize = 4;
/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// A raw terminal. Dropping it gives the terminal its settings back, on every way out.
pub struct Raw(Termios);

impl Raw {
    /// Makes the terminal of the standard input raw.
    ///
    /// # Errors
    /// When there is none.
    pub fn begin() -> anyhow::Result<Self> {
        let input = io::stdin();
        if !input.is_terminal() {
            bail!("the standard input is no terminal; leave --tty (-t) out");
        }
        let before = termios::tcgetattr(input.as_fd()).context("cannot read the terminal")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(input.as_fd(), SetArg::TCSADRAIN, &raw)
            .context("cannot make the terminal raw")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to restore.
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Rows and columns of the user's terminal; 24 by 80 where it does not say.
pub fn size() -> (u16, u16) {
    let found = rustix::termios::tcgetwinsize(io::stdout());
    let found = found.or_else(|_| rustix::termios::tcgetwinsize(io::stdin()));
    match found {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}

/// What comes in on the standard input; it ends with it.
///
/// A thread of its own reads, for which nobody waits when the program ends: a read of a terminal cannot be
/// broken off.
pub fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        loop {
            match io::stdin().read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    let bytes = chunk.get(..count).unwrap_or_default().to_vec();
                    if sender.blocking_send(bytes).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}
