//! A node's key and its request for a certificate. The key never leaves the node.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};

/// A new key and the request for its certificate.
#[derive(Clone)]
pub struct Request {
    /// The private key, PKCS #8 DER.
    pub key: Vec<u8>,
    /// The request, DER. Its subject is empty: the cluster decides on names.
    pub csr: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request { key: (not shown) }")
    }
}

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key and a request for its certificate: {0}")]
pub struct RequestError(#[from] rcgen::Error);

/// Makes a P-256 key and signs a request with it.
///
/// # Errors
/// When the system gives no randomness.
pub fn request() -> Result<Request, RequestError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&pair)?;
    Ok(Request {
        key: pair.serialize_der(),
        csr: csr.der().to_vec(),
    })
}
