//! Questions that are not ours: passed on, as they came, to the node's own resolvers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::Transport;
use crate::kernel::Kernel;
use crate::names::Ns;

/// How long one resolver is waited for. A client gives up after 5 s, and a second one must be asked before.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many of the node's resolvers are asked; the C library knows three as well.
const RESOLVERS: usize = 3;
/// Questions under way at once, on the whole node: each holds a socket.
const IN_FLIGHT: usize = 512;
const PORT: u16 = 53;
/// Bytes of the header up to the flags, and the bit that says "too long, ask by TCP".
const TRUNCATED: u8 = 0x02;

/// Asks the node's resolvers from the node's namespace.
pub(crate) struct Forwarder<K> {
    kernel: Arc<K>,
    resolv_conf: PathBuf,
    places: Semaphore,
}

impl<K: Kernel> Forwarder<K> {
    pub(crate) fn new(kernel: Arc<K>, resolv_conf: PathBuf) -> Self {
        Self {
            kernel,
            resolv_conf,
            places: Semaphore::new(IN_FLIGHT),
        }
    }

    /// The first resolver's answer; `None` if the node has no resolver, or none answers, or too much is under way.
    /// `servers` are asked instead of the node's resolvers where there are some.
    pub(super) async fn ask(
        &self,
        servers: &[IpAddr],
        question: &[u8],
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let _place = self.places.try_acquire().ok()?;
        let own = servers.iter().map(|server| SocketAddr::new(*server, PORT));
        let resolvers = match servers {
            [] => self.resolvers().await,
            _ => own.take(RESOLVERS).collect(),
        };
        for resolver in resolvers {
            match self.ask_one(resolver, question, transport).await {
                Ok(answer) => return Some(answer),
                Err(error) => tracing::debug!(%resolver, %error, "a resolver failed"),
            }
        }
        None
    }

    /// Read anew for each question: the node may have moved to another network.
    async fn resolvers(&self) -> Vec<SocketAddr> {
        let text = tokio::fs::read_to_string(&self.resolv_conf)
            .await
            .unwrap_or_default();
        nameservers(&text)
    }

    async fn ask_one(
        &self,
        resolver: SocketAddr,
        question: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let answer = timeout(PATIENCE, self.by_udp(resolver, question)).await??;
        let cut = answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0);
        if cut && transport == Transport::Tcp {
            return timeout(PATIENCE, self.by_tcp(resolver, question)).await?;
        }
        Ok(answer)
    }

    async fn by_udp(&self, resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let any = match resolver {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = self
            .kernel
            .udp(&Ns::Host, any)
            .await
            .map_err(|error| error.source)?;
        let socket = UdpSocket::from_std(socket.ok_or(io::ErrorKind::Unsupported)?)?;
        socket.connect(resolver).await?;
        socket.send(question).await?;
        let mut answer = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut answer).await?;
            // Whoever guesses the port must guess the number too.
            if length >= 12 && answer.get(..2) == question.get(..2) {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }

    async fn by_tcp(&self, resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let stream = self.kernel.connect(&Ns::Host, resolver, PATIENCE).await;
        let stream = stream
            .map_err(|error| error.source)?
            .ok_or(io::ErrorKind::Unsupported)?;
        let mut stream = TcpStream::from_std(stream)?;
        write_message(&mut stream, question).await?;
        read_message(&mut stream).await
    }
}

/// Reads a message of DNS over TCP: two bytes of length and the bytes.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes a message of DNS over TCP.
pub(super) async fn write_message(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}

/// The resolvers a `resolv.conf` names.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, PORT))
        .take(RESOLVERS)
        .collect()
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
