//! Who this node is on the wire: certificate, key and root, replaced at run time as one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::peer::{Peer, PeerError};
use super::provider;

/// Certificates begin so long before they were signed, for nodes whose clock is behind.
pub const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// What a node needs to prove who it is, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// DER, the node's own first; without the root.
    pub chain: Vec<Vec<u8>>,
    /// The private key, PKCS #8 DER.
    pub key: Vec<u8>,
    /// The cluster's root certificate, DER.
    pub root: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials { key: (not shown) }")
    }
}

/// Why credentials cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate.
    #[error("the certificate chain is empty")]
    Empty,
    /// The root is no certificate of an authority.
    #[error("cannot use the cluster's root certificate: {0}")]
    Root(String),
    /// Key and certificate do not belong together, or one of them cannot be read.
    #[error("cannot use the node's certificate and key: {0}")]
    Key(String),
    /// The certificate was not signed by the root.
    #[error("the node's certificate does not lead to the cluster's root: {0}")]
    Chain(String),
    /// It is no node's certificate.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Who this node is on the wire. Clones share one identity.
#[derive(Clone)]
pub struct Identity(Arc<ArcSwap<Held>>);

pub(super) struct Held {
    pub(super) peer: Peer,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    /// For servers: with the root, whose digest a node that joins knows.
    with_root: Arc<CertifiedKey>,
    alone: Arc<CertifiedKey>,
    root: Vec<u8>,
    begins: SystemTime,
    ends: SystemTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.peer()).finish()
    }
}

impl Identity {
    /// The identity that these credentials prove.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn new(credentials: &Credentials) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Held::new(
            credentials,
        )?))))
    }

    /// Connections made from now on use these credentials; open ones go on.
    ///
    /// # Errors
    /// When they do not fit together; then nothing is replaced.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), IdentityError> {
        self.0.store(Arc::new(Held::new(credentials)?));
        Ok(())
    }

    /// Who this node is.
    pub fn peer(&self) -> Peer {
        self.0.load().peer
    }

    /// The cluster's root certificate, DER.
    pub fn root(&self) -> Vec<u8> {
        self.0.load().root.clone()
    }

    /// When the certificate ends.
    pub fn ends(&self) -> SystemTime {
        self.0.load().ends
    }

    /// When a new certificate is to be asked for. `random` is drawn once for each certificate.
    pub fn renew_at(&self, random: u32) -> SystemTime {
        let held = self.0.load();
        let signed = (held.begins + BACKDATED).min(held.ends);
        renewal(signed, held.ends, random)
    }

    pub(super) fn held(&self) -> Arc<Held> {
        self.0.load_full()
    }
}

/// A point between 50 and 80 % of the way from `signed` to `ends`, chosen by `random`: not all nodes at once,
/// and with time left for a cluster that is down meanwhile.
pub fn renewal(signed: SystemTime, ends: SystemTime, random: u32) -> SystemTime {
    let life = ends.duration_since(signed).unwrap_or_default();
    let share = 0.5 + 0.3 * f64::from(random) / f64::from(u32::MAX);
    signed + life.mul_f64(share)
}

impl Held {
    fn new(credentials: &Credentials) -> Result<Self, IdentityError> {
        let chain: Vec<CertificateDer<'static>> =
            credentials.chain.iter().cloned().map(Into::into).collect();
        let own = chain.first().ok_or(IdentityError::Empty)?;
        let roots = Arc::new(roots(&credentials.root)?);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| IdentityError::Root(error.to_string()))?;
        let (begins, ends) = validity(own)?;
        // Verified at a moment when the certificate holds: a clock that is wrong now is seen at the handshake.
        let then = UnixTime::since_unix_epoch(ends.duration_since(UNIX_EPOCH).unwrap_or_default());
        clients
            .verify_client_cert(own, chain.get(1..).unwrap_or_default(), then)
            .map_err(|error| IdentityError::Chain(error.to_string()))?;
        let peer = Peer::of_certificate(own)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credentials.key.clone()));
        let alone = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        let mut whole = alone.cert.clone();
        whole.push(CertificateDer::from(credentials.root.clone()));
        Ok(Self {
            peer,
            roots,
            clients,
            with_root: Arc::new(CertifiedKey::new(whole, Arc::clone(&alone.key))),
            alone: Arc::new(alone),
            root: credentials.root.clone(),
            begins,
            ends,
        })
    }
}

/// A store of this root alone.
pub(super) fn roots(root: &[u8]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(root.to_vec()))
        .map_err(|error| IdentityError::Root(error.to_string()))?;
    Ok(roots)
}

fn validity(certificate: &[u8]) -> Result<(SystemTime, SystemTime), IdentityError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| PeerError::Malformed(error.to_string()))?;
    let moment = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = parsed.validity();
    Ok((moment(validity.not_before), moment(validity.not_after)))
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().with_root))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().alone))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
