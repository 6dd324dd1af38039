//! Connects a user from outside to whichever manager answers, and to the next one when that is gone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;
use tower::service_fn;

use super::connect::{ConnectError, attended, dial, pinned_connector};

/// Most addresses of one cluster: each may take three seconds.
const MOST: usize = 10;

/// Where the managers of a cluster are reached: `HOST:PORT` each, in the order they are tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Managers(Arc<[String]>);

impl Managers {
    /// These; beyond ten none is tried.
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        Self(addresses.into_iter().take(MOST).collect())
    }
}

/// No manager answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nobody {
    /// Why not, of each that was tried.
    pub reasons: Vec<ConnectError>,
}

impl Nobody {
    /// What made a call fail, if that is that nobody answers.
    pub fn below(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(nobody) = error.downcast_ref::<Self>() {
                return Some(nobody.clone());
            }
            next = error.source();
        }
        None
    }

    /// Each answers, but belongs to another cluster than the token, or is no manager.
    pub fn all_foreign(&self) -> bool {
        let foreign = |it: &ConnectError| matches!(it, ConnectError::Foreign { .. });
        !self.reasons.is_empty() && self.reasons.iter().all(foreign)
    }
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no manager of the cluster answers")?;
        for (number, reason) in self.reasons.iter().enumerate() {
            write!(f, "{}{reason}", if number == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Nobody {}

/// Connects without a certificate to the first manager that answers. Whoever answers must be a manager under the
/// root with this digest. The channel connects again by itself, beginning with the manager after the one that was
/// lost; each try goes once through all of them.
///
/// # Errors
/// Why each of them cannot be reached.
pub async fn connect_outside(managers: Managers, root: [u8; 32]) -> Result<Channel, Nobody> {
    let tls = pinned_connector(root).map_err(|error| Nobody {
        reasons: vec![ConnectError::Network {
            address: "every manager".into(),
            reason: error.to_string(),
        }],
    })?;
    let next = Arc::new(AtomicUsize::new(0));
    let dial = service_fn(move |_: Uri| dial_any(managers.clone(), next.clone(), tls.clone()));
    let channel = attended().connect_with_connector(dial).await;
    channel.map_err(|error| Nobody::below(&error).unwrap_or(Nobody { reasons: vec![] }))
}

async fn dial_any(
    managers: Managers,
    next: Arc<AtomicUsize>,
    tls: TlsConnector,
) -> Result<TokioIo<TlsStream<TcpStream>>, Nobody> {
    let first = next.load(Ordering::Relaxed);
    let count = managers.0.len();
    let order = managers.0.iter().cycle().skip(first % count.max(1));
    let mut reasons = Vec::new();
    for (tried, address) in order.take(count).enumerate() {
        match dial(address.as_str(), tls.clone()).await {
            Ok(stream) => {
                next.store(first + tried + 1, Ordering::Relaxed);
                return Ok(stream);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    Err(Nobody { reasons })
}
