//! Makes connections: to nodes of the cluster, to a cluster that is about to be joined, to the local daemon.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpStream, ToSocketAddrs, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::identity::Identity;
use super::token::JoinToken;
use super::verify::Expected;
use super::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW, KEEPALIVE, KEEPALIVE_TIMEOUT, STREAM_WINDOW, provider,
};
use crate::node::Role;

/// Sent as the name of the server, since TLS asks for one. No certificate bears it.
const SERVER_NAME: &str = "node.skep.internal";

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The network said no.
    #[error("cannot connect to {address}: {reason}")]
    Network {
        /// Where to.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Nobody answered.
    #[error("{address} did not answer within {} s; is it reachable from here?", CONNECT_TIMEOUT.as_secs())]
    Timeout {
        /// Where to.
        address: String,
    },
    /// It is not who it should be.
    #[error("{address} is not the node that was expected: {reason}")]
    Foreign {
        /// Where to.
        address: String,
        /// What its certificate says.
        reason: String,
    },
    /// It does not take our certificate.
    #[error("{address} refused this node's certificate: {reason}")]
    Refused {
        /// Where to.
        address: String,
        /// What it said.
        reason: String,
    },
    /// No daemon listens on the socket.
    #[error("cannot connect to the skep daemon at {}: {reason}; is it running? Start it with \"skep daemon\"", path.display())]
    Daemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Connects to a node of this cluster, in `expected` role if one is given. The channel connects again by
/// itself; dropping it closes the connection.
///
/// # Errors
/// When the first connection cannot be made.
pub async fn connect(
    address: SocketAddr,
    expected: Option<Role>,
    identity: &Identity,
) -> Result<Channel, ConnectError> {
    let tls = node_connector(expected, identity).map_err(|error| foreign(&address, &error))?;
    connected(address, tls).await
}

/// Like [`connect`], but connects with the first call: for peers that may be down.
///
/// # Errors
/// When this node's own certificate cannot be used.
pub fn connect_lazy(
    address: SocketAddr,
    expected: Option<Role>,
    identity: &Identity,
) -> Result<Channel, ConnectError> {
    let tls = node_connector(expected, identity).map_err(|error| foreign(&address, &error))?;
    Ok(
        endpoint()
            .connect_with_connector_lazy(service_fn(move |_: Uri| dial(address, tls.clone()))),
    )
}

/// Connects without a certificate to a manager of the cluster that `token` names: only to join.
///
/// # Errors
/// When the connection cannot be made, or the server's root is not the one of the token.
pub async fn connect_pinned(
    address: SocketAddr,
    token: &JoinToken,
) -> Result<Channel, ConnectError> {
    let tls = pinned_connector(token.root_digest).map_err(|error| foreign(&address, &error))?;
    connected(address, tls).await
}

/// Connects to the daemon of this machine.
///
/// # Errors
/// When none listens at `path`.
pub async fn connect_unix(path: &Path) -> Result<Channel, ConnectError> {
    let path = path.to_owned();
    let refused = {
        let path = path.clone();
        move |reason: String| ConnectError::Daemon { path, reason }
    };
    let dial = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = endpoint().connect_with_connector(dial).await;
    channel.map_err(|error| refused(innermost(&error)))
}

fn innermost(error: &tonic::transport::Error) -> String {
    let mut reason = error.to_string();
    let mut next = error.source();
    while let Some(inner) = next {
        reason = inner.to_string();
        next = inner.source();
    }
    reason
}

/// The address in it is never looked up: connections are made by the connector. On a socket of this machine the
/// kernel tells when the other end is gone; a daemon that is merely slow is waited for.
fn endpoint() -> Endpoint {
    let uri = Uri::from_static("http://node.skep.internal");
    Endpoint::from(uri)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

fn node_connector(
    expected: Option<Role>,
    identity: &Identity,
) -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Expected::Node {
            ours: identity.clone(),
            role: expected,
        }))
        .with_client_cert_resolver(Arc::new(identity.clone()));
    Ok(connector(config))
}

pub(super) fn pinned_connector(root_digest: [u8; 32]) -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Expected::Root(root_digest)))
        .with_no_client_auth();
    Ok(connector(config))
}

fn connector(mut config: ClientConfig) -> TlsConnector {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// One that is asked often whether it still stands.
pub(super) fn attended() -> Endpoint {
    endpoint()
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

async fn connected(address: SocketAddr, tls: TlsConnector) -> Result<Channel, ConnectError> {
    let dial = service_fn(move |_: Uri| dial(address, tls.clone()));
    let channel = attended().connect_with_connector(dial).await;
    channel.map_err(|error| {
        let mut next = error.source();
        while let Some(inner) = next {
            if let Some(ours) = inner.downcast_ref::<ConnectError>() {
                return ours.clone();
            }
            next = inner.source();
        }
        ConnectError::Network {
            address: address.to_string(),
            reason: innermost(&error),
        }
    })
}

pub(super) async fn dial<A>(
    address: A,
    tls: TlsConnector,
) -> Result<TokioIo<TlsStream<TcpStream>>, ConnectError>
where
    A: ToSocketAddrs + fmt::Display,
{
    let connecting = async {
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let mut stream = tls.connect(name, stream).await?;
        // In TLS 1.3 the client is done before the server has looked at its certificate. The server speaks
        // first in HTTP/2, so that its first bytes, or its alert, say whether it was taken.
        if stream.fill_buf().await?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(stream)
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
        Ok(Err(error)) => Err(explained(&address, &error)),
        Err(_) => Err(ConnectError::Timeout {
            address: address.to_string(),
        }),
    }
}

fn explained(address: &impl fmt::Display, error: &io::Error) -> ConnectError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => ConnectError::Refused {
            address: address.to_string(),
            reason: format!(
                "{alert:?}; it belongs to another cluster, or this node was removed or its certificate expired"
            ),
        },
        Some(error) => foreign(address, error),
        None => ConnectError::Network {
            address: address.to_string(),
            reason: error.to_string(),
        },
    }
}

fn foreign(address: &impl fmt::Display, error: &rustls::Error) -> ConnectError {
    use CertificateError as Wrong;
    let reason = match error {
        rustls::Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature) => {
            "its certificate was signed by another cluster's authority".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. },
        ) => format!("{error}; compare the clocks of both machines"),
        rustls::Error::InvalidCertificate(Wrong::Other(reason)) => reason.0.to_string(),
        _ => error.to_string(),
    };
    ConnectError::Foreign {
        address: address.to_string(),
        reason,
    }
}
