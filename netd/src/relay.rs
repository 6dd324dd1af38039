//! The relay between the node's loopback addresses and tasks: what comes from elsewhere is turned away.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::kernel::Kernel;
use crate::names::Ns;

/// Connections through one port at once. It is for people and probes on the node itself.
const CONNECTIONS: usize = 256;
/// How long a task may take to accept.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client's datagrams keep going to one task; connection tracking gives them 30 s too.
const IDLE: Duration = Duration::from_secs(30);
/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// Whom a relay leads to.
pub(crate) struct Relay<K> {
    pub(crate) kernel: Arc<K>,
    pub(crate) choose: Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>,
}

impl<K> Clone for Relay<K> {
    fn clone(&self) -> Self {
        Self {
            kernel: Arc::clone(&self.kernel),
            choose: Arc::clone(&self.choose),
        }
    }
}

/// Serves a TCP port until it is dropped.
pub(crate) async fn relay_tcp<K: Kernel>(listener: TcpListener, relay: Relay<K>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            // From elsewhere only while no task is live: closing says so at once.
            Ok((_, peer)) if !peer.ip().is_loopback() => {}
            Ok((stream, _)) => {
                let relay = relay.clone();
                under_way.spawn(async move {
                    // Either side may break off at any time.
                    drop(relay.carry(stream).await);
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a published port could not accept");
                drop(under_way.join_next().await);
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Serves a UDP port until it is dropped.
pub(crate) async fn relay_udp<K: Kernel>(socket: UdpSocket, relay: Relay<K>) {
    let socket = Arc::new(socket);
    let mut sessions: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut under_way: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        while let Some(ended) = under_way.try_join_next() {
            if let Ok(client) = ended {
                sessions.remove(&client);
            }
        }
        // An error here is an echo of an answer that nobody took.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if !client.ip().is_loopback() {
            continue;
        }
        if !sessions.contains_key(&client) {
            if sessions.len() >= CONNECTIONS {
                continue;
            }
            let Ok(session) = relay.session().await else {
                continue;
            };
            let session = Arc::new(session);
            sessions.insert(client, Arc::clone(&session));
            let socket = Arc::clone(&socket);
            under_way.spawn(async move {
                carry_back(&session, &socket, client).await;
                client
            });
        }
        if let (Some(session), Some(datagram)) = (sessions.get(&client), buffer.get(..length)) {
            drop(session.send(datagram).await);
        }
    }
}

async fn carry_back(session: &UdpSocket, socket: &UdpSocket, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM];
    while let Ok(Ok(length)) = timeout(IDLE, session.recv(&mut buffer)).await {
        drop(
            socket
                .send_to(buffer.get(..length).unwrap_or_default(), client)
                .await,
        );
    }
}

impl<K: Kernel> Relay<K> {
    fn target(&self) -> io::Result<SocketAddr> {
        (self.choose)().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))
    }

    async fn carry(&self, mut near: TcpStream) -> io::Result<()> {
        let far = self
            .kernel
            .connect(&Ns::Host, self.target()?, PATIENCE)
            .await;
        let far = far
            .map_err(|error| error.source)?
            .ok_or(io::ErrorKind::Unsupported)?;
        let mut far = TcpStream::from_std(far)?;
        copy_bidirectional(&mut near, &mut far).await?;
        Ok(())
    }

    async fn session(&self) -> io::Result<UdpSocket> {
        let target = self.target()?;
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let socket = self
            .kernel
            .udp(&Ns::Host, any)
            .await
            .map_err(|error| error.source)?;
        let socket = UdpSocket::from_std(socket.ok_or(io::ErrorKind::Unsupported)?)?;
        socket.connect(target).await?;
        Ok(socket)
    }
}
