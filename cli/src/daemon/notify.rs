//! Tells the service manager that started the daemon how it is: `sd_notify(3)`, datagrams to NOTIFY_SOCKET.
//!
//! Without a service manager that listens nothing is sent. A message that cannot be sent is logged and never stops
//! the daemon: containers matter more than who watches it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::MissedTickBehavior;

/// The service manager, if there is one.
#[derive(Clone, Debug)]
pub struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that NOTIFY_SOCKET names; it wants to hear of the daemon within each WATCHDOG_USEC, if that is set
    /// and meant for this program (WATCHDOG_PID).
    pub fn from_environment() -> Self {
        let text = |name: &str| std::env::var(name).ok();
        let meant = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC")
            .filter(|_| meant)
            .and_then(|microseconds| microseconds.parse().ok())
            .filter(|microseconds| *microseconds > 0)
            .map(Duration::from_micros);
        Self::open(std::env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    /// One that listens at `socket`: a path, or a name in the abstract space behind an `@`. It ends the daemon
    /// when it has not heard of it for `watchdog`.
    pub fn open(socket: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let opened = socket
            .filter(|name| !name.is_empty())
            .map(|name| Ok::<_, io::Error>((UnixDatagram::unbound()?, address(&name)?)));
        let to = opened.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be told anything: NOTIFY_SOCKET is wrong");
            None
        });
        Self {
            to: to.map(Arc::new),
            watchdog,
        }
    }

    /// The daemon takes requests now.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=Taking requests");
    }

    /// The daemon ends, and its containers go on.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping; containers go on");
    }

    /// Says at half of the watchdog's time that the runtime is alive, for ever; each time only after a new task has
    /// run, a timer has fired and a byte has gone through a socket. Returns at once where nobody wants to know.
    pub async fn keep_alive(self) {
        let Some(period) = self.watchdog.filter(|_| self.to.is_some()) else {
            return;
        };
        let mut beat = tokio::time::interval(period / 2);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            match turn().await {
                Ok(()) => self.send("WATCHDOG=1"),
                Err(error) => {
                    tracing::warn!(%error, "no sign of life is sent: the runtime does not turn");
                }
            }
        }
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = self.to.as_deref() else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "the service manager cannot be told {message:?}");
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(name),
    }
}

/// A byte from a task of its own, through the kernel, to this one.
async fn turn() -> io::Result<()> {
    let (mut near, mut far) = UnixStream::pair()?;
    let sent = tokio::spawn(async move { far.write_all(b"!").await });
    near.read_u8().await?;
    sent.await.map_err(io::Error::other)?
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
