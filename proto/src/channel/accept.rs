//! Accepts connections, makes their handshakes side by side and hands them to the server.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::identity::{Identity, IdentityError};
use super::peer::Peer;
use super::stamp::Stamp;
use super::verify::Clients;
use super::{CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW, provider};

/// Handshakes under way at once; those beyond wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that wait for the server to take them.
const WAITING: usize = 64;
/// Pause after a failed accept, such as when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a call comes from; in the extensions of every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Address of the other side.
    pub remote: SocketAddr,
    /// Who it is; `None` when it came without a certificate.
    pub peer: Option<Peer>,
    /// What the cluster knew when it signed the certificate; `None` where it does not say.
    pub stamp: Option<Stamp>,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Accepted {
    stream: TlsStream<TcpStream>,
    connection: Connection,
}

impl Connected for Accepted {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection
    }
}

/// Connections as they come, for `serve_with_incoming`. Dropping it ends the accepting.
#[derive(Debug)]
pub struct Incoming {
    accepted: mpsc::Receiver<io::Result<Accepted>>,
    /// Ends with this.
    _accepting: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = io::Result<Accepted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(context)
    }
}

/// Accepts nodes of the cluster, and callers without a certificate, on `listener`.
///
/// # Errors
/// When `identity` cannot be used for a server.
pub fn accept(listener: TcpListener, identity: &Identity) -> Result<Incoming, IdentityError> {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)?));
    let (sender, accepted) = mpsc::channel(WAITING);
    let mut accepting = JoinSet::new();
    accepting.spawn(accept_all(listener, acceptor, sender));
    Ok(Incoming {
        accepted,
        _accepting: accepting,
    })
}

/// A server with this crate's keepalive and windows.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// No session is resumed: each connection shows its certificate anew, so that a removed node or an old root
/// does not come back by a ticket.
fn server_config(identity: &Identity) -> Result<ServerConfig, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| IdentityError::Key(error.to_string()))?
        .with_client_cert_verifier(Arc::new(Clients(identity.clone())))
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<io::Result<Accepted>>,
) {
    let permits = Arc::new(Semaphore::new(HANDSHAKES));
    let mut handshakes = JoinSet::new();
    while !sender.is_closed() {
        while handshakes.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                handshakes.spawn(async move {
                    let result = timeout(HANDSHAKE_TIMEOUT, handshake(acceptor, stream, remote));
                    match result.await {
                        // The server may be gone; then so is the connection.
                        Ok(Ok(accepted)) => drop(sender.send(Ok(accepted)).await),
                        Ok(Err(error)) => {
                            tracing::debug!(peer.address = %remote, %error, "refused a connection");
                        }
                        Err(_) => {
                            tracing::debug!(peer.address = %remote, "gave a handshake up");
                        }
                    }
                    // Held until the server took the connection: what waits is bounded too.
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    remote: SocketAddr,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let own = session.peer_certificates().and_then(|chain| chain.first());
    let stamp = own.and_then(|own| Stamp::of_certificate(own));
    let peer = own
        .map(|own| Peer::of_certificate(own))
        .transpose()
        .map_err(io::Error::other)?;
    Ok(Accepted {
        stream,
        connection: Connection {
            remote,
            peer,
            stamp,
        },
    })
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
